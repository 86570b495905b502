#!/usr/bin/env bash
# Usage: local/prepare_cremad.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare CREMA-D: check the release, write lhotse manifests (data/manifests) and the tables of data/all. The
# release is the folder that holds AudioWAV/ (VideoDemographics.csv may be missing). What is up to date is left
# alone; --set reaches the settings of --conf.
# Example: local/prepare_cremad.sh --corpus-dir ~/corpora/CREMA-D

set -euo pipefail

corpus_dir=           # folder of the release; else the variable CREMAD
strict=false          # a number of utterances that differs from those expected is an error
conf=conf/corpus.yaml # classes, labels and expected numbers
nj=4                  # audio headers read at a time

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-${CREMAD-}}
[[ -n $corpus_dir ]] || usage_die "give --corpus-dir <folder of CREMA-D> or set CREMAD"

prepare_release cremad "$corpus_dir" "$conf" --nj "$nj" --strict "$strict"
