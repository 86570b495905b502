#!/usr/bin/env bash
# Usage: steps/tabulate.sh [options] <folder> ...
#
# Print the results of all systems, <folder>/<system>/seed<k>/<decode>/score/result.txt, as one table:
# a row per system, mean and standard deviation over its seeds.
# Example: steps/tabulate.sh --out exp/results.tsv exp/pooled

set -euo pipefail

out=               # write every value of every seed to this file, tab-separated
title=             # a line above the table
decode=decode_test # which decoding

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 1)) || usage_die "expected <folder> such as exp/pooled, got no argument"

options=(--title "$title" --decode "$decode")
[[ -z $out ]] || options+=(--out "$out")
python3 -m ser tabulate "${options[@]}" "$@"
