#!/usr/bin/env bash
# Usage: run.sh [options]
#
# Speech emotion recognition after Jalal, Milner & Hain (Interspeech 2020): BLSTMATT, CSA and their fusion, and any
# other system, from a corpus's release to scores. Every stage can be repeated, stopped and run alone; what is up to
# date is not made again. At the top of the checkout --corpus chooses the recipe; in egs/<corpus>/ it is that one.
#
# Stages:
#   0  prepare the corpus: lhotse manifests, a Kaldi data directory, checks
#   1  features: every set that the systems read; speech activity, if one asks for it
#   2  CMVN statistics, folds
#   3  train the first system on every fold, for every seed
#   4  train all other systems
#   5  decode the test subsets (and the dev subsets where a fusion is tuned on them)
#   6  score each fold, and all folds together
#   7  fuse, score, and print the table of results
#   8  interpret: attention over phones and words (of corpora that have an alignment), figures
#   9  report: RESULTS.md and report.html, with tests of the differences between systems
#
# Example: ./run.sh --corpus emodb --corpus-dir ~/corpora/emodb --systems "blstmatt csa_30 svm_compare" --seeds "1 2 3"

set -euo pipefail
unset CDPATH

corpus=                            # recipe to run, a folder of egs: iemocap, emodb, ravdess, cremad, csv, lhotse or mini
corpus_dir=                        # the corpus's release, of csv its table, of lhotse manifests (or a variable of its name: IEMOCAP, CSV)
stage=0                            # first stage
stop_stage=9                       # last stage
nj=$(env -u OMP_NUM_THREADS nproc) # jobs at once
use_gpu=auto                       # train, decode, and make features with networks, on a GPU: auto, yes or no
num_threads=${OMP_NUM_THREADS:-1}  # threads of a job; with more than one, jobs x threads are at most this machine's cores
num_proc=1                         # processes (GPUs) that train one system together
jobs_per_gpu=1                     # trainings, or decodings, at once that share a GPU of this machine
experiment=                        # YAML file of an experiment: the keys systems to set below; options go before it
systems=                           # what to train, files of conf/ or NAME=FILE: "blstmatt csa_20 svm_compare" (csa_20: context 20)
contexts=                          # context lengths of systems that name none, in frames, such as "20 30 60"
seeds=                             # random seeds, such as "1 2 3"; each is a training of its own
protocol=                          # folds: a protocol of corpus.yaml, whose own choice is the default
fuse=()                            # "[NAME=]SYSTEM[:WEIGHT] SYSTEM[:WEIGHT] ...", without weights tuned on dev; SYSTEM@*: all its seeds; or "none"; may be repeated
fusion_weight=                     # weight of the second system in syscomb; the paper's is 0.4
interpret=                         # systems whose attention stage 8 looks at
alignment=                         # phones of stage 8: corpus, k2 (makes one), or a CTM file, a folder of them or of TextGrids
also=                              # systems of others, folders in pooled/ of --exp-dir, to show in table and report
word_vectors=                      # file of word vectors in GloVe's text format, for systems that read transcripts
set=()                             # override a setting, "[NAME:]KEY=VALUE", NAME a system, a feature set or corpus; may be repeated
compress=none                      # feature archives: none, CM (a byte a value) or CM2 (two)
results=                           # where RESULTS.md goes, else --exp-dir
dry_run=false                      # only list the tasks of all stages: what is done, what would run, what failed
strict=false                       # a corpus check that differs stops stage 0
data_dir=                          # where data goes, else data/ of the recipe
exp_dir=                           # where models and results go, else exp/ of the recipe; it takes one protocol
corpus_conf=                       # classes, labels, protocols, else conf/corpus.yaml of the recipe

