#!/usr/bin/env bash
# Usage: tests/gpu/run.sh [options]
#
# Check on a CUDA GPU, in minutes, that CPU and GPU agree, that mixed precision trains, that a killed training goes on
# without a trace, what happens with several processes and without memory; and measure how fast training and decoding
# are there, and what is gained when several trainings share the GPU.
# Needs PyTorch, and no network. Leaves check.json, check.txt (the table, printed too) and logs in --out.
# Example: tests/gpu/run.sh --wheels wheels --out gpu_check

set -euo pipefail

cpu=false     # all of it on the CPU, in tiny sizes: checks the checks
wheels=       # folder with wheels of what Python lacks here; they are unpacked for this run alone
out=gpu_check # folder for the results
only=()       # a section, may be given again; none: all of outputs losses amp decoding resuming processes memory speed sharing graphs settings
minutes=7     # no section begins later

root=$(dirname "$(dirname "$(dirname "$(readlink -f -- "${BASH_SOURCE[0]}")")")")
. "$root/utils/log.sh"
. "$root/utils/parse_options.sh"
. "$root/path.sh"

(($# == 0)) || usage_die "expected options only, got '$1'"
[[ -z $wheels || -d $wheels ]] || die "$wheels: no such folder; download wheels into it, or leave --wheels out"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
for wheel in ${wheels:+"$wheels"/*.whl}; do
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$wheel" \
    || log "$wheel: not for this Python, left out"
done
# Some libraries leave a package "tests" among Python's own, which comes before a folder without __init__.py.
mkdir "$site/tests"
printf '__path__ = ["""%s/tests"""]\n' "$root" >"$site/tests/__init__.py"
export PYTHONPATH=$site:$PYTHONPATH
installed torch numpy kaldiio safetensors yaml tqdm \
  || die "Python lacks one of torch, numpy, kaldiio, safetensors, yaml, tqdm; bring wheels along (--wheels)"

options=(--out "$out" --minutes "$minutes")
[[ $cpu == false ]] || options+=(--cpu)
((${#only[@]} == 0)) || options+=(--only "${only[@]}")
python3 "$root/tests/gpu/check.py" "${options[@]}"
