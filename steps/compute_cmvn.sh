#!/usr/bin/env bash
# Usage: steps/compute_cmvn.sh [options] <data-dir>
#
# Sums and sums of squares of the features of each utterance, from which steps/make_folds.sh adds up those of
# speakers and training parts. Writes <data-dir>/cmvn_utt.scp; the archive is in <data-dir>/cmvn, the log in
# <data-dir>/log. What is up to date is left alone.
# Example: steps/compute_cmvn.sh data/all

set -euo pipefail

cmd=run.pl # how to run the job: run.pl, or e.g. "queue.pl --mem 2G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 1)) || usage_die "expected <data-dir>, got $# arguments"
data=$1
[[ -s $data/feats.scp ]] || die "$data/feats.scp: no such file, or empty; run stage 1"

read -ra runner <<<"$cmd"
exec "${runner[@]}" "$data/log/compute_cmvn.log" python3 -m ser compute_cmvn "$data"
