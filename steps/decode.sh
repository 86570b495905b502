#!/usr/bin/env bash
# Usage: steps/decode.sh [options] <tasks.tsv>
#
# Posteriors and attention of trained systems: each line of <tasks.tsv> is
# "<model-dir><TAB><data-dir><TAB><out-dir>". What is up to date is left alone. Logs are beside the list.
# Example: steps/decode.sh --nj 2 exp/tasks/decode.tsv

set -euo pipefail

nj=4         # jobs that share the list
cmd=run.pl   # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
use_gpu=auto # auto, yes or no

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/share_tasks.sh

(($# == 1)) || usage_die "expected <tasks.tsv>, got $# arguments"
share_tasks "$cmd" "$nj" "$1" "what to decode" python3 -m ser decode --use-gpu "$use_gpu"
