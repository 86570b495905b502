#!/usr/bin/env bash
# Usage: steps/phone_stats.sh [options] <out-dir> <map-dir> ...
#
# Statistics of attention over phones and words, over the seeds whose maps are given. Writes
# <out-dir>/{vowel_consonant.tsv,phone_stats.tsv,phone_tests.tsv}, prints the first.
# Example: steps/phone_stats.sh exp/interpret/corpus exp/interpret/corpus/seed*

set -euo pipefail

draws=999       # of nulls and of speakers
seed=0          # of these draws
min_segments=20 # phones and words that come less often are not tested

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 2)) || usage_die "expected <out-dir> and one <map-dir> or more, got $# arguments"

python3 -m ser phone_stats --draws "$draws" --seed "$seed" --min-segments "$min_segments" "$@"
