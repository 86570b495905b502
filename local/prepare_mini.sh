#!/usr/bin/env bash
# Usage: local/prepare_mini.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare mini, the embedded corpus: make it if it is missing, write lhotse manifests (data/manifests) and
# the tables of data/all. Without --corpus-dir it lies in local/mini_release beside the manifests
# (data/local/mini_release). What is up to date is left alone; --set reaches the settings of --conf.
#
# Example: local/prepare_mini.sh --scale 0.1

set -euo pipefail

corpus_dir=           # folder of the corpus
strict=false          # a number of turns that differs from those expected is an error
conf=conf/corpus.yaml # classes, labels and expected numbers
nj=2                  # processes
scale=1.0             # size of the corpus if it is to be made
seed=0                # of the corpus if it is to be made
engine=auto           # auto, espeak or formant, if it is to be made

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-$(dirname "$manifests")/local/mini_release}

[[ -e $corpus_dir/made.json ]] || local/make_mini_corpus.sh --scale "$scale" --seed "$seed" --engine "$engine" \
  --nj "$nj" "$corpus_dir"
prepare_release mini "$corpus_dir" "$conf" --nj "$nj" --strict "$strict"
