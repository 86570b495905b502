# shellcheck shell=bash
# utils/gpus.sh -- sourced after utils/log.sh; gives steps with the options cmd, nj, use_gpu and jobs_per_gpu the
# function take_gpus.

# count_gpus: print how many GPUs of this machine may be used, as utils/run.pl counts them.
count_gpus() {
  if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
    tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -cvx -e '' -e -1 -e NoDevFiles || true
  else
    { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU [0-9]*:' || true
  fi
}

# take_gpus NUM: each task gets NUM GPUs, where --use-gpu has it run on them; changes cmd and nj. On this machine no
# more tasks run at once than let jobs_per_gpu share a GPU; those of a cluster, which it does not see, are asked for.
take_gpus() {
  local gpus=0 most
  ((${jobs_per_gpu:?} >= 1)) || usage_die "--jobs-per-gpu $jobs_per_gpu: must be 1 or more"
  if [[ $cmd != run.pl* ]]; then
    ((jobs_per_gpu == 1)) || usage_die "--jobs-per-gpu $jobs_per_gpu: a cluster gives a job GPUs of its own; leave it out"
    [[ ${use_gpu:?} != yes || $cmd == *--gpu* ]] || cmd+=" --gpu $1"
    return
  fi
  [[ $use_gpu == no ]] || gpus=$(count_gpus)
  if ((gpus > 0)); then
    (($1 <= gpus)) || usage_die "--num-proc $1: this machine has $gpus GPUs"
    most=$(((gpus / $1) * jobs_per_gpu))
    ((nj <= most)) || nj=$most
    cmd+=" --gpu $1 --max-jobs-run $nj"
  elif ((jobs_per_gpu > 1)); then
    log "no GPU is used, so --jobs-per-gpu $jobs_per_gpu has no effect"
  fi
}
