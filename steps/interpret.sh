#!/usr/bin/env bash
# Usage: steps/interpret.sh [options] <corpus.yaml> <data-dir> <exp-dir>
#
# Attention over phones and words, of every system that the plan of <exp-dir> interprets: the alignment, maps of it,
# their statistics, what masking does, figures. What is up to date is left alone. Everything is in <exp-dir>, but the
# features of k2's aligner, which are made in <data-dir>.
# Example: steps/interpret.sh --nj 2 conf/corpus.yaml data/all exp

set -euo pipefail

nj=4             # jobs for the alignment and for probing
cmd=run.pl       # how to run these: run.pl, or e.g. "queue.pl --mem 4G"
train_cmd=run.pl # how to run features and training of the aligner

. ./path.sh
. utils/log.sh
. utils/parse_options.sh

(($# == 3)) || usage_die "expected <corpus.yaml> <data-dir> <exp-dir>, got $# arguments"
tasks=$3/tasks
manifests=(--manifests "$(dirname "$2")/manifests")
[[ -d ${manifests[1]} ]] || manifests=() # tables of one's own have none
[[ -e $tasks/interpret.tsv ]] || die "$tasks/interpret.tsv: no such file; run stage 2"
aligned=
while IFS=$'\t' read -ra line <&3; do # system, set, source, alignment, out, map, a decode folder for each fold
  if [[ ${line[2]} -ef $2 && ! -s $2/phone.ctm ]]; then
    log "$2 has no alignment of its own, so attention is not interpreted; see --alignment"
    exit 0
  fi
  if [[ ${line[3]} != "$aligned" ]]; then
    [[ ${line[2]##*/} != k2 || ! ${line[2]%/*} -ef $3 ]] \
      || steps/align_corpus.sh --train-cmd "$train_cmd" --align-cmd "$cmd" --nj "$nj" "$1" "$2" "$3/phones" "${line[2]}"
    steps/make_alignment.sh "${manifests[@]}" --features "${line[1]}" "${line[2]}" "$2" "${line[3]}"
    aligned=${line[3]}
  fi
  steps/map_attention.sh "${line[3]}" "$2" "${line[5]}" "${line[@]:6}"
done 3<"$tasks/interpret.tsv"

mapfile -t outs < <(cut -f 5 "$tasks/interpret.tsv" | uniq)
for out in "${outs[@]}"; do
  mapfile -t maps < <(awk -F '\t' -v out="$out" '$5 == out { print $6 }' "$tasks/interpret.tsv")
  steps/phone_stats.sh "$out" "${maps[@]}"
done
((${#outs[@]} > 0)) || exit 0
if ! installed captum matplotlib; then
  log "no figures, no masking test: matplotlib or captum is not installed (utils/install.sh --extra interpret)"
  exit 0
fi
steps/probe_attention.sh --cmd "$cmd" --nj "$nj" "$tasks/probe.tsv"
for out in "${outs[@]}"; do
  mapfile -t maps < <(awk -F '\t' -v out="$out" '$5 == out { print $6 }' "$tasks/interpret.tsv")
  mapfile -t probes < <(awk -F '\t' -v out="$out/" 'index($4, out) == 1 { print $4 }' "$tasks/probe.tsv")
  steps/probe_stats.sh "$out" "${probes[@]}"
  steps/plot_attention.sh "$2" "$out" "$out/figures" "${maps[@]}"
done
