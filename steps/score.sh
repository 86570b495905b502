#!/usr/bin/env bash
# Usage: steps/score.sh [options] <data-dir> <decode-dir> [<data-dir> <decode-dir> ...]
#        steps/score.sh [options] --plan <exp-dir>
#
# Score posteriors, any folders with post and emotions.txt, or those of a whole experiment.
# Example: steps/score.sh data/all exp/pooled/blstmatt/seed1/decode_test

set -euo pipefail

. ./path.sh
exec python3 -m ser score "$@"
