#!/usr/bin/env bash
# Usage: steps/make_alignment.sh [options] <source> <data-dir> <out-dir>
# An alignment (the corpus's own, k2's, a CTM file, TextGrids) into the frames of <data-dir>. --help lists the options.
# Example: steps/make_alignment.sh --tier phone=Laute ~/textgrids data/all exp/alignments/mine

set -euo pipefail
. ./path.sh
exec python3 -m ser make_alignment "$@"
