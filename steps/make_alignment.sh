#!/usr/bin/env bash
# Usage: steps/make_alignment.sh [options] <source> <data-dir> <out-dir>
#
# Put phones and words into the frames of <data-dir>: <out-dir>/{phone,word}.frames, and not_aligned with the
# utterances that <source> lacks. <source> is <data-dir> itself (the corpus's own alignment), what the k2 aligner
# made, any folder with phone.ctm or word.ctm, one CTM file, or a folder of Praat TextGrids. What is up to date
# is left alone.
# Example: steps/make_alignment.sh --tier phone=Laute ~/textgrids data/all data/alignments/mine

set -euo pipefail

conf=conf/alignment.yaml # how times are read
phones=conf/phones.yaml  # the phone set
manifests=               # data/manifests: <out-dir> gets its supervisions with this alignment
tier=()                  # phone=NAME: the tier of TextGrids; word: what a single CTM file has; may be given again
set=()                   # override of a setting of --conf, KEY=VALUE

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <source> <data-dir> <out-dir>, got $# arguments"

options=(--config "$conf" --phones "$phones")
[[ -z $manifests ]] || options+=(--manifests "$manifests")
for name in "${tier[@]}"; do options+=(--tier "$name"); done
for override in "${set[@]}"; do options+=(--set "$override"); done
python3 -m ser make_alignment "${options[@]}" "$@"
