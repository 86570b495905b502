#!/usr/bin/env bash
# Usage: steps/make_fbank.sh [options] <fbank.yaml> <corpus.yaml> <data-dir> [--set key=value ...]
#
# Make log-Mel filterbank features of all recordings in <data-dir>/wav.scp, as an array of jobs.
# Writes <data-dir>/{feats.scp,utt2num_frames,frame_shift,fbank.yaml}; archives in <data-dir>/fbank,
# logs in <data-dir>/log. What is up to date is left alone, whatever the number of jobs was.
# Example: steps/make_fbank.sh --nj 4 conf/fbank.yaml conf/corpus.yaml data/all

set -euo pipefail

nj=4          # number of jobs
cmd=run.pl    # how to run them: run.pl, or e.g. "queue.pl --mem 2G"
compress=none # archives: none, CM (a byte a value) or CM2 (two bytes a value)

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 3)) || usage_die "expected <fbank.yaml> <corpus.yaml> <data-dir>, got $# arguments"
fbank=$1
corpus=$2
data=$3
shift 3

((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
[[ -s $data/wav.scp ]] || die "$data/wav.scp: no such file, or empty; run stage 0"
num_utts=$(wc -l <"$data/wav.scp")
if ((nj > num_utts)); then
  log "$data holds $num_utts utterances; --nj $nj becomes $num_utts"
  nj=$num_utts
fi

logs=$data/log
mkdir -p "$logs"
rm -f "$logs"/make_fbank.*.log
read -ra runner <<<"$cmd"
if ! "${runner[@]}" JOB=1:"$nj" "$logs/make_fbank.JOB.log" \
  python3 -m ser make_fbank --job JOB --num-jobs "$nj" --compress "$compress" --corpus "$corpus" "$@" \
  "$fbank" "$data"; then
  # what the jobs complained about, each line once
  sed -n '/^ser.*: error: /,/^#/{/^#/!p;}' "$logs"/make_fbank.*.log | awk '!seen[$0]++' >&2
  die "$data: features were not made; the logs are $logs/make_fbank.*.log"
fi
python3 -m ser merge_fbank --num-jobs "$nj" "$data"
