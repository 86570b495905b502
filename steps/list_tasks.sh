#!/usr/bin/env bash
# Usage: steps/list_tasks.sh <tasks.tsv> ...
#
# Say which trainings and decodings of task lists would run, and which are done, begun or failed. Runs nothing.
# Example: steps/list_tasks.sh exp/tasks/train.tsv exp/tasks/decode.tsv

set -euo pipefail

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 1)) || usage_die "expected <tasks.tsv>, got no argument"

python3 -m ser list_tasks "$@"
