#!/usr/bin/env bash
# Usage: tests/run.sh [--fast] [--only lint|types|shell|unit] [-- <pytest arguments>]
#
# Checks everything: ruff, mypy, shellcheck and shfmt, then the tests (pytest). Installs what they need first
# (utils/install.sh). Goes through all of it even when something fails; exit 1 if anything did.

set -euo pipefail

fast=false # leave out the tests that take more than two seconds each
only=      # one part: lint, types, shell or unit

cd "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."
. utils/log.sh
. utils/parse_options.sh
[[ $only =~ ^(|lint|types|shell|unit)$ ]] || usage_die "--only is lint, types, shell or unit, not '$only'"

utils/install.sh --extra dev --extra mini --extra align --extra baselines --extra interpret --extra report --extra vad \
  --extra pretrained --extra export --extra serve
. ./path.sh

# The tracked and the new files that git does not ignore; without git, all outside hidden folders.
files() {
  git ls-files --cached --others --exclude-standard 2>/dev/null \
    || find . -name '.?*' -prune -o -type f -print .ci/run
}

# The shell scripts among them: by name, or by their first line. Links are read where they point to.
shell_files() {
  local file first
  while IFS= read -r file; do
    [[ -f $file && ! -L $file ]] || continue
    first=
    [[ $file == *.sh || ${file##*/} == *.* ]] || IFS= read -r first <"$file" || true
    [[ $file != *.sh && $first != '#!'*bash* ]] || printf '%s\n' "$file"
  done < <(files)
}

failed=()
# check PART COMMAND... -- run a check of a part that is wanted, and remember whether it failed.
check() {
  local part=$1
  shift
  [[ -z $only || $only == "$part" ]] || return 0
  log "$part: $1 $2"
  "$@" >&2 || failed+=("$1 $2")
}

mapfile -t scripts < <(shell_files)
check lint ruff check .
check lint ruff format --check .
check types mypy --strict ser utils/{run,queue,slurm}.pl utils/guard.py
check shell shellcheck "${scripts[@]}"
check shell shfmt -d "${scripts[@]}"
((${#failed[@]} == 0)) || log "failed so far: ${failed[*]}"

if [[ -z $only || $only == unit ]]; then
  marks=()
  [[ $fast == false ]] || marks=(-m 'not slow')
  processes=$(env -u OMP_NUM_THREADS nproc) # which path.sh sets
  ((processes <= 4)) || processes=4         # each may take a gigabyte
  log "unit: pytest ${marks[*]} $*"
  code=0
  python3 -m pytest --numprocesses "$processes" "${marks[@]}" "$@" || code=$?
  ((code == 0)) || failed+=(pytest)
fi
((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
