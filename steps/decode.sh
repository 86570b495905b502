#!/usr/bin/env bash
# Usage: steps/decode.sh [--nj <n>] [--cmd <runner>] <tasks.tsv> [options of ser decode]
#
# Posteriors and attention of trained systems: each line of <tasks.tsv> is "<model-dir><TAB><data-dir><TAB><out-dir>",
# and, of a system that is code of your own, a further field that names it. What is up to date is left alone.
# Example: steps/decode.sh --nj 2 exp/tasks/decode.tsv --use-gpu no

set -euo pipefail

nj=4       # jobs that share the list
cmd=run.pl # how to run them: run.pl, or e.g. "queue.pl --mem 4G"

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/share_tasks.sh

(share_tasks "$cmd" "$nj" "${1-}" "what to decode" python3 -m ser decode "${@:2}")
tell_warnings "$(dirname "$1")/log/$(basename "$1" .tsv)".*.log
