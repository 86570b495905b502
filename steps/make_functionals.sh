#!/usr/bin/env bash
# Usage: steps/make_functionals.sh [options] <set> <corpus.yaml> <data-dir>
#
# Make openSMILE's functionals of all recordings in <data-dir>/wav.scp, as an array of jobs, for the SVM
# baselines. <set> is egemaps (eGeMAPSv02, 88 values) or compare (ComParE_2016, 6,373 values). Writes
# <data-dir>/<set>.scp; archives in <data-dir>/<set>, logs in <data-dir>/log. What is up to date is left alone,
# whatever the number of jobs was. Needs utils/install.sh --extra baselines.
# Example: steps/make_functionals.sh --nj 4 egemaps conf/corpus.yaml data/all

set -euo pipefail

nj=4       # number of jobs
cmd=run.pl # how to run them: run.pl, or e.g. "queue.pl --mem 2G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <set> <corpus.yaml> <data-dir>, got $# arguments"
set=$1
corpus=$2
data=$3

((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
[[ -s $data/wav.scp ]] || die "$data/wav.scp: no such file, or empty; run stage 0"
num_utts=$(wc -l <"$data/wav.scp")
((nj <= num_utts)) || nj=$num_utts

logs=$data/log
mkdir -p "$logs"
rm -f "$logs/make_functionals_$set".*.log
read -ra runner <<<"$cmd"
if ! "${runner[@]}" JOB=1:"$nj" "$logs/make_functionals_$set.JOB.log" \
  python3 -m ser make_functionals --job JOB --num-jobs "$nj" --corpus "$corpus" "$set" "$data"; then
  # what the jobs complained about, each line once
  sed -n '/^ser.*: error: /,/^#/{/^#/!p;}' "$logs/make_functionals_$set".*.log | awk '!seen[$0]++' >&2
  die "$data: functionals were not made; the logs are $logs/make_functionals_$set.*.log"
fi
python3 -m ser merge_functionals --num-jobs "$nj" "$set" "$data"
