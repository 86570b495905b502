#!/usr/bin/env bash
# Usage: steps/tabulate.sh [options] <folder> ...
#        steps/tabulate.sh [options] --plan <exp-dir>
#
# Print the results of all systems as one table.
# Example: steps/tabulate.sh --out exp/results.tsv --plan exp

set -euo pipefail

. ./path.sh
exec python3 -m ser tabulate "$@"
