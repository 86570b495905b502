#!/usr/bin/env bash
# Usage: utils/install_k2.sh [--python <interpreter>] [--wheel <k2 wheel> --torch <version>]
#
# Makes the aligner's own environment, .venv-k2 of the checkout: k2 with the torch that it is built for
# (requirements-k2.txt). Takes some minutes and 3.3 GB; only steps/train_phones.sh and steps/align.sh use it.
# The first of these that works is taken, and named:
#   1. a k2 that is there: SER_K2_PYTHON, .venv-k2, or the Python of the recipe itself
#   2. --wheel: a file or an address from the k2 project's wheel page, for --python and --torch as its name says
#   3. k2 1.23.4 from PyPI, for Linux x86_64: needs a Python 3.10 (python3.10, pyenv's, uv's, or --python)
# What pip says is in .venv-k2/install.log; an interrupted installation starts again.

set -euo pipefail

python=      # the interpreter to build on; without --wheel it must be Python 3.10
wheel=       # a wheel of k2 for another Python and torch, file or address
torch=1.13.1 # the torch that the wheel is built for

top=$(readlink -f -- "${BASH_SOURCE[0]}")
top=${top%/utils/*}
# shellcheck source=path.sh
. "$top/path.sh"
# shellcheck source=utils/log.sh
. "$top/utils/log.sh"
# shellcheck source=utils/k2.sh
. "$top/utils/k2.sh"
# shellcheck source=utils/parse_options.sh
. "$top/utils/parse_options.sh"
(($# == 0)) || usage_die "takes no arguments, got '$1'"

venv=$top/.venv-k2
k2=1.23.4
k2_file='k2-1.23.4-cp310-cp310-linux_x86_64.whl' # what the wheel's name would be if it followed the rules
k2_hash=sha256:1404589732fdb7f6f5bf62297a20dd73318b7b4f2e10dd52dc3d5b6669688a4c
check='import k2, kaldiio, soundfile, torch, tqdm, yaml
graph = k2.linear_fsa([1, 2])
scores = torch.zeros(1, 2, 3)
best = k2.shortest_path(k2.intersect_dense(k2.create_fsa_vec([graph]),
  k2.DenseFsaVec(scores, torch.tensor([[0, 0, 2]], dtype=torch.int32)), 10.0), True)
assert best.labels.tolist() == [1, 2, -1]
print("torch", torch.__version__)'

# works INTERPRETER -- true when it has all that the aligner needs; says the version of torch.
works() {
  "$1" -W ignore -c "$check" 2>>"${log_file:-/dev/null}"
}

# is_310 INTERPRETER -- true when it runs and is Python 3.10.
is_310() {
  "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null
}

# python_310 -- print the first Python 3.10 of this machine.
python_310() {
  local candidate
  for candidate in "${python:-python3.10}" /usr/bin/python3.10 python3 \
    "$({ pyenv root; } 2>/dev/null)"/versions/3.10*/bin/python3.10 \
    "$({ uv python find 3.10; } 2>/dev/null)"; do
    if [[ -n $candidate ]] && is_310 "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
    [[ -z $python ]] || return 1
  done
  return 1
}

# pip ARGUMENT... -- run pip of the new environment, or say why it failed and exit.
pip() {
  "$venv/bin/python3" -m pip --disable-pip-version-check --log "$log_file" "$@" >/dev/null 2>&1 && return
  tail -n 200 "$log_file" | grep -i 'error' | tail -n 3 >&2 || true
  die "could not install k2's environment (pip ${*:1:2}); see $log_file, then run this again"
}

if [[ -z $wheel && -z $python ]] && k2_python=$(find_k2); then
  version=$(works "$k2_python") \
    || die "$k2_python does not run k2 with torch, numpy, kaldiio, pyyaml, soundfile and tqdm; install what it lacks," \
      "or unset SER_K2_PYTHON and remove .venv-k2, then run this again"
  log "k2 is there: $k2_python, $version; nothing installed"
  exit 0
fi
[[ -z ${SER_K2_PYTHON-} ]] || usage_die "SER_K2_PYTHON names an environment of your own; unset it to make .venv-k2"

if [[ -n $wheel ]]; then
  base=${python:-python3}
  way="the wheel $wheel"
else
  [[ $(uname -sm) == "Linux x86_64" ]] \
    || die "PyPI has k2 for Linux x86_64 only, this is $(uname -sm); see --wheel in --help"
  base=$(python_310) \
    || die "found no Python 3.10${python:+ at $python}, which k2 $k2 from PyPI is built for; install one (pyenv install" \
      "3.10, uv python install 3.10, or apt-get install python3.10-venv where there is one) and name it with" \
      "--python, or take a wheel of k2 for your Python with --wheel"
  way="k2 $k2 from PyPI"
fi

# One at a time, where the file system can lock.
exec {lock}<>"$top/.venv-k2.lock"
! command -v flock >/dev/null || flock "$lock" || log "cannot lock $top/.venv-k2.lock; going on"
rm -rf "$venv"
mkdir -p "$venv/ser"
: >"$venv/ser/unfinished"
log_file=$venv/install.log
log "making .venv-k2 with $("$base" --version), $way; some minutes"
"$base" -m venv "$venv" >>"$log_file" 2>&1 || "$base" -m virtualenv "$venv" >>"$log_file" 2>&1 \
  || die "$base cannot make environments; install its venv module or virtualenv; see $log_file"
log "installing torch $torch and the rest of requirements-k2.txt"
if [[ -n $wheel ]]; then
  pip install "torch==$torch" numpy kaldiio pyyaml soundfile tqdm
  pip install --no-deps "$wheel"
else
  pip install "pip<24" # newer ones refuse the name of k2's wheel
  pip install -r "$top/requirements-k2.txt"
  printf 'k2==%s --hash=%s\n' "$k2" "$k2_hash" >"$venv/ser/k2.txt"
  pip download --no-deps --require-hashes --dest "$venv/ser/wheel" -r "$venv/ser/k2.txt"
  mv "$venv/ser/wheel"/k2-*.whl "$venv/ser/wheel/$k2_file"
  pip install --no-deps "$venv/ser/wheel/$k2_file"
  rm -r "$venv/ser/wheel"
fi
version=$(works "$venv/bin/python3") || die "the new environment does not work; see $log_file"
rm "$venv/ser/unfinished"
log "done: $way, $version, in $venv, $SECONDS s"
