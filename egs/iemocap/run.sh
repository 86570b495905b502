#!/usr/bin/env bash
# Usage: run.sh [options]
#
# Speech emotion recognition after Jalal, Milner & Hain (Interspeech 2020): BLSTMATT, CSA and their fusion,
# from a corpus's release to scores. Every stage can be repeated, stopped and run alone; what is up to date
# is not made again. At the top of the checkout --corpus chooses the recipe; in egs/<corpus>/ it is that one.
#
# Stages:
#   0  prepare the corpus: lhotse manifests, a Kaldi data directory, checks
#   1  log-Mel filterbank features, functionals for the baselines that need them
#   2  CMVN statistics, folds
#   3  train BLSTMATT on every fold, for every seed
#   4  train CSA, one system for each context length
#   5  decode the test part (and the dev part where fusion is tuned on it); train the baselines
#   6  score each fold, and all folds together
#   7  fuse BLSTMATT with CSA, score, and print the table of results
#   8  interpret: BLSTMATT's attention over phones and words (of corpora that have an alignment), figures
#   9  report: RESULTS.md and report.html, with tests of the differences between systems
#
# Example: ./run.sh --corpus emodb --corpus-dir ~/corpora/emodb --seeds "1 2 3"

set -euo pipefail

corpus=                            # recipe to run, a folder of egs: iemocap, emodb, ravdess, cremad, csv or mini
corpus_dir=                        # the corpus's release, of csv its table (or a variable of its name: IEMOCAP, CSV)
stage=0                            # first stage
stop_stage=9                       # last stage
nj=$(env -u OMP_NUM_THREADS nproc) # jobs at once
use_gpu=auto                       # train on a GPU: auto, yes or no; decoding takes the CPU
num_proc=1                         # processes (GPUs) that train one system together
protocol=                          # folds: a protocol of conf/corpus.yaml, whose own choice is the default
contexts="30"                      # context lengths of CSA in frames, such as "20 30 60"
seeds="777"                        # random seeds, such as "1 2 3"; each is a training of its own
fusion_weight=0.4                  # weight of CSA in the fusion; the paper's is 0.4
baselines="majority"               # systems to compare with: majority, egemaps, compare (SVMs on functionals), or ""
alignment=corpus                   # phones of stage 8: corpus, k2 (makes one), or a CTM file, a folder of them or of TextGrids
compress=none                      # feature archives: none, CM (a byte a value) or CM2 (two)
results=                           # where RESULTS.md goes, --exp-dir if not said; "RESULTS.md" is the recipe's own
dry_run=false                      # only list the trainings and decodings: what is done, what would run, what failed
strict=false                       # a corpus check that differs stops stage 0
data_dir=data                      # where data goes
exp_dir=exp                        # where models and results go
corpus_conf=conf/corpus.yaml       # classes, labels, protocols
fbank_conf=conf/fbank.yaml         # settings of the features
blstmatt_conf=conf/blstmatt.yaml   # settings of BLSTMATT
csa_conf=conf/csa.yaml             # settings of CSA
set=()                             # override a setting of both systems, KEY=VALUE; may be given again
set_blstmatt=()                    # override a setting of BLSTMATT
set_csa=()                         # override a setting of CSA

given=${*@Q}
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=utils/log.sh
. "$recipe/utils/log.sh"
# shellcheck source=utils/parse_options.sh
. "$recipe/utils/parse_options.sh"

