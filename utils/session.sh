# shellcheck shell=bash
# utils/session.sh -- a run of a recipe: one at a time in a folder, and stopped as a whole. Sourced, after utils/log.sh;
# changes no shell option for its caller.

# lock FOLDER: hold it for this run; the lock goes with the last process of the run, however that ends.
lock() {
  local descriptor
  command -v flock >/dev/null || return 0
  mkdir -p "$1"
  exec {descriptor}>>"$1/.lock"
  flock -n "$descriptor" \
    || die "$1: another run is at work here; wait for it, or choose other folders (--data-dir, --exp-dir)"
}

# step COMMAND...: run it in a process group of its own, to which a signal that ends this script is passed on.
step_group=
step() {
  local status=0
  set -m
  "$@" &
  step_group=$!
  set +m
  wait "$step_group" || status=$?
  step_group=
  return "$status"
}

# stopped SIGNAL STATUS: end the step at work and this script.
stopped() {
  trap '' INT TERM HUP
  [[ -z $step_group ]] || { kill -TERM -- "-$step_group" && wait "$step_group" || true; } 2>/dev/null
  log "stopped by SIG$1; the same command goes on from here"
  exit "$2"
}
trap 'stopped INT 130' INT
trap 'stopped TERM 143' TERM
trap 'stopped HUP 129' HUP
