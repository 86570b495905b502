#!/usr/bin/env bash
# Usage: local/prepare_ravdess.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare RAVDESS (speech, audio only): check the release, write lhotse manifests (data/manifests) and the tables
# of data/all. The release is the folder that holds Actor_01 and so on, or all recordings in one folder. What is
# up to date is left alone; --set reaches the settings of --conf.
# Example: local/prepare_ravdess.sh --corpus-dir ~/corpora/ravdess

set -euo pipefail

corpus_dir=           # folder of the release; else the variable RAVDESS
strict=false          # a number of utterances that differs from those expected is an error
conf=conf/corpus.yaml # classes, labels and expected numbers
nj=4                  # audio headers read at a time

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-${RAVDESS-}}
[[ -n $corpus_dir ]] || usage_die "give --corpus-dir <folder of RAVDESS> or set RAVDESS"

prepare_release ravdess "$corpus_dir" "$conf" --nj "$nj" --strict "$strict"
