#!/usr/bin/env bash
# Usage: steps/export_textgrids.sh <source> <data-dir> <out-dir>
# An alignment as Praat TextGrids, to look at it or correct it by hand. --help lists the options.
# Example: steps/export_textgrids.sh data/all data/all textgrids

set -euo pipefail
. ./path.sh
exec python3 -m ser export_textgrids "$@"
