#!/usr/bin/env bash
# Usage: local/prepare_csv.sh [options] [<manifests-dir> [<data-dir> [--set key=value ...]]]
#
# Prepare recordings of your own, listed in a CSV or TSV file: check them, write lhotse manifests
# (data/manifests) and the tables of data/all. The first line of the file names its columns: path (as seen from
# the folder of the file), speaker, emotion, and if known text, gender (f or m) and fold. What is up to date is
# left alone; --set reaches the settings of --conf.
# Example: local/prepare_csv.sh --corpus-dir ~/corpora/mine/recordings.csv

set -euo pipefail

corpus_dir=           # the CSV or TSV file; else the variable CSV
strict=false          # a number of utterances that differs from those expected is an error
conf=conf/corpus.yaml # classes, labels and expected numbers
nj=4                  # audio headers read at a time

. ./path.sh
. utils/log.sh
. utils/parse_options.sh
. local/prepare_release.sh

folders "$@"
corpus_dir=${corpus_dir:-${CSV-}}
[[ -n $corpus_dir ]] || usage_die "give --corpus-dir <CSV or TSV file> or set CSV"

prepare_release csv "$corpus_dir" "$conf" --nj "$nj" --strict "$strict"
