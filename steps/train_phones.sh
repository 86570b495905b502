#!/usr/bin/env bash
# Usage: steps/train_phones.sh [options] <align.yaml> <phones.yaml> <data-dir> <lexicon.txt> <model-dir>
#
# Train the aligner's phone models on <data-dir> itself, from a flat start; needs k2 (utils/install_k2.sh) and
# the features of steps/make_align_fbank.sh. What is up to date is left alone. The log is in <model-dir>/log.
# Example: steps/train_phones.sh conf/align.yaml conf/phones.yaml data/all data/k2/lexicon.txt exp/phones

set -euo pipefail

cmd=run.pl # how to run the job: run.pl, or e.g. "queue.pl --mem 4G"
set=()     # override of a setting, KEY=VALUE

. ./path.sh
. utils/log.sh
. utils/k2.sh
. utils/parse_options.sh

(($# == 5)) || usage_die "expected <align.yaml> <phones.yaml> <data-dir> <lexicon.txt> <model-dir>, got $# arguments"
k2_python=$(require_k2)
args=()
for override in "${set[@]}"; do
  args+=(--set "$override")
done
mkdir -p "$5/log"
read -ra runner <<<"$cmd"
exec "${runner[@]}" "$5/log/train_phones.log" "$k2_python" -m ser train_phones "${args[@]}" "$@"
