"""Tables, data folders, folds, labels, shards of jobs: what lies between the stages."""
