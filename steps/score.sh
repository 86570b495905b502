#!/usr/bin/env bash
# Usage: steps/score.sh [options] <data-dir> <decode-dir> [<data-dir> <decode-dir> ...]
#
# Score what systems decided. <decode-dir> is any folder with post and emotions.txt.
# Writes <decode-dir>/score/{result.txt,confusion.txt,errors.txt}, prints a summary.
# Example: steps/score.sh data/all exp/pooled/blstmatt/seed1/decode_test

set -euo pipefail

allow_missing=false # count utterances without posteriors, and without a line in not_scored, as not scored
key2utt=            # <chunk> <utt> of a <decode-dir> of chunks, when it is not <decode-dir>/chunk2utt
bootstrap=1000      # draws of speakers for the intervals
seed=0              # of these draws

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 2 && $# % 2 == 0)) || usage_die "expected pairs of <data-dir> <decode-dir>, got $# arguments"

options=(--allow-missing "$allow_missing" --bootstrap "$bootstrap" --seed "$seed")
[[ -z $key2utt ]] || options+=(--key2utt "$key2utt")
python3 -m ser score "${options[@]}" "$@"
