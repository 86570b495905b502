#!/usr/bin/env bash
# Usage: steps/align_corpus.sh [options] <corpus.yaml> <data-dir> <model-dir> <out-dir>
#
# Everything that a forced alignment of <data-dir> takes, one step after another: the lexicon, the aligner's features,
# phone models trained on this very data, and <out-dir>/{phone,word}.ctm with them. The lexicon is --lexicon, else
# conf/lexicon.txt with variants from the phones that the corpus is labelled with, if it is; else CMUdict, for
# English, where espeak-ng guesses the other words. Needs k2 (utils/install_k2.sh). What is up to date is left alone.
# Example: steps/align_corpus.sh --nj 4 conf/corpus.yaml data/all exp/phones exp/k2

set -euo pipefail

nj=4             # jobs for the features and the alignment
train_cmd=run.pl # how to run features and training: run.pl, or e.g. "queue.pl --mem 4G"
align_cmd=run.pl # how to run the alignment
lexicon=         # pronunciations, "<word> <phone> ..." a line
align_conf=      # settings of the models, else conf/align.yaml, the recipe's or the shared one
fbank_conf=      # settings of the features, else conf/align_fbank.yaml
phones_conf=     # the phone set, else conf/phones.yaml

. ./path.sh
. utils/log.sh
. utils/k2.sh
. utils/parse_options.sh

(($# == 4)) || usage_die "expected <corpus.yaml> <data-dir> <model-dir> <out-dir>, got $# arguments"
require_k2 >/dev/null
[[ -s $2/text ]] || die "$2/text: no such file, or empty; aligning needs transcripts"
align_conf=${align_conf:-$(find_conf align.yaml)}
fbank_conf=${fbank_conf:-$(find_conf align_fbank.yaml)}
phones_conf=${phones_conf:-$(find_conf phones.yaml)}
features=$(basename "$fbank_conf" .yaml)

args=(--g2p)
if [[ -n $lexicon ]]; then
  args=(--lexicon "$lexicon")
elif [[ -e conf/lexicon.txt ]]; then
  args=(--lexicon conf/lexicon.txt)
  [[ ! -s $2/phone.ctm ]] || args+=(--labels "$2/phone.ctm")
else
  utils/install.sh --extra align --extra mini
fi
steps/make_lexicon.sh "${args[@]}" "$phones_conf" "$2" "$4/lexicon.txt"
steps/extract.sh --cmd "$train_cmd" --nj "$nj" --compress CM --main false "$1" "$2" "$fbank_conf"
steps/compute_cmvn.sh --cmd "$train_cmd" --set "$features" "$2"
steps/train_phones.sh --cmd "$train_cmd" "$align_conf" "$phones_conf" "$2" "$4/lexicon.txt" "$3" --features "$features"
steps/align.sh --cmd "$align_cmd" --nj "$nj" "$2" "$3" "$4"
