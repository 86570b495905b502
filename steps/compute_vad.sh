#!/usr/bin/env bash
# Usage: steps/compute_vad.sh <vad.yaml> <data-dir>
# Which frames of <data-dir> have speech: <data-dir>/vad.scp, as Kaldi's compute-vad. --help says more.
# Example: steps/compute_vad.sh conf/vad.yaml data/all

set -euo pipefail
. ./path.sh
exec python3 -m ser compute_vad "$@"
