#!/usr/bin/env bash
# Usage: steps/probe_stats.sh [options] <out-dir> <probe-dir> ...
#
# Put the answers of the masking test and the integrated gradients together; a <probe-dir> is <seed>/<fold>.
# Writes <out-dir>/{masking_stats.tsv,gradient_stats.tsv}, prints both.
# Example: steps/probe_stats.sh exp/interpret/corpus exp/interpret/corpus/probe/seed*/*

set -euo pipefail

draws=999 # of speakers
seed=0    # of these draws

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 2)) || usage_die "expected <out-dir> and one <probe-dir> or more, got $# arguments"

python3 -m ser probe_stats --draws "$draws" --seed "$seed" "$@"
