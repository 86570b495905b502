#!/usr/bin/env bash
# Usage: steps/compare_alignments.sh <phones.yaml> <reference.ctm> <other.ctm>
#
# How far the phone boundaries of one alignment lie from those of another; prints a table.
# Example: steps/compare_alignments.sh conf/phones.yaml data/all/phone.ctm data/k2/phone.ctm

set -euo pipefail

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <phones.yaml> <reference.ctm> <other.ctm>, got $# arguments"
exec python3 -m ser compare_alignments "$@"
