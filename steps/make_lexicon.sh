#!/usr/bin/env bash
# Usage: steps/make_lexicon.sh [options] <phones.yaml> <data-dir> <lexicon.txt>
# The pronunciations that the transcripts in <data-dir>/text need. --help lists the options.
# Example: steps/make_lexicon.sh --g2p conf/phones.yaml data/all exp/k2/lexicon.txt

set -euo pipefail
. ./path.sh
exec python3 -m ser make_lexicon "$@"
