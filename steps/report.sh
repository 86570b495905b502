#!/usr/bin/env bash
# Usage: steps/report.sh [options] <exp-dir> [<folds-dir>]
#
# Report an experiment: RESULTS.md, and report.html, one page that needs nothing else.
# Example: steps/report.sh --name emodb exp

set -euo pipefail

. ./path.sh
exec python3 -m ser report "$@"
