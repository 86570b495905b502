#!/usr/bin/env bash
# Usage: steps/map_attention.sh [options] <alignment-dir> <data-dir> <out-dir> <decode-dir> ...
#
# Map the attention of a system (one <decode-dir> a fold) onto phones and words: <out-dir>/phone_attn.tsv,
# word_attn.tsv. What is up to date is left alone.
# Example: steps/map_attention.sh data/alignments/corpus data/all exp/interpret/corpus/seed1 \
#   exp/*/blstmatt/seed1/decode_test

set -euo pipefail

phones=conf/phones.yaml # the phone set

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 4)) || usage_die "expected <alignment-dir> <data-dir> <out-dir> <decode-dir> ..., got $# arguments"

python3 -m ser map_attention --phones "$phones" "$@"
