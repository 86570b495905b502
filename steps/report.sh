#!/usr/bin/env bash
# Usage: steps/report.sh [options] <exp-dir> <folds-dir>
#
# Report an experiment: RESULTS.md, and report.html, one page that needs nothing else. Prints a summary.
# Example: steps/report.sh --name emodb exp data/folds

set -euo pipefail

name=experiment # of the corpus
command=        # the command line that made all this
results=        # where RESULTS.md goes, else <exp-dir>/RESULTS.md
page=           # where report.html goes, else <exp-dir>/report.html

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 2)) || usage_die "expected <exp-dir> <folds-dir>, got $# arguments"

options=(--name "$name" --command="$command")
[[ -z $results ]] || options+=(--results "$results")
[[ -z $page ]] || options+=(--page "$page")
python3 -m ser report "${options[@]}" "$@"
