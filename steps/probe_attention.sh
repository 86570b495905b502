#!/usr/bin/env bash
# Usage: steps/probe_attention.sh [options] <tasks.tsv>
#
# Does the attention matter? A masking test and integrated gradients: each line of <tasks.tsv> is
# "<model-dir><TAB><data-dir><TAB><map-dir><TAB><out-dir>". Writes <out-dir>/{masking.tsv,gradients.tsv}. What is
# up to date is left alone. Logs are beside the list.
# Example: steps/probe_attention.sh --nj 2 exp/tasks/probe.tsv

set -euo pipefail

nj=4               # jobs that share the list
cmd=run.pl         # how to run them: run.pl, or e.g. "queue.pl --mem 4G"
fraction=0.2       # share of the speech that is masked
draws=3            # of phones at random
grad_steps=16      # of the integrated gradients
max_utterances=100 # of each line, a random sample; 0 for all
seed=0             # of sample and draws

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. utils/share_tasks.sh

(($# == 1)) || usage_die "expected <tasks.tsv>, got $# arguments"
share_tasks "$cmd" "$nj" "$1" "what to probe" python3 -m ser probe_attention --fraction "$fraction" \
  --draws "$draws" --steps "$grad_steps" --max-utterances "$max_utterances" --seed "$seed"
