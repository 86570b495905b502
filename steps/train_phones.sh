#!/usr/bin/env bash
# Usage: steps/train_phones.sh [--cmd <runner>] <align.yaml> <phones.yaml> <data-dir> <lexicon.txt> <model-dir>
#                              [options of ser train_phones]
#
# Train the aligner's phone models on <data-dir> itself, from a flat start; needs k2 (utils/install_k2.sh) and the
# feature set align_fbank. What is up to date is left alone. The log is in <model-dir>/log.
# Example: steps/train_phones.sh conf/align.yaml conf/phones.yaml data/all exp/k2/lexicon.txt exp/phones

set -euo pipefail

cmd=run.pl # how to run the job: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/k2.sh
. utils/parse_options.sh

(($# >= 5)) || usage_die "expected <align.yaml> <phones.yaml> <data-dir> <lexicon.txt> <model-dir>, got $# arguments"
k2_python=$(require_k2)
mkdir -p "$5/log"
read -ra runner <<<"$cmd"
exec "${runner[@]}" "$5/log/train_phones.log" "$k2_python" -m ser train_phones "$@"
