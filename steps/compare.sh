#!/usr/bin/env bash
# Usage: steps/compare.sh [options] <data-dir> <decode-A> <decode-B>
#
# Is the difference between two systems more than chance? McNemar's exact test, and a paired bootstrap
# over speakers, on the utterances that both scored. Prints a summary.
# Example: steps/compare.sh data/all exp/pooled/{blstmatt,syscomb}/seed1/decode_test

set -euo pipefail

out=            # write the values as <key> <value> lines to this file
bootstrap=10000 # draws of speakers
seed=0          # of these draws

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <data-dir> <decode-A> <decode-B>, got $# arguments"

options=(--bootstrap "$bootstrap" --seed "$seed")
[[ -z $out ]] || options+=(--out "$out")
python3 -m ser compare "${options[@]}" "$@"
