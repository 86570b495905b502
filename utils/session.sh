# shellcheck shell=bash
# utils/session.sh -- a run of a recipe: one at a time in a folder, and stopped as a whole. Sourced after utils/log.sh
# and path.sh; changes no shell option for its caller.

# lock FOLDER [--shared]: hold it for this run, alone or with others that only read it; those need not be able to write
# there. The lock goes with the last process of the run, however that ends; lock_fd is its descriptor.
new_folders=()
lock() {
  local file=$1/.lock mode=--exclusive folder=$1 new=()
  lock_fd=
  command -v flock >/dev/null || return 0
  [[ ! -L $file && (! -e $file || -f $file) ]] || die "$file: is a link or no file; remove it"
  if [[ ${2-} == --shared ]]; then
    mode=--shared
    [[ -e $file ]] || { : >>"$file"; } 2>/dev/null || return 0
    { exec {lock_fd}<"$file"; } 2>/dev/null || return 0
  else
    while [[ ! -e $folder ]]; do
      new+=("$folder")
      folder=$(dirname -- "$folder")
    done
    mkdir -p -- "$1"
    { exec {lock_fd}<>"$file"; } 2>/dev/null \
      || die "$file: cannot be written; choose another folder, or only read what is there (--stage 3)"
  fi
  if ! flock -n "$mode" "$lock_fd"; then
    log "$1: another run is at work here; waiting 10 s for it to end"
    if ! flock -w 10 "$mode" "$lock_fd"; then
      log "error: $1: another run is at work here; wait for it, or choose other folders (--data-dir, --exp-dir)"
      give_up 1
    fi
  fi
  [[ $file -ef /dev/fd/$lock_fd ]] || die "$1: another run has removed it; run the same command again"
  new_folders=("${new[@]}" "${new_folders[@]}")
}

# give_up STATUS: end this script; folders that lock has made go, unless something is in them.
give_up() {
  local folder
  for folder in "${new_folders[@]}"; do
    rm -f -- "$folder/.lock"
    rmdir -- "$folder" 2>/dev/null || true
  done
  exit "$1"
}

# use_threads NUM: each job of the run gets NUM threads; sets OMP_NUM_THREADS, and changes nj and the commands of cmd.sh.
# Jobs of this machine, with more than one thread each, have no more threads together than it has cores.
use_threads() {
  local command cores most
  [[ $1 =~ ^[1-9][0-9]{0,8}$ ]] || usage_die "--num-threads $1: must be a whole number of 1 or more"
  export OMP_NUM_THREADS=$1
  (($1 > 1)) || return 0
  if [[ " ${train_cmd:?} ${decode_cmd:?} ${cuda_cmd:?}" == *[\ /]run.pl* ]]; then
    cores=$(env -u OMP_NUM_THREADS nproc) most=$((cores / $1))
    ((most >= 1)) || usage_die "--num-threads $1: this machine has $cores cores"
    if ((nj > most)); then
      log "--num-threads $1 on $cores cores: --nj $nj becomes $most"
      nj=$most
    fi
  fi
  for command in train_cmd decode_cmd cuda_cmd; do
    export "$command=${!command} --num-threads $1"
  done
}

# The guard ends the step at work when this script ends, however that is.
exec {guard}> >(exec python3 -SE "${SER_ROOT:?}/utils/guard.py" 0)
guard_pid=$!

# step COMMAND...: run it in a process group of its own, to which a signal that ends this script is passed on.
step() {
  local status=0 group
  set -m
  {
    printf '+%s\n' "$BASHPID" >&"$guard"
    exec {guard}>&-
    exec "$@"
  } &
  group=$!
  set +m
  wait "$group" 2>/dev/null || status=$? # what bash says of a killed job is nothing for the user
  ((status <= 128)) || log "$1: ended by SIG$(kill -l "$status")"
  ((status > 0)) || printf -- '-%s\n' "$group" >&"$guard"
  return "$status"
}

# stopped SIGNAL STATUS: end the step at work, all of it, and this script.
stopped() {
  trap '' INT TERM HUP
  exec {guard}>&-
  wait "$guard_pid" || true
  log "stopped by SIG$1; the same command goes on from here"
  exit "$2"
}
trap 'stopped INT 130' INT
trap 'stopped TERM 143' TERM
trap 'stopped HUP 129' HUP
