#!/usr/bin/env bash
# Usage: steps/export_textgrids.sh <source> <data-dir> <out-dir>
#
# Write an alignment as Praat TextGrids, <out-dir>/<utterance>.TextGrid, to look at it or correct it by hand.
# <source> is a data folder (the corpus's own alignment), what the k2 aligner made, or a CTM file.
# Example: steps/export_textgrids.sh data/all data/all textgrids

set -euo pipefail

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <source> <data-dir> <out-dir>, got $# arguments"

python3 -m ser export_textgrids "$@"
