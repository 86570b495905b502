#!/usr/bin/env bash
# Usage: steps/phone_stats.sh [options] <out-dir> <map-dir> ...
# Statistics of attention over phones and words, over the seeds whose maps are given. --help lists the options.
# Example: steps/phone_stats.sh exp/interpret/blstmatt/corpus exp/interpret/blstmatt/corpus/seed*

set -euo pipefail
. ./path.sh
exec python3 -m ser phone_stats "$@"
