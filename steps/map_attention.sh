#!/usr/bin/env bash
# Usage: steps/map_attention.sh [options] <alignment-dir> <data-dir> <out-dir> <decode-dir> ...
# The attention of a system, one <decode-dir> a fold, on phones and words. --help lists the options.
# Example: steps/map_attention.sh exp/alignments/corpus data/all exp/interpret/a/seed1 exp/*/a/seed1/decode_test

set -euo pipefail
. ./path.sh
exec python3 -m ser map_attention "$@"
