# shellcheck shell=bash
# path.sh -- the environment every script and every queue job runs in. Source it, from any folder; it is
# silent, changes no shell option, and may be sourced again.
#
# Sets SER_ROOT (the checkout), PATH (the Python environment and utils/ first), PYTHONPATH (the checkout,
# so nothing needs installing), LC_ALL=C (tables are in byte order) and one thread a job; gives a closed stdout a
# place, and unsets what would change Python.
#
# Python is .venv of the checkout (utils/install.sh makes it), or the reader's own environment:
#   export SER_PYTHON=/path/to/env/bin/python3

SER_ROOT=$(readlink -f -- "${BASH_SOURCE[0]}")
SER_ROOT=${SER_ROOT%/*}
_ser_bin=$SER_ROOT/.venv/bin
if [[ $SER_ROOT == *[:[:cntrl:]]* ]]; then
  printf 'path.sh: error: %q: a colon or control character in the checkout'\''s path; rename a folder\n' "$SER_ROOT" >&2
  return 1
fi

if [[ -n ${SER_PYTHON-} ]]; then
  if ! _ser_bin=$(type -P "$SER_PYTHON"); then
    printf 'path.sh: error: SER_PYTHON=%s is no program; name a Python interpreter\n' "$SER_PYTHON" >&2
    return 1
  fi
  [[ $_ser_bin == /* ]] || _ser_bin=$PWD/$_ser_bin
  export SER_PYTHON=$_ser_bin
  _ser_bin=${_ser_bin%/*}
  if ! [[ $_ser_bin/python3 -ef $SER_PYTHON ]]; then
    printf 'path.sh: error: SER_PYTHON=%s is another interpreter than python3 beside it; %s\n' \
      "$SER_PYTHON" "name the python3 of a virtual environment" >&2
    return 1
  fi
fi

_ser_bin=$_ser_bin:$SER_ROOT/utils
[[ $PATH: == "$_ser_bin":* ]] || PATH=$_ser_bin:$PATH
[[ ${PYTHONPATH-}: == "$SER_ROOT":* ]] || PYTHONPATH=$SER_ROOT${PYTHONPATH:+:$PYTHONPATH}
unset _ser_bin

unset CDPATH PYTHONOPTIMIZE PYTHONIOENCODING
[[ -e /dev/fd/1 ]] || exec >/dev/null
export SER_ROOT PATH PYTHONPATH
export LC_ALL=C PYTHONUTF8=1 PYTHONUNBUFFERED=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
