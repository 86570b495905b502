#!/usr/bin/env bash
# Usage: steps/train.sh [options] <tasks.tsv> [options of ser train]
#
# Train, as one array job with a task for each line of <tasks.tsv>:
# "<train-dir><TAB><dev-dir or -><TAB><model-dir><TAB><seed><TAB><settings.yaml>", and further fields KEY=VALUE that
# override settings. What is finished is left alone, what was stopped goes on. Logs are beside the list, in log/; those
# of jobs of several tasks say which of them failed. Example: steps/train.sh --nj 2 exp/tasks/train.tsv

set -euo pipefail

nj=4           # tasks at once
cmd=run.pl     # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
use_gpu=auto   # auto, yes or no
num_proc=1     # processes (GPUs) that train one task together
jobs_per_gpu=1 # tasks at once that share a GPU of this machine
per_job=       # tasks that a job trains one after the other: all of its share with run.pl, else 1

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/gpus.sh

(($# >= 1)) || usage_die "expected <tasks.tsv>, got no argument"
((nj >= 1 && num_proc >= 1)) || usage_die "--nj and --num-proc must be 1 or more"
tasks=$1
[[ -s $tasks ]] || die "$tasks: no such file, or empty; list the trainings, see --help"
take_gpus "$num_proc"
count=$(wc -l <"$tasks") log=$(dirname "$tasks")/log/$(basename "$tasks" .tsv) launch=(python3) share=(--task JOB)
((num_proc == 1)) || launch=(python3 -m torch.distributed.run --standalone --nproc-per-node "$num_proc")
[[ -n $per_job || $cmd != run.pl* || $num_proc != 1 ]] || per_job=$(((count + nj - 1) / nj))
((${per_job:=1} == 1 || num_proc == 1)) || usage_die "--per-job $per_job: several tasks a job need --num-proc 1"
((per_job == 1)) || { count=$(((count + per_job - 1) / per_job)) log+=.job && share=(--job JOB --num-jobs "$count"); }
read -ra runner <<<"$cmd"
exec "${runner[@]}" --max-jobs-run "$nj" JOB=1:"$count" "$log.JOB.log" \
  "${launch[@]}" -m ser train --tasks "$tasks" "${share[@]}" --use-gpu "$use_gpu" "${@:2}"
