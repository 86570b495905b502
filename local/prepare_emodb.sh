#!/usr/bin/env bash
# Usage: local/prepare_emodb.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare EMO-DB: check the release, write lhotse manifests (data/manifests) and the tables of data/all.
# The release is the folder that holds wav/ (lablaut/ and erkennung.txt may be missing). What is up to date
# is left alone; --set reaches the settings of --conf.
# Example: local/prepare_emodb.sh --corpus-dir ~/corpora/emodb

set -euo pipefail

corpus_dir=           # folder of the release; else the variable EMODB, or data/emodb with --download
download=false        # fetch all 535 recordings with the Python package audb, unless they are there
strict=false          # a number of utterances that differs from those expected is an error
conf=conf/corpus.yaml # classes, labels and expected numbers
nj=4                  # audio headers read at a time

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-${EMODB-}}
[[ $download == false || -n $corpus_dir ]] || corpus_dir=$(dirname "$manifests")/emodb
[[ -n $corpus_dir ]] || usage_die "give --corpus-dir <folder of EMO-DB>, set EMODB, or fetch it with --download true"

prepare_release emodb "$corpus_dir" "$conf" --nj "$nj" --download "$download" --strict "$strict"
