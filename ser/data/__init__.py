"""Tables, data folders, folds, labels: what lies between the stages."""
