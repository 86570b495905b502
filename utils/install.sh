#!/usr/bin/env bash
# Usage: utils/install.sh [--extra dev] [--extra mini] [--extra baselines] [--python <interpreter>]
#
# Makes the Python environment, .venv of the checkout, from the pinned requirements.txt; needs Python 3.10 to
# 3.13 with venv or virtualenv, and takes some minutes the first time. Does nothing when all is there; goes on
# after a requirements file has changed; starts again after an interruption. Two at once wait for each other.
# What pip says is in .venv/install.log.
#
# With SER_PYTHON set (an interpreter of your own environment, see path.sh) nothing is installed.

set -euo pipefail

extra=()   # also install requirements-<extra>.txt: dev (tests), mini (a voice for egs/mini), baselines (SVMs), interpret, report (stages 8, 9), vad (Silero), pretrained (encoders)
python=    # the interpreter to build on, else python3 or the newest of python3.13 to python3.10
pulse_s=10 # seconds between two lines that say it is still at work, where there is no terminal

top=$(readlink -f -- "${BASH_SOURCE[0]}")
top=${top%/utils/*}
# shellcheck source=utils/log.sh
. "$top/utils/log.sh"
# shellcheck source=utils/parse_options.sh
. "$top/utils/parse_options.sh"
(($# == 0)) || usage_die "takes no arguments, got '$1'"

venv=$top/.venv
wanted=(requirements.txt)
for name in "${extra[@]}"; do
  [[ -f $top/requirements-$name.txt ]] || usage_die "no extra '$name'; there is no requirements-$name.txt"
  wanted+=("requirements-$name.txt")
done

# installed FILE -- true when this very requirements file has been installed: .venv/ser holds its copy.
installed() {
  [[ -f $venv/ser/$1 && "$(<"$venv/ser/$1")" == "$(<"$top/$1")" ]]
}

# complete -- true when there is nothing to do.
complete() {
  local file
  [[ -x $venv/bin/python3 && ! -e $venv/ser/unfinished ]] || return 1
  for file in "${wanted[@]}"; do
    installed "$file" || return 1
  done
}

# right_python INTERPRETER -- true when it runs and is of a version all pins exist for.
right_python() {
  "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# make_venv INTERPRETER -- an empty environment, or fails.
make_venv() {
  if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    "$1" -m venv "$venv" >>"$venv/install.log" 2>&1
  else
    "$1" -m virtualenv "$venv" >>"$venv/install.log" 2>&1
  fi
}

# build_venv -- make the environment with the first interpreter that can.
build_venv() {
  local candidate candidates=(python3 python3.13 python3.12 python3.11 python3.10 python) right=()
  [[ -z $python ]] || candidates=("$python")
  for candidate in "${candidates[@]}"; do
    right_python "$candidate" || continue
    right+=("$candidate")
    log "making .venv with $candidate, $("$candidate" --version)"
    make_venv "$candidate" && return
  done
  ((${#right[@]} > 0)) || die "found no Python 3.10 to 3.13${python:+ at $python};" \
    "install one, or name it with --python, or name your own environment with SER_PYTHON (see path.sh)"
  die "${right[0]} cannot make environments; install its venv module (Debian, Ubuntu: apt-get install" \
    "python3-venv) or virtualenv (python3 -m pip install --user virtualenv), then run this again"
}

# beat WHAT -- tell from time to time that the work goes on, until standard input ends.
beat() {
  local code
  while true; do
    code=0
    read -r -t "$pulse_s" || code=$?
    ((code > 128)) || return 0
    log "still installing $1 (${SECONDS} s; .venv has $(du -sm "$venv" 2>/dev/null | cut -f 1) MB)"
  done
}

# pip_install WHAT ARGUMENT... -- run pip: its progress on a terminal, else a line now and then.
pip_install() {
  local what=$1 code=0 pulse
  shift
  log "installing $what"
  local pip=("$venv/bin/python3" -m pip --disable-pip-version-check --log "$venv/install.log" install "$@")
  if [[ -t 2 ]]; then
    "${pip[@]}" >&2 || code=$?
  else
    exec {pulse}> >(beat "$what")
    "${pip[@]}" >/dev/null 2>&1 {pulse}>&- || code=$?
    exec {pulse}>&-
  fi
  return "$code"
}

# required WHAT ARGUMENT... -- pip_install, or say why not and exit.
required() {
  pip_install "$@" && return
  tail -n 200 "$venv/install.log" | grep -i 'error' | tail -n 3 >&2 || true
  die "could not install $1; see $venv/install.log, then run this again"
}

# use_extra FILE -- install one extra; mini's voice is a luxury, whatever else fails ends the script.
use_extra() {
  local without=
  case $1 in
    requirements-mini.txt) without="no espeak-ng here (see .venv/install.log); egs/mini will speak through its formant engine" ;;
    requirements-interpret.txt) without="no captum or matplotlib here (see .venv/install.log); stage 8 will draw no figures" ;;
    requirements-report.txt) without="no matplotlib here (see .venv/install.log); stage 9 will make no report" ;;
    *) required "$1" -r "$top/$1" ;;
  esac
  if [[ -n $without ]] && ! pip_install "$1" -r "$top/$1"; then
    log "$without"
    return
  fi
  cp "$top/$1" "$venv/ser/$1"
}

modules=(kaldiio lhotse numpy safetensors scipy soundfile tensorboard torch tqdm yaml)

if [[ -n ${SER_PYTHON-} ]]; then
  lacking=$("$SER_PYTHON" -c 'import importlib.util, sys
sys.exit("a Python from 3.10 on") if sys.version_info < (3, 10) else None
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))' "${modules[@]}" 2>&1) \
    || die "SER_PYTHON=$SER_PYTHON does not work: ${lacking##*$'\n'}"
  [[ -z $lacking ]] || die "SER_PYTHON=$SER_PYTHON lacks $lacking; install what requirements.txt names, or unset it"
  log "SER_PYTHON=$SER_PYTHON is used as it is; nothing installed"
  exit 0
fi
! complete || exit 0

# One at a time, where the file system can lock.
exec {lock}<>"$top/.venv.lock"
if command -v flock >/dev/null && ! flock -n "$lock"; then
  log "waiting for another $0"
  flock "$lock" || log "cannot lock $top/.venv.lock; going on"
fi
! complete || exit 0

if [[ -d $venv && ! -d $venv/ser ]]; then
  die "$venv was not made by this script; remove it, or use it with SER_PYTHON=$venv/bin/python3"
fi
if [[ -e $venv/ser/unfinished || ! -x $venv/bin/python3 ]]; then
  rm -rf "$venv"
fi
mkdir -p "$venv/ser"
: >"$venv/ser/unfinished"
[[ -x $venv/bin/python3 ]] || build_venv

if ! installed requirements.txt; then
  # torch alone and first, so that nothing else chooses another.
  required "torch (the largest part)" "$(grep -E '^torch==' "$top/requirements.txt")"
  required requirements.txt -r "$top/requirements.txt"
  log "trying it"
  "$venv/bin/python3" -c 'import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]' "${modules[@]}" \
    || die "the new environment does not work (above); see $venv/install.log"
  cp "$top/requirements.txt" "$venv/ser/requirements.txt"
fi
for file in "${wanted[@]:1}"; do
  installed "$file" || use_extra "$file"
done
rm "$venv/ser/unfinished"
log "done: $("$venv/bin/python3" --version) in $venv, $SECONDS s"
