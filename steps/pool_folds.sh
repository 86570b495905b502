#!/usr/bin/env bash
# Usage: steps/pool_folds.sh <out-dir> <decode-dir> ...
#
# Put the test utterances of all folds into one folder, so that one score covers the corpus.
# Example: steps/pool_folds.sh exp/pooled/blstmatt/seed1/decode_test exp/Ses0*/blstmatt/seed1/decode_test

set -euo pipefail

. ./path.sh
exec python3 -m ser pool_folds "$@"
