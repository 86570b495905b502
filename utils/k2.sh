# shellcheck shell=bash
# utils/k2.sh -- where the Python with k2 is. Sourced, after utils/log.sh; changes no shell option.

# find_k2 -- print SER_K2_PYTHON, else .venv-k2's (utils/install_k2.sh), else python3 where that has k2; else fail.
find_k2() {
  local own=${SER_ROOT:?}/.venv-k2
  if [[ -n ${SER_K2_PYTHON-} ]]; then
    printf '%s\n' "$SER_K2_PYTHON"
  elif [[ -x $own/bin/python3 && ! -e $own/ser/unfinished ]]; then
    printf '%s\n' "$own/bin/python3"
  elif python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("k2") is None)' 2>/dev/null; then
    type -P python3
  else
    return 1
  fi
}

# require_k2 -- print the interpreter that find_k2 finds, or say in one line how to get k2 and exit.
require_k2() {
  local python
  python=$(find_k2) || die "k2 is not installed; run utils/install_k2.sh (Python 3.10, 3.3 GB)," \
    "or name a Python that has it with SER_K2_PYTHON"
  type -P "$python" || die "SER_K2_PYTHON=$python is no program; name the Python interpreter that has k2"
}
