# shellcheck shell=bash
# utils/log.sh -- log lines, fatal errors, stages, paths, what is installed. Sourced; changes no shell option.

# log MESSAGE... -- one dated line on stderr that names the script.
log() {
  printf '%(%Y-%m-%dT%H:%M:%S)T %s: %s\n' -1 "${0##*/}" "$*" >&2
}

# die MESSAGE... -- say what is wrong and what to do, exit 1.
die() {
  log "error: $*"
  exit 1
}

# tell_warnings LOG... -- say on stderr what jobs warned of in their logs, each warning once, up to ten of them.
tell_warnings() {
  local line
  while IFS= read -r line; do
    log "$line"
  done < <(awk -v most=10 '
    match($0, /^[0-9T:-]+ warning: /) && !seen[substr($0, RLENGTH)]++ && ++n <= most { print "warning: " substr($0, RLENGTH + 1) }
    END { if (n > most) print "warning: and " n - most " more in the logs, " FILENAME " and beside it" }' "$@")
}

# usage_die MESSAGE... -- the command line is wrong: say how, exit 2.
usage_die() {
  log "error: $* (try --help)"
  exit 2
}

# in_stage N TITLE -- true, and logged, when stage <= N <= stop_stage (options of the calling script).
in_stage() {
  ((${stage:?} <= $1 && $1 <= ${stop_stage:?})) || return 1
  log "stage $1: $2"
}

# absolute PATH -- print PATH as an absolute path; it need not exist.
absolute() {
  case $1 in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
  esac
}

# check_path OPTION PATH -- end the script if no table could hold the path, or it is of the wrong kind.
check_path() {
  case $1 in
    --data-dir | --exp-dir) [[ ! -e $2 || -d $2 ]] || usage_die "$1 $2: is a file, no folder; choose another" ;;
    --results) [[ ! -d $2 ]] || usage_die "$1 $2: is a folder; name a file, such as $2/RESULTS.md" ;;
  esac
  [[ $2 != *[[:cntrl:]]* ]] || usage_die "$1: has a tab, a newline or another control character; rename the folder"
}

# find_conf NAME -- print the settings file conf/NAME of this recipe, else the checkout's shared one.
find_conf() {
  if [[ -e conf/$1 ]]; then printf 'conf/%s\n' "$1"; else printf '%s/conf/%s\n' "${SER_ROOT:?}" "$1"; fi
}

# installed MODULE... -- true when Python has them all; nothing is imported, some take seconds.
installed() {
  python3 -c 'import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))' "$@"
}
