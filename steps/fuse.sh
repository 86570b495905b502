#!/usr/bin/env bash
# Usage: steps/fuse.sh [options] <out-dir> <decode-A> <decode-B> [<decode-C> ...]
#
# Fuse the posteriors of two or more systems; score <out-dir> like any other system.
# The weights of the systems after the first are given, or found on --dev-data, whose speakers must be
# others than those of --data. Writes <out-dir>/{post,hyp,emotions.txt,not_scored,fusion.txt}.
# Example: steps/fuse.sh exp/5/syscomb/seed1/decode_test \
#   exp/5/blstmatt/seed1/decode_test exp/5/csa_30/seed1/decode_test

set -euo pipefail

mode=power    # power: p_A p_B^w; product: p_A p_B; linear: p_A + w p_B
weights=0.4   # of the systems after the first, such as "0.4 0.2" (0.4: the paper's); not used with --dev-data
dev_data=     # data folder to tune the weights on
dev_decode=() # the systems decoded on it, in the same order; give the option once for each
data=         # data folder that the systems to fuse were decoded on; needed with --dev-data
criterion=nll # what tuning makes best: nll or uar

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# >= 3)) || usage_die "expected <out-dir> and two <decode-dir> or more, got $# arguments"

options=(--mode "$mode")
if [[ -n $dev_data ]]; then
  options+=(--dev-data "$dev_data" --criterion "$criterion")
elif [[ $mode != product ]]; then
  options+=(--weights "$weights")
fi
for folder in "${dev_decode[@]}"; do
  options+=(--dev-decode "$folder")
done
[[ -z $data ]] || options+=(--data "$data")
python3 -m ser fuse "${options[@]}" "$@"
