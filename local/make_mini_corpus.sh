#!/usr/bin/env bash
# Usage: local/make_mini_corpus.sh [options] <out-dir>
# Make the embedded corpus, synthetic speech in IEMOCAP's layout. --help lists the options.
# Example: local/make_mini_corpus.sh --scale 0.1 data/local/mini_release

set -euo pipefail
. ./path.sh
exec python3 -m ser make_mini_corpus "$@"
