#!/usr/bin/env bash
# Usage: steps/probe_attention.sh [--nj <n>] [--cmd <runner>] <tasks.tsv> [options of ser probe_attention]
#
# Does the attention matter? A masking test and integrated gradients: each line of <tasks.tsv> is
# "<model-dir><TAB><data-dir><TAB><map-dir><TAB><out-dir>". What is up to date is left alone.
# Example: steps/probe_attention.sh --nj 2 exp/tasks/probe.tsv --fraction 0.3

set -euo pipefail

nj=4       # jobs that share the list
cmd=run.pl # how to run them: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/share_tasks.sh

share_tasks "$cmd" "$nj" "${1-}" "what to probe" python3 -m ser probe_attention "${@:2}"
