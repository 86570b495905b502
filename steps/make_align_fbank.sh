#!/usr/bin/env bash
# Usage: steps/make_align_fbank.sh [options] <align_fbank.yaml> <corpus.yaml> <data-dir>
#
# The aligner's own features of <data-dir>, in <data-dir>/align: log-Mel energies in short steps, as an array of
# jobs, and their CMVN statistics. What is up to date is left alone.
# Example: steps/make_align_fbank.sh --nj 4 conf/align_fbank.yaml conf/corpus.yaml data/all

set -euo pipefail

nj=4        # number of jobs
cmd=run.pl  # how to run them: run.pl, or e.g. "queue.pl --mem 2G"
compress=CM # archives: none, CM (a byte a value) or CM2 (two bytes a value)

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <align_fbank.yaml> <corpus.yaml> <data-dir>, got $# arguments"
data=$3
[[ -s $data/wav.scp ]] || die "$data/wav.scp: no such file, or empty; run stage 0"
mkdir -p "$data/align"
cmp -s "$data/wav.scp" "$data/align/wav.scp" || cp "$data/wav.scp" "$data/align/wav.scp"
steps/make_fbank.sh --cmd "$cmd" --nj "$nj" --compress "$compress" "$1" "$2" "$data/align"
exec steps/compute_cmvn.sh --cmd "$cmd" "$data/align"
