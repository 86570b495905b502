#!/usr/bin/env bash
# Usage: local/prepare_iemocap.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare IEMOCAP: check the release, write lhotse manifests of all its turns (data/manifests) and the
# tables of those with a class (data/all). The release is the folder that holds Session1 to Session5; of it
# are read dialog/{EmoEvaluation,transcriptions} and sentences/{wav,ForcedAlignment}. What is up to date is
# left alone; --set reaches the settings of --conf.
#
# The release is licensed; ask for it at https://sail.usc.edu/iemocap/. Any corpus in its layout will do,
# such as what local/make_mini_corpus.sh makes.
#
# Example: local/prepare_iemocap.sh --corpus-dir ~/corpora/IEMOCAP_full_release --strict true

set -euo pipefail

corpus_dir=           # folder of the release; else the variable IEMOCAP
strict=false          # a count, duration or digest that differs from the full release's is an error
conf=conf/corpus.yaml # classes, labels and whether the full release is expected
nj=2                  # processes

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-${IEMOCAP-}}
[[ -n $corpus_dir ]] || usage_die "give --corpus-dir <folder of IEMOCAP>, or set IEMOCAP"

prepare_release iemocap "$corpus_dir" "$conf" --nj "$nj" --strict "$strict"
