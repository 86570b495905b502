#!/usr/bin/env bash
# Usage: steps/make_lexicon.sh [options] <phones.yaml> <data-dir> <lexicon.txt>
#
# Write the pronunciations that the transcripts in <data-dir>/text need. Words without one are an error that
# lists them all.
# Example: steps/make_lexicon.sh --g2p true conf/phones.yaml data/all data/k2/lexicon.txt

set -euo pipefail

lexicon=       # pronunciations, "<word> <phone> ..." a line; else CMUdict (English)
g2p=false      # guess what the lexicon lacks, as English (espeak-ng)
labels=        # phones of the corpus, such as data/all/phone.ctm, that say how its words were really spoken
max_variants=6 # of a word, that the labels may give

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <phones.yaml> <data-dir> <lexicon.txt>, got $# arguments"
args=(--max-variants "$max_variants")
[[ -z $lexicon ]] || args+=(--lexicon "$lexicon")
[[ -z $labels ]] || args+=(--labels "$labels")
[[ $g2p == false ]] || args+=(--g2p)
exec python3 -m ser make_lexicon "${args[@]}" "$@"
