#!/usr/bin/env bash
# Usage: steps/train.sh [options] <settings.yaml> <tasks.tsv>
#
# Train one system on many parts: an array job with a task for each line of <tasks.tsv>,
# "<train-dir><TAB><dev-dir or -><TAB><model-dir><TAB><seed>". What is finished is left alone, what was
# stopped goes on. Logs are beside the list, in log/.
# Example: steps/train.sh --nj 2 conf/blstmatt.yaml exp/tasks/blstmatt.tsv

set -euo pipefail

nj=4         # tasks at once
cmd=run.pl   # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
use_gpu=auto # auto, yes or no
num_proc=1   # processes (GPUs) that train one task together
set=()       # override of a setting, KEY=VALUE

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 2)) || usage_die "expected <settings.yaml> <tasks.tsv>, got $# arguments"
((nj >= 1 && num_proc >= 1)) || usage_die "--nj and --num-proc must be 1 or more"
settings=$1
tasks=$2
[[ -s $tasks ]] || die "$tasks: no such file, or empty; list the trainings, see --help"

# On this machine a task has GPUs of its own, and no more tasks run at once than there are GPUs for.
if [[ $use_gpu != no && $cmd == run.pl* ]]; then
  gpus=$({ nvidia-smi -L 2>/dev/null || true; } | wc -l)
  if ((gpus > 0)); then
    ((num_proc <= gpus)) || usage_die "--num-proc $num_proc: this machine has $gpus GPUs"
    cmd+=" --gpu $num_proc"
    ((nj <= gpus / num_proc)) || nj=$((gpus / num_proc))
  fi
fi

num_tasks=$(wc -l <"$tasks")
name=$(basename "$tasks" .tsv)
logs=$(dirname "$tasks")/log
mkdir -p "$logs"
args=()
for override in "${set[@]}"; do
  args+=(--set "$override")
done
launch=(python3 -m ser.train)
if ((num_proc > 1)); then
  launch=(python3 -m torch.distributed.run --standalone --nproc-per-node "$num_proc" -m ser.train)
fi
read -ra runner <<<"$cmd"
exec "${runner[@]}" --max-jobs-run "$nj" JOB=1:"$num_tasks" "$logs/train_$name.JOB.log" \
  "${launch[@]}" --tasks "$tasks" --task JOB --use-gpu "$use_gpu" "${args[@]}" "$settings"
