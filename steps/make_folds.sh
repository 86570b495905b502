#!/usr/bin/env bash
# Usage: steps/make_folds.sh [options] <corpus.yaml> <data-dir> <folds-dir> [options of ser make_folds]
#
# Divide <data-dir> into train, dev and test subsets as a protocol of <corpus.yaml> says; no speaker is in two
# subsets of a fold. Writes <folds-dir>/<fold>/{train,dev,test}, <folds-dir>/pooled (all that is tested on) and
# <folds-dir>/folds.tsv, all or nothing. The log is in <data-dir>/log. What is up to date is left alone.
# Example: steps/make_folds.sh conf/corpus.yaml data/all data/folds --protocol loso

set -euo pipefail

cmd=run.pl # how to run the job: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 3)) || usage_die "expected <corpus.yaml> <data-dir> <folds-dir>, got $# arguments"
corpus=$1 data=$2 folds=$3
shift 3
[[ -d $data ]] || die "$data: no such folder; run stages 0 and 1"

read -ra runner <<<"$cmd"
"${runner[@]}" "$data/log/make_folds.log" python3 -m ser make_folds "$data" "$folds" --config "$corpus" "$@"
tell_warnings "$data/log/make_folds.log"
sed -n '/ warning: /!{/: training speakers (/p;/: features\.norm auto takes /p;}' "$data/log/make_folds.log" >&2