(($# == 0)) || usage_die "unexpected argument '$1'; everything is said with options"
((nj >= 1 && num_proc >= 1)) || usage_die "--nj and --num-proc must be 1 or more"
((stage <= stop_stage)) || usage_die "--stage $stage is behind --stop-stage $stop_stage"
[[ $use_gpu == auto || $use_gpu == yes || $use_gpu == no ]] || usage_die "--use-gpu is auto, yes or no, not '$use_gpu'"
for word in $contexts $seeds; do
  [[ $word =~ ^[0-9]+$ ]] || usage_die "--contexts and --seeds are whole numbers, not '$word'"
done
[[ -n ${contexts// /} && -n ${seeds// /} ]] || usage_die "--contexts and --seeds need at least one number"
baseline_systems=()
functionals=()
for word in $baselines; do
  case $word in
    majority) baseline_systems+=(majority) ;;
    egemaps | compare)
      functionals+=("$word")
      baseline_systems+=("svm_${word}_global" "svm_${word}_speaker")
      ;;
    *) usage_die "--baselines are of majority, egemaps and compare, not '$word'" ;;
  esac
done
own=$(basename "$recipe")
[[ -z $corpus || $corpus == "$own" ]] || usage_die "--corpus $corpus: this is egs/$own; run it at the top"

# Paths mean what they meant to the caller; defaults are the recipe's.
[[ -z $corpus_dir ]] || corpus_dir=$(absolute "$corpus_dir")
[[ $alignment == corpus || $alignment == k2 ]] || alignment=$(absolute "$alignment")
for option in data_dir exp_dir corpus_conf fbank_conf blstmatt_conf csa_conf; do
  value=${!option}
  [[ -e $recipe/$value || ! -e $value ]] || printf -v "$option" '%s' "$(absolute "$value")"
done
cd "$recipe"
extras=()
[[ $own != mini ]] || extras=(--extra mini)
((${#functionals[@]} == 0)) || extras+=(--extra baselines)
((stop_stage < 8)) || extras+=(--extra interpret)
((stop_stage < 9)) || extras+=(--extra report)
utils/install.sh "${extras[@]}"
. ./path.sh
. ./cmd.sh

data=$data_dir/all
folds=$data_dir/folds${protocol:+_$protocol} # features serve all protocols

# lock FOLDER: hold it for this run; the lock goes with the last process of the run, however that ends.
lock() {
  local descriptor
  mkdir -p "$1"
  exec {descriptor}>>"$1/.lock"
  flock -n "$descriptor" \
    || die "$1: another run is at work here; wait for it, or choose other folders (--data-dir, --exp-dir)"
}
if command -v flock >/dev/null; then
  lock "$data_dir"
  lock "$exp_dir"
fi

# step COMMAND...: run it in a process group of its own, to which a signal that ends this script is passed on.
step_group=
step() {
  local status=0
  set -m
  "$@" &
  step_group=$!
  set +m
  wait "$step_group" || status=$?
  step_group=
  return "$status"
}

# shellcheck disable=SC2329 # only the traps call it
stopped() {
  trap '' INT TERM HUP
  [[ -z $step_group ]] || { kill -TERM -- "-$step_group" && wait "$step_group" || true; } 2>/dev/null
  log "stopped by SIG$1; the same command goes on from here"
  exit "$2"
}
trap 'stopped INT 130' INT
trap 'stopped TERM 143' TERM
trap 'stopped HUP 129' HUP

# Stages 3 to 5 make the lists of their tasks; with --dry-run these are looked at, and nothing runs.
if [[ $dry_run == true ]]; then
  ((stage >= 3)) || stage=3
  ((stop_stage <= 5)) || stop_stage=5
  step() {
    steps/list_tasks.sh "${@: -1}"
  }
fi

# read_folds: folds.tsv, "<fold><TAB><tuning fold or -><TAB><tuning part or ->", into fold_lines; final_folds
# are those of the results, the others (<fold>-dev) are there to tune on.
read_folds() {
  local line
  [[ -s $folds/folds.tsv ]] || die "$folds/folds.tsv: no such file; run stage 2"
  mapfile -t fold_lines < <(tail -n +2 "$folds/folds.tsv")
  final_folds=()
  for line in "${fold_lines[@]}"; do
    [[ ${line%%$'\t'*} == *-dev ]] || final_folds+=("${line%%$'\t'*}")
  done
}

# tasks NAME: a whole list $exp_dir/tasks/NAME.tsv from the lines on stdin; the same list keeps its date, by which
# --dry-run sees that logs are of it.
tasks() {
  local part=$exp_dir/tasks/.$1.part
  mkdir -p "$exp_dir/tasks"
  cat >"$part"
  if cmp -s "$part" "$exp_dir/tasks/$1.tsv"; then rm "$part"; else mv "$part" "$exp_dir/tasks/$1.tsv"; fi
}

# tuned SYSTEM: whether it is fused with a weight that is tuned; other systems leave the tuning folds alone.
tuned() {
  [[ $1 == blstmatt || $1 == "$fused" ]]
}

# add_trainings SYSTEM SETTINGS [KEY=VALUE ...]: a line of the task list for every fold and seed, into trainings.
add_trainings() {
  local system=$1 settings line fold dev seed
  printf -v settings '\t%s' "${@:2}"
  for line in "${fold_lines[@]}"; do
    fold=${line%%$'\t'*}
    [[ $fold != *-dev ]] || tuned "$system" || continue
    dev=$folds/$fold/dev
    [[ -d $dev ]] || dev=-
    for seed in $seeds; do
      line=$folds/$fold/train$'\t'$dev$'\t'$exp_dir/$fold/$system/seed$seed$'\t'$seed$settings
      trainings+=("$line")
    done
  done
}

# tuning_parts: "<fold><TAB><part>" of the data on which the fusion of each fold is tuned.
tuning_parts() {
  local line fold tune_fold tune_part
  for line in "${fold_lines[@]}"; do
    IFS=$'\t' read -r fold tune_fold tune_part <<<"$line"
    [[ $tune_fold == - ]] || printf '%s\t%s\n' "$tune_fold" "$tune_part"
  done
}

# parts SYSTEM: "<fold><TAB><part>" of all that is decoded with it.
parts() {
  printf '%s\ttest\n' "${final_folds[@]}"
  ! tuned "$1" || tuning_parts
}

# decodings SYSTEM...: "<model><TAB><data><TAB><decode folder>" of all that is decoded with them.
decodings() {
  local system fold part seed model
  for system in "$@"; do
    while IFS=$'\t' read -r fold part; do
      for seed in $seeds; do
        model=$exp_dir/$fold/$system/seed$seed
        printf '%s\t%s\t%s\n' "$model" "$folds/$fold/$part" "$model/decode_$part"
      done
    done < <(parts "$system")
  done
}

# score_parts SYSTEM...: all that is decoded with them, each part by itself.
score_parts() {
  local data decoded pairs=()
  while IFS=$'\t' read -r _ data decoded; do
    pairs+=("$data" "$decoded")
  done < <(decodings "$@")
  step steps/score.sh "${pairs[@]}" >"$exp_dir/tasks/log/score.log"
}

# score_pooled SYSTEM...: the test parts of all folds together.
score_pooled() {
  local system seed out variant pairs=() decoded
  for system in "$@"; do
    for seed in $seeds; do
      decoded=("${final_folds[@]/%//$system/seed$seed/decode_test}")
      decoded=("${decoded[@]/#/$exp_dir/}")
      out=$exp_dir/pooled/$system/seed$seed/decode_test
      step steps/pool_folds.sh "$out" "${decoded[@]}" >/dev/null
      pairs+=("$folds/pooled" "$out")
      for variant in chunks padded; do
        [[ -d ${decoded[0]}/$variant ]] || continue
        step steps/pool_folds.sh "$out/$variant" "${decoded[@]/%//$variant}" >/dev/null
        pairs+=("$folds/pooled" "$out/$variant")
      done
    done
  done
  step steps/score.sh "${pairs[@]}"
}

# make_baselines, score_baselines: on the test part of every fold; no seed changes them, so they have the seed 0.
make_baselines() {
  local system fold
  for system in "${baseline_systems[@]}"; do
    for fold in "${final_folds[@]}"; do
      printf '%s\t%s\t%s\t%s\n' "$system" "$folds/$fold/train" "$folds/$fold/test" \
        "$exp_dir/$fold/$system/seed0/decode_test"
    done
  done | tasks baselines
  step steps/make_baseline.sh --cmd "$decode_cmd" --nj "$nj" "$data" "$exp_dir/tasks/baselines.tsv"
}

score_baselines() {
  local seeds=0
  score_parts "${baseline_systems[@]}"
  score_pooled "${baseline_systems[@]}"
}

# fuse CSA: BLSTMATT and one CSA, with the given weight, and with one tuned on dev where the protocol has that.
fuse() {
  local csa=$1 line fold tune_fold tune_part seed one two
  for line in "${fold_lines[@]}"; do
    IFS=$'\t' read -r fold tune_fold tune_part <<<"$line"
    [[ $fold != *-dev ]] || continue
    for seed in $seeds; do
      one=blstmatt/seed$seed
      two=$csa/seed$seed
      step steps/fuse.sh --weights "$fusion_weight" "$exp_dir/$fold/syscomb/seed$seed/decode_test" \
        "$exp_dir/$fold/$one/decode_test" "$exp_dir/$fold/$two/decode_test"
      [[ $tune_fold != - ]] || continue
      step steps/fuse.sh --data "$folds/$fold/test" --dev-data "$folds/$tune_fold/$tune_part" \
        --dev-decode "$exp_dir/$tune_fold/$one/decode_$tune_part" \
        --dev-decode "$exp_dir/$tune_fold/$two/decode_$tune_part" \
        "$exp_dir/$fold/syscomb_dev/seed$seed/decode_test" \
        "$exp_dir/$fold/$one/decode_test" "$exp_dir/$fold/$two/decode_test"
    done
  done >"$exp_dir/tasks/log/fuse.log"
}

# installed MODULE...: whether Python has them all; nothing is imported, captum brings torch.
installed() {
  python3 -c 'import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))' "$@"
}

# interpret: attention over phones and words, its statistics, what masking does, figures.
interpret() {
  local source=$data name=$alignment out seed fold maps=() probes decoded
  case $alignment in
    corpus)
      if [[ ! -s $data/phone.ctm ]]; then
        log "$own has no alignment of its own, so attention is not interpreted; see --alignment"
        return
      fi
      ;;
    k2)
      source=$data_dir/k2
      step steps/align_corpus.sh --train-cmd "$train_cmd" --align-cmd "$decode_cmd" --nj "$nj" \
        "$corpus_conf" "$data" "$exp_dir/phones" "$source"
      ;;
    *)
      source=$alignment
      name=$(basename "${alignment%.*}")
      ;;
  esac
  out=$exp_dir/interpret/$name
  step steps/make_alignment.sh --manifests "$data_dir/manifests" "$source" "$data" "$data_dir/alignments/$name"
  for seed in $seeds; do
    decoded=("${final_folds[@]/%//blstmatt/seed$seed/decode_test}")
    step steps/map_attention.sh "$data_dir/alignments/$name" "$data" "$out/seed$seed" "${decoded[@]/#/$exp_dir/}"
    maps+=("$out/seed$seed")
  done
  step steps/phone_stats.sh "$out" "${maps[@]}"
  if ! installed captum matplotlib; then
    log "no figures, no masking test: matplotlib or captum is not installed (utils/install.sh --extra interpret)"
    return
  fi
  for fold in "${final_folds[@]}"; do
    for seed in $seeds; do
      printf '%s\t%s\t' "$exp_dir/$fold/blstmatt/seed$seed" "$folds/$fold/test"
      printf '%s\t%s\n' "$out/seed$seed" "$out/probe/seed$seed/$fold"
    done
  done | tasks probe
  step steps/probe_attention.sh --cmd "$decode_cmd" --nj "$nj" "$exp_dir/tasks/probe.tsv"
  mapfile -t probes < <(cut -f 4 "$exp_dir/tasks/probe.tsv")
  step steps/probe_stats.sh "$out" "${probes[@]}"
  step steps/plot_attention.sh "$data" "$out" "$out/figures" "${maps[@]}"
}

# In a function, so that bash has read all of it before it begins: the script may be edited while it runs.
main() {
  read -ra context_list <<<"$contexts"
  systems=(blstmatt "${context_list[@]/#/csa_}")
  fused=csa_${context_list[0]}
  [[ " $contexts " != *' 30 '* ]] || fused=csa_30 # the paper's choice

  if in_stage 0 "prepare the corpus"; then
    step "local/prepare_$own.sh" --corpus-dir "$corpus_dir" --nj "$nj" --strict "$strict" --conf "$corpus_conf" \
      "$data_dir/manifests" "$data"
  fi

  if in_stage 1 "filterbank features"; then
    step steps/make_fbank.sh --cmd "$train_cmd" --nj "$nj" --compress "$compress" "$fbank_conf" "$corpus_conf" "$data"
    for name in "${functionals[@]}"; do
      step steps/make_functionals.sh --cmd "$train_cmd" --nj "$nj" "$name" "$corpus_conf" "$data"
    done
  fi

  if in_stage 2 "CMVN statistics and folds"; then
    step steps/compute_cmvn.sh --cmd "$train_cmd" "$data"
    step steps/make_folds.sh --cmd "$train_cmd" --protocol "$protocol" "$corpus_conf" "$data" "$folds"
  fi

  # All trainings of both stages are one array.
  trainings=()
  if in_stage 3 "train BLSTMATT"; then
    read_folds
    add_trainings blstmatt "$blstmatt_conf" "${set[@]}" "${set_blstmatt[@]}"
    name=train_blstmatt
  fi
  if in_stage 4 "train CSA, contexts $contexts"; then
    read_folds
    for context in "${context_list[@]}"; do
      add_trainings "csa_$context" "$csa_conf" "chunking.context=$context" "${set[@]}" "${set_csa[@]}"
    done
    name=train_csa
  fi
  if ((${#trainings[@]} > 0)); then
    ((stage > 3 || stop_stage < 4)) || name=train
    printf '%s\n' "${trainings[@]}" | tasks "$name"
    step steps/train.sh --cmd "$cuda_cmd" --nj "$nj" --use-gpu "$use_gpu" --num-proc "$num_proc" \
      "$exp_dir/tasks/$name.tsv"
  fi

  if in_stage 5 "decode"; then
    read_folds
    decodings "${systems[@]}" | tasks decode
    step steps/decode.sh --cmd "$decode_cmd" --nj "$nj" --use-gpu no "$exp_dir/tasks/decode.tsv"
    ((${#baseline_systems[@]} == 0)) || make_baselines
  fi

  if in_stage 6 "score"; then
    read_folds
    score_parts "${systems[@]}"
    score_pooled "${systems[@]}"
    ((${#baseline_systems[@]} == 0)) || score_baselines
  fi

  if in_stage 7 "fuse BLSTMATT with CSA"; then
    read_folds
    fuse "$fused"
    fusions=(syscomb)
    [[ -z $(tuning_parts) ]] || fusions+=(syscomb_dev)
    score_parts "${fusions[@]}"
    score_pooled "${fusions[@]}"
    step steps/tabulate.sh --out "$exp_dir/results.tsv" "$exp_dir/pooled"
  fi

  if in_stage 8 "interpret the attention of BLSTMATT"; then
    read_folds
    interpret
  fi

  if in_stage 9 "report"; then
    if installed jinja2 matplotlib; then
      [[ -n $corpus ]] || given="--corpus $own $given"
      step steps/report.sh --name "$own" --command="./run.sh $given" --results "${results:-$exp_dir/RESULTS.md}" \
        "$exp_dir" "$folds"
    else
      log "no report: matplotlib or jinja2 is not installed (utils/install.sh --extra report)"
    fi
  fi

  [[ $dry_run == false ]] || exit 0
  log "done: stages $stage to $stop_stage"
  log "  data                $(absolute "$data_dir")"
  ((stop_stage < 3)) || log "  models and results  $(absolute "$exp_dir")"
  ((stop_stage < 7)) || log "  all numbers         $(absolute "$exp_dir")/results.tsv"
  [[ $stop_stage -lt 8 || ! -d $exp_dir/interpret ]] || log "  attention           $(absolute "$exp_dir")/interpret"
  [[ $stop_stage -lt 9 || ! -e $exp_dir/report.html ]] || log "  report              $(absolute "$exp_dir")/report.html"
}
main
exit
