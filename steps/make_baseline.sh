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

(($# == 2)) || usage_die "expected <data-dir> <tasks.tsv>, got $# arguments"
((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
data=$1
tasks=$2
[[ -s $tasks ]] || die "$tasks: no such file, or empty; list the baselines, see --help"

num_tasks=$(wc -l <"$tasks")
((nj <= num_tasks)) || nj=$num_tasks
logs=$(dirname "$tasks")/log
mkdir -p "$logs"
read -ra runner <<<"$cmd"
exec "${runner[@]}" JOB=1:"$nj" "$logs/$(basename "$tasks" .tsv).JOB.log" \
  python3 -m ser.make_baseline --tasks "$tasks" --job JOB --num-jobs "$nj" "$data"
