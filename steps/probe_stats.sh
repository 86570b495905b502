#!/usr/bin/env bash
# Usage: steps/probe_stats.sh [options] <out-dir> <probe-dir> ...
# What masking and the integrated gradients found, put together; a <probe-dir> is <seed>/<fold>. --help lists the options.
# Example: steps/probe_stats.sh exp/interpret/blstmatt/corpus exp/interpret/blstmatt/corpus/probe/seed*/*

set -euo pipefail
. ./path.sh
exec python3 -m ser probe_stats "$@"
