#!/usr/bin/env bash
# Usage: steps/make_baseline.sh [options] <data-dir> <tasks.tsv>
#
# Train baselines and write what they say of test parts: each line of <tasks.tsv> is
# "<system><TAB><train-dir><TAB><test-dir><TAB><out-dir>". Systems: majority, and SVMs on the functionals that
# steps/make_functionals.sh left in <data-dir>, svm_egemaps_speaker svm_egemaps_global svm_compare_speaker
# svm_compare_global; the last word is the normalisation. What is up to date is left alone.
# Example: steps/make_baseline.sh --nj 2 data/all exp/tasks/baseline.tsv

set -euo pipefail

nj=4       # jobs that share the list
cmd=run.pl # how to run them: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/share_tasks.sh

(($# == 2)) || usage_die "expected <data-dir> <tasks.tsv>, got $# arguments"
share_tasks "$cmd" "$nj" "$2" "the baselines" python3 -m ser make_baseline "$1"
