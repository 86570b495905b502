#!/usr/bin/env bash
# Usage: steps/plot_attention.sh [options] <data-dir> <statistics-dir> <out-dir> <map-dir> ...
# Figures of stage 8, one word in all emotions, any utterance. --help lists the options.
# Example: steps/plot_attention.sh --utt 03a01Fa data/all $i figures $i/seed* # i=exp/interpret/blstmatt/corpus

set -euo pipefail
. ./path.sh
exec python3 -m ser plot_attention "$@"
