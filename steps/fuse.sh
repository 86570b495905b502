#!/usr/bin/env bash
# Usage: steps/fuse.sh [options] <out-dir> <decode-A> <decode-B> [<decode-C> ...]
#        steps/fuse.sh [options] --plan <exp-dir>
#
# Fuse two or more systems by their posteriors, or make all fusions of an experiment.
# Example: steps/fuse.sh exp/5/syscomb/seed1/decode_test \
#   exp/5/blstmatt/seed1/decode_test exp/5/csa_30/seed1/decode_test

set -euo pipefail

. ./path.sh
exec python3 -m ser fuse "$@"
