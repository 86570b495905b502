# shellcheck shell=bash
# utils/share_tasks.sh -- sourced after utils/log.sh; gives steps the function share_tasks.

# share_tasks CMD NJ TASKS WHAT COMMAND...: run COMMAND --tasks TASKS --job JOB --num-jobs NJ in NJ jobs (fewer if the
# list is shorter) through CMD; logs are in log/ beside the list. WHAT is to be listed where the list is missing.
share_tasks() {
  local cmd=$1 nj=$2 tasks=$3 what=$4 num_tasks logs runner
  shift 4
  [[ -n $tasks ]] || usage_die "expected <tasks.tsv>, got no argument"
  ((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
  [[ -s $tasks ]] || die "$tasks: no such file, or empty; list $what, see --help"
  num_tasks=$(wc -l <"$tasks")
  ((nj <= num_tasks)) || nj=$num_tasks
  logs=$(dirname "$tasks")/log
  mkdir -p "$logs"
  read -ra runner <<<"$cmd"
  exec "${runner[@]}" JOB=1:"$nj" "$logs/$(basename "$tasks" .tsv).JOB.log" \
    "$@" --tasks "$tasks" --job JOB --num-jobs "$nj"
}
