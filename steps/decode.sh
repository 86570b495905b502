#!/usr/bin/env bash
# Usage: steps/decode.sh [options] <tasks.tsv>
#
# Posteriors and attention of trained systems: each line of <tasks.tsv> is
# "<model-dir><TAB><data-dir><TAB><out-dir>". What is up to date is left alone. Logs are beside the list.
# Example: steps/decode.sh --nj 2 exp/tasks/decode.tsv

set -euo pipefail

nj=4         # jobs that share the list
cmd=run.pl   # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
use_gpu=auto # auto, yes or no

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 1)) || usage_die "expected <tasks.tsv>, got $# arguments"
((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
tasks=$1
[[ -s $tasks ]] || die "$tasks: no such file, or empty; list what to decode, see --help"

num_tasks=$(wc -l <"$tasks")
((nj <= num_tasks)) || nj=$num_tasks
name=$(basename "$tasks" .tsv)
logs=$(dirname "$tasks")/log
mkdir -p "$logs"
read -ra runner <<<"$cmd"
exec "${runner[@]}" JOB=1:"$nj" "$logs/$name.JOB.log" \
  python3 -m ser.decode --tasks "$tasks" --job JOB --num-jobs "$nj" --use-gpu "$use_gpu"
