#!/usr/bin/env bash
# Usage: steps/align_corpus.sh [options] <corpus.yaml> <data-dir> <model-dir> <out-dir>
#
# Everything that a forced alignment of <data-dir> takes, one step after another: the lexicon, the aligner's features,
# phone models trained on this very data, and <out-dir>/{phone,word}.ctm with them. The lexicon is --lexicon, else
# conf/lexicon.txt with variants from the phones that the corpus is labelled with, if it is; else CMUdict, for
# English, where espeak-ng guesses the other words. Needs k2 (utils/install_k2.sh). What is up to date is left alone.
# Example: steps/align_corpus.sh --nj 4 conf/corpus.yaml data/all exp/phones data/k2

set -euo pipefail

nj=4                             # jobs for the features and the alignment
train_cmd=run.pl                 # how to run features and training: run.pl, or e.g. "queue.pl --mem 4G"
align_cmd=run.pl                 # how to run the alignment
lexicon=                         # pronunciations, "<word> <phone> ..." a line
align_conf=conf/align.yaml       # settings of the models
fbank_conf=conf/align_fbank.yaml # settings of the features
phones_conf=conf/phones.yaml     # the phone set

. ./path.sh
. utils/log.sh
. utils/k2.sh
. utils/parse_options.sh

(($# == 4)) || usage_die "expected <corpus.yaml> <data-dir> <model-dir> <out-dir>, got $# arguments"
corpus=$1
data=$2
model=$3
out=$4
require_k2 >/dev/null
[[ -s $data/text ]] || die "$data/text: no such file, or empty; aligning needs transcripts"

args=(--g2p true)
if [[ -n $lexicon ]]; then
  args=(--lexicon "$lexicon")
elif [[ -e conf/lexicon.txt ]]; then
  args=(--lexicon conf/lexicon.txt)
  [[ ! -s $data/phone.ctm ]] || args+=(--labels "$data/phone.ctm")
else
  utils/install.sh --extra align --extra mini
fi
steps/make_lexicon.sh "${args[@]}" "$phones_conf" "$data" "$out/lexicon.txt"
steps/make_align_fbank.sh --cmd "$train_cmd" --nj "$nj" "$fbank_conf" "$corpus" "$data"
steps/train_phones.sh --cmd "$train_cmd" "$align_conf" "$phones_conf" "$data" "$out/lexicon.txt" "$model"
steps/align.sh --cmd "$align_cmd" --nj "$nj" "$data" "$model" "$out"
