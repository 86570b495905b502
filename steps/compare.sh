#!/usr/bin/env bash
# Usage: steps/compare.sh [options] <data-dir> <decode-A> <decode-B>
#
# Is the difference between two systems more than chance?
# Example: steps/compare.sh data/all exp/pooled/{blstmatt,syscomb}/seed1/decode_test

set -euo pipefail

. ./path.sh
exec python3 -m ser compare "$@"