given=${*@Q}
recipe=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) own=${recipe##*/}
# shellcheck source=utils/log.sh
. "$recipe/utils/log.sh"
# shellcheck source=utils/parse_options.sh
. "$recipe/utils/parse_options.sh"
(($# == 0)) || usage_die "unexpected argument '$1'; everything is said with options"
((nj >= 1 && num_proc >= 1 && jobs_per_gpu >= 1)) || usage_die "--nj, --num-proc and --jobs-per-gpu must be 1 or more"
((0 <= stage && stage <= stop_stage && stop_stage <= 9)) \
  || usage_die "--stage $stage --stop-stage $stop_stage: stages are 0 to 9, the first one before the last"
[[ $use_gpu == auto || $use_gpu == yes || $use_gpu == no ]] || usage_die "--use-gpu is auto, yes or no, not '$use_gpu'"
[[ -z $corpus || $corpus == "$own" ]] || usage_die "--corpus $corpus: this is egs/$own; run it at the top"

# A path that is given means what it means to the shell; only defaults are the recipe's.
[[ $alignment == corpus || $alignment == k2 ]] && align_path= || align_path=alignment
for option in corpus_dir experiment word_vectors results data_dir exp_dir corpus_conf $align_path; do
  [[ -z ${!option} ]] || printf -v "$option" '%s' "$(absolute "${!option}")"
  check_path "--${option//_/-}" "${!option}"
done
data_dir=${data_dir:-data} exp_dir=${exp_dir:-exp} from=$PWD
[[ /$data_dir/$exp_dir/$corpus_conf/ != *[!A-Za-z0-9]JOB[!A-Za-z0-9]* ]] \
  || usage_die "--data-dir, --exp-dir, --corpus-conf: runners take JOB, as a word, for a job's number; rename the folder"
plan=(--corpus-conf "${corpus_conf:-conf/corpus.yaml}" --data-dir "$data_dir" --exp-dir "$exp_dir" --from "$from"
  --stage "$stage" --stop-stage "$stop_stage" "systems=$systems" "contexts=$contexts" "seeds=$seeds"
  "protocol=$protocol" "${fuse[@]/#/fuse=}" "fusion_weight=$fusion_weight" "interpret=$interpret" "alignment=$alignment"
  "also=$also" "word_vectors=$word_vectors" "${set[@]/#/set=}" ${experiment:+--experiment "$experiment"})
cd "$recipe"
[[ $(realpath -m -- "$data_dir") != "$(realpath -m -- "$exp_dir")" ]] || usage_die "--data-dir and --exp-dir are one folder"

extras=()
[[ $own != mini ]] || extras+=(--extra mini)
. ./path.sh
utils/install.sh "${extras[@]}"
. ./cmd.sh
[[ $dry_run == false ]] || exec python3 -m ser plan --dry-run "${plan[@]}"
. utils/session.sh
use_threads "$num_threads"
lock "$exp_dir"
lock "$data_dir" "$( ((stage < 3)) || echo --shared)"
# In a function, so that bash has read all of it before it begins: the script may be edited while it runs.
main() {
  local data=$data_dir/all conf=$exp_dir/conf/corpus.yaml tasks=$exp_dir/tasks folds trainings='' sets
  local gpu=(--use-gpu "$use_gpu" --jobs-per-gpu "$jobs_per_gpu")
  folds=$(python3 -m ser plan "${plan[@]}") || give_up "$?"
  mapfile -t sets <"$tasks/features" # the settings of feature sets, the main one first
  mapfile -t extras < <(sed 's/^/--extra\n/' "$tasks/extras")
  ((stop_stage < 8)) || extras+=(--extra interpret)
  ((stop_stage < 9)) || extras+=(--extra report)
  [[ -n ${SER_PYTHON-} || ${#extras[@]} == 0 ]] || utils/install.sh "${extras[@]}"

  if in_stage 0 "prepare the corpus"; then
    step local/prepare.sh --corpus-dir "$corpus_dir" --from "$from" --nj "$nj" --strict "$strict" --config "$conf" \
      "${sets[@]/#/--features=}" "$data_dir/manifests" "$data"
  fi
  ((stage != 1)) || step utils/validate_data_dir.sh --before-features --config "$conf" "${sets[@]/#/--features=}" \
    "$data" # its tables may be the user's own
  python3 -m ser plan "${plan[@]}" --check-data || give_up "$?"

  if in_stage 1 "features"; then
    ((stage == 0)) || step python3 -m ser summarise_corpus --nj "$nj" --config "$conf" "$data" # of tables of one's own, too
    step steps/extract.sh --cmd "$train_cmd" --nj "$nj" --use-gpu "$use_gpu" --compress "$compress" "$conf" "$data" "${sets[@]}"
    [[ ! -s $tasks/vad ]] || step steps/compute_vad.sh "$(<"$tasks/vad")" "$data"
  fi

  if in_stage 2 "CMVN statistics and folds"; then
    step steps/compute_cmvn.sh --cmd "$train_cmd" "$data"
    step steps/make_folds.sh --cmd "$train_cmd" "$conf" "$data" "$folds" --manifests "$data_dir/manifests"
    python3 -m ser plan "${plan[@]}" --stage 6 --stop-stage 9 >/dev/null # the task lists; settings were checked above
  fi

  [[ -z $lock_fd ]] || flock --shared "$lock_fd" # from here on data are only read, and others may read them
  ! in_stage 3 "train the first system" || trainings=train_3
  if in_stage 4 "train all other systems"; then
    trainings=${trainings:+train} # both stages are one array
    trainings=${trainings:-train_4}
  fi
  [[ -z $trainings || ! -s $tasks/$trainings.tsv ]] \
    || step steps/train.sh --cmd "$cuda_cmd" --nj "$nj" "${gpu[@]}" --num-proc "$num_proc" "$tasks/$trainings.tsv"

  if [[ -s $tasks/decode.tsv ]] && in_stage 5 "decode"; then
    step steps/decode.sh --cmd "$decode_cmd" --nj "$nj" "${gpu[@]}" "$tasks/decode.tsv"
  fi

  ! in_stage 6 "score" || step steps/score.sh --plan "$exp_dir"

  if in_stage 7 "fuse, and score what is fused"; then
    step steps/fuse.sh --plan "$exp_dir"
    step steps/tabulate.sh --plan "$exp_dir" --out "$exp_dir/results.tsv"
  fi

  ! in_stage 8 "interpret attention" \
    || step steps/interpret.sh --train-cmd "$train_cmd" --cmd "$decode_cmd" --nj "$nj" "$conf" "$data" "$exp_dir"

  if in_stage 9 "report"; then
    [[ -n $corpus ]] || given="--corpus $own $given"
    step steps/report.sh --command="./run.sh $given" --results "${results:-$exp_dir/RESULTS.md}" "$exp_dir"
  fi

  log "done: stages $stage to $stop_stage"
  log "  data                $(absolute "$data_dir")"
  ((stop_stage < 3)) || log "  models and results  $(absolute "$exp_dir")"
  [[ $stop_stage -lt 8 || ! -d $exp_dir/interpret ]] || log "  attention           $(absolute "$exp_dir")/interpret"
  [[ $stop_stage -lt 9 || ! -e $exp_dir/report.html ]] || log "  report              $(absolute "$exp_dir")/report.html"
  ((stop_stage < 7)) || python3 -m ser best_model "$exp_dir" # and the command to try it
}
main
exit
