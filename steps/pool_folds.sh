#!/usr/bin/env bash
# Usage: steps/pool_folds.sh <out-dir> <decode-dir> ...
#
# Put the test utterances of all folds into one system, so that one score covers the corpus.
# No utterance may be in two folds. Writes <out-dir>/{post,hyp,emotions.txt,not_scored}.
# Example: steps/pool_folds.sh exp/pooled/blstmatt/seed1/decode_test exp/Ses0*/blstmatt/seed1/decode_test

set -euo pipefail

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 2)) || usage_die "expected <out-dir> and one <decode-dir> or more, got $# arguments"

python3 -m ser pool_folds "$@"
