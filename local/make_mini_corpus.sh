#!/usr/bin/env bash
# Usage: local/make_mini_corpus.sh [options] <out-dir>
#
# Makes the embedded corpus in <out-dir>: synthetic emotional speech in the layout of IEMOCAP's release, ten
# speakers, some 660 turns, 180 MB, in about 10 s. What is made already with the same options is left alone.
# It speaks with espeak-ng where the optional package espeakng-loader is installed (GPL, so it runs in a
# process of its own), else with the recipe's own formant engine.
#
# Example: local/make_mini_corpus.sh --scale 0.1 data/local/mini_release

set -euo pipefail

scale=1.0   # size, 0.1 to 50
seed=0      # of all that is drawn; the same seed gives the same bytes on one platform
engine=auto # auto, espeak or formant
nj=2        # processes; does not change the result

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 1)) || usage_die "expected <out-dir>, got $# arguments"

exec python3 -m ser make_mini_corpus --scale "$scale" --seed "$seed" --engine "$engine" --num-jobs "$nj" "$1"
