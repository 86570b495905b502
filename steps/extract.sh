#!/usr/bin/env bash
# Usage: steps/extract.sh [options] <corpus.yaml> <data-dir> <set.yaml> ...
#
# Make feature sets of all utterances of <data-dir>, each as an array of jobs. A set is named as its
# settings file: conf/fbank.yaml is made in <data-dir>/fbank. The first set of frames named becomes the main
# one, <data-dir>/{feats.scp,utt2num_frames,frame_shift,feats.yaml}. Logs are <data-dir>/log/extract_<set>.*.log.
# What is up to date is left alone, whatever the number of jobs was.
# Example: steps/extract.sh --nj 4 conf/corpus.yaml data/all conf/fbank.yaml conf/egemaps.yaml

set -euo pipefail

nj=4          # number of jobs of each array
cmd=run.pl    # how to run them: run.pl, or e.g. "queue.pl --mem 2G"
use_gpu=auto  # for networks that make features: auto, yes or no
compress=none # archives of frames: none, CM (a byte a value) or CM2 (two bytes a value)
main=true     # false: the sets are made beside the main one, which stays what it is

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 3)) || usage_die "expected <corpus.yaml> <data-dir> <set.yaml> ..., got $# arguments"
corpus=$1 data=$2
shift 2

((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
[[ -s $data/wav.scp ]] || die "$data/wav.scp: no such file, or empty; run stage 0"
num_utts=$(cat "$data/segments" 2>/dev/null || cat "$data/wav.scp")
num_utts=$(wc -l <<<"$num_utts")
if ((nj > num_utts)); then
  log "$data holds $num_utts utterances; --nj $nj becomes $num_utts"
  nj=$num_utts
fi

logs=$data/log
mkdir -p "$logs"
read -ra runner <<<"$cmd"
options=(--num-jobs "$nj" --compress "$compress" --use-gpu "$use_gpu")
for conf in "$@"; do
  name=$(basename "$conf" .yaml)
  rm -f "$logs/extract_$name".*.log
  if ! "${runner[@]}" JOB=1:"$nj" "$logs/extract_$name.JOB.log" \
    python3 -m ser extract --job JOB "${options[@]}" "$corpus" "$data" "$conf"; then
    # what the jobs complained about, each line once
    sed -n '/^ser.*: error: /,/^#/{/^#/!p;}' "$logs/extract_$name".*.log | awk '!seen[$0]++' >&2
    die "$data: the features $name were not made; the logs are $logs/extract_$name.*.log"
  fi
  tell_warnings "$logs/extract_$name".*.log
done
[[ $main == false ]] || options+=(--main)
exec python3 -m ser extract --merge "${options[@]}" "$corpus" "$data" "$@"
