#!/usr/bin/env bash
# Usage: steps/compute_cmvn.sh [options] <data-dir>
#
# Sums and sums of squares of the features of each utterance, from which steps/make_folds.sh adds up those of
# speakers and training subsets. Writes <data-dir>/<set>/cmvn_utt.scp; the log is <data-dir>/log/compute_cmvn.log.
# What is up to date is left alone.
# Example: steps/compute_cmvn.sh data/all

set -euo pipefail

cmd=run.pl # how to run the job: run.pl, or e.g. "queue.pl --mem 2G"
set=()     # feature sets of <data-dir> by name; none: its main one

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 1)) || usage_die "expected <data-dir>, got $# arguments"
data=$1
[[ -d $data ]] || die "$data: no such folder; run stages 0 and 1"

read -ra runner <<<"$cmd"
"${runner[@]}" "$data/log/compute_cmvn.log" python3 -m ser compute_cmvn "${set[@]/#/--set=}" "$data"
tell_warnings "$data/log/compute_cmvn.log"
