#!/usr/bin/env bash
# Usage: steps/decode.sh [options] <tasks.tsv> [options of ser decode]
#
# Posteriors and attention of trained systems: each line of <tasks.tsv> is "<model-dir><TAB><data-dir><TAB><out-dir>",
# and, of a system that is code of your own, a further field that names it. What is up to date is left alone.
# Example: steps/decode.sh --nj 2 --use-gpu no exp/tasks/decode.tsv

set -euo pipefail

nj=4           # jobs that share the list
cmd=run.pl     # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
use_gpu=auto   # auto, yes or no
jobs_per_gpu=1 # jobs at once that share a GPU of this machine

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/gpus.sh
. utils/share_tasks.sh

take_gpus 1
(share_tasks "$cmd" "$nj" "${1-}" "what to decode" python3 -m ser decode --use-gpu "$use_gpu" "${@:2}")
tell_warnings "$(dirname "$1")/log/$(basename "$1" .tsv)".*.log
