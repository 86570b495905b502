#!/usr/bin/env bash
# Usage: steps/align.sh [options] <data-dir> <model-dir> <out-dir>
#
# Align the transcripts of <data-dir> with its recordings, as an array of jobs; needs k2 (utils/install_k2.sh) and a
# model of steps/train_phones.sh. Writes <out-dir>/{phone,word}.ctm and, for utterances that could not be aligned,
# not_aligned with the reasons; logs in <out-dir>/log. What is up to date is left alone.
# Example: steps/align.sh --nj 4 data/all exp/phones exp/k2

set -euo pipefail

nj=4       # number of jobs
cmd=run.pl # how to run them: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/k2.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <data-dir> <model-dir> <out-dir>, got $# arguments"
((nj >= 1)) || usage_die "--nj $nj: must be 1 or more"
[[ -s $1/text ]] || die "$1/text: no such file, or empty; aligning needs transcripts"
k2_python=$(require_k2)
num_utts=$(wc -l <"$1/utt2spk")
((nj <= num_utts)) || nj=$num_utts
mkdir -p "$3/log"
read -ra runner <<<"$cmd"
"${runner[@]}" JOB=1:"$nj" "$3/log/align.JOB.log" "$k2_python" -m ser align --job JOB --num-jobs "$nj" "$@"
python3 -m ser align --merge --num-jobs "$nj" "$@"
