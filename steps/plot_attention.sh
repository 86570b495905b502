#!/usr/bin/env bash
# Usage: steps/plot_attention.sh [options] <data-dir> <statistics-dir> <out-dir> <map-dir> ...
#
# Figures: the tables of stage 8, a page of the most certain right and wrong decisions, one word in all emotions,
# any utterance. What is up to date is left alone.
# Example: steps/plot_attention.sh --utt 03a01Fa data/all exp/interpret/corpus figures exp/interpret/corpus/seed*

set -euo pipefail

conf=conf/figures.yaml # utterances, word, formats
utt=()                 # draw this utterance too; may be given again
set=()                 # override of a setting of --conf, KEY=VALUE

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 4)) || usage_die "expected <data-dir> <statistics-dir> <out-dir> <map-dir> ..., got $# arguments"

options=(--config "$conf")
for name in "${utt[@]}"; do options+=(--utt "$name"); done
for override in "${set[@]}"; do options+=(--set "$override"); done
python3 -m ser plot_attention "${options[@]}" "$@"
