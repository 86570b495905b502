#!/usr/bin/env bash
# Usage: utils/make_shipped_model.sh [options] <emodb>
#
# Make the model that comes with ser, ser/models/emodb: four classes, trained on all of EMO-DB, with the results of the
# same settings on speakers left out, and the calibration that was fitted on them. About 15 minutes on two cores.
# Example: utils/make_shipped_model.sh --work-dir /tmp/shipped ~/corpora/emodb

set -euo pipefail

work_dir=exp/shipped # where data and experiments go
ravdess=             # RAVDESS, whose four classes tell how it does on another corpus; without it that is not said
nj=2                 # jobs at once
out=ser/models/emodb # the folder to make

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 1)) || usage_die "expected <emodb>, got $# arguments"
work_dir=$(absolute "$work_dir")
common=(--systems csa_level_30 --seeds 1 --fuse none --nj "$nj" --use-gpu no)
for protocol in loso all; do
  ./run.sh --corpus emodb --corpus-dir "$1" --protocol "$protocol" "${common[@]}" --data-dir "$work_dir/data" \
    --exp-dir "$work_dir/$protocol" --stop-stage 7
done
model=$work_dir/all/all/csa_level_30/seed1
python3 -m ser calibrate "$model" --data "$work_dir/data/all" "$work_dir/loso/pooled/csa_level_30/seed1/decode_test"
scores=()
if [[ -n $ravdess ]]; then
  data=$work_dir/ravdess
  ./run.sh --corpus ravdess --corpus-dir "$ravdess" --corpus-conf egs/ravdess/conf/corpus_4.yaml "${common[@]}" \
    --systems csa_small_30 --data-dir "$data" --exp-dir "$data/exp" --stop-stage 2
  python3 -m ser predict "$model" "$data/all" --segments whole --out "$data/predicted.tsv"
  mkdir -p "$data/decode"
  cp "$data/all/emotions.txt" "$data/decode"
  awk -F '\t' 'NR > 1 { print $1 "  [ " $5, $6, $7, $8 " ]" }' "$data/predicted.tsv" >"$data/decode/post"
  python3 -m ser score "$data/all" "$data/decode"
  scores=(--scores "RAVDESS=$data/decode")
fi
python3 -m ser export "$model" --format package --out "$out" --name ser-emodb --license cc0-1.0 --language de \
  --experiment "$work_dir/loso" "${scores[@]}" \
  --limit "It has heard ten speakers, all German, all acting; on anything else it is often wrong." \
  --limit "It knows four classes and always names one of them: anger, happiness, neutral, sadness." \
  --limit "It must not be used to decide about people." \
  --cite "Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A database of German emotional speech. Interspeech 2005. (EMO-DB)"
