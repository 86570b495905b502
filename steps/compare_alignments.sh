#!/usr/bin/env bash
# Usage: steps/compare_alignments.sh <phones.yaml> <reference.ctm> <other.ctm>
# How far the phone boundaries of one alignment lie from those of another. --help lists the options.
# Example: steps/compare_alignments.sh conf/phones.yaml data/all/phone.ctm exp/k2/phone.ctm

set -euo pipefail
. ./path.sh
exec python3 -m ser compare_alignments "$@"
