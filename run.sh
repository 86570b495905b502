#!/usr/bin/env bash
# Usage: ./run.sh [--corpus NAME] [options of the recipe]
#
# The front door: picks the recipe egs/<corpus>/run.sh and hands everything else to it. Without --corpus it is csv
# where --corpus-conf names a file of your own, iemocap where --corpus-dir or the variable IEMOCAP says where the
# release is, else mini, the embedded corpus. A folder egs/<corpus>/ with nothing but conf/corpus.yaml is a recipe
# too: what it lacks is linked into it. ./run.sh --help lists the recipe's options and stages.

set -euo pipefail
unset CDPATH

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=utils/log.sh
. "$top/utils/log.sh"

corpus=
has_dir=${IEMOCAP:+true}
args=()
for ((i = 1; i <= $#; i++)); do # what --config says first: the command line wins
  case ${!i} in
    --config) j=$((i + 1)) && config=${!j-} ;;
    --config=*) config=${!i#*=} ;;
    *) continue ;;
  esac
  line='(--)?(corpus([-_](dir|conf))?)[[:space:]]*[= ][[:space:]]*["'\'']?([^"'\''[:space:]]*)'
  [[ ! -f $config ]] || mapfile -t -O "${#args[@]}" args < <(sed -nE "s/^[[:space:]]*$line.*/--\2=\5/p" "$config")
done
args+=("$@")
for ((i = 0; i < ${#args[@]}; i++)); do
  case ${args[i]} in
    --corpus) corpus=${args[i + 1]-} ;;
    --corpus=*) corpus=${args[i]#*=} ;;
    --corpus-conf | --corpus_conf | --corpus-conf=* | --corpus_conf=*) has_conf=true ;;
    --corpus-dir | --corpus_dir | --corpus-dir=* | --corpus_dir=*) has_dir=true ;;
    -h | --help) help=true ;;
  esac
done

known=$(cd "$top/egs" && printf '%s\n' */conf/corpus.yaml | sed 's,/conf/corpus.yaml,,')
if [[ -z $corpus && -n ${has_conf-} ]]; then
  corpus=csv
elif [[ -z $corpus && -n ${has_dir-} ]]; then
  corpus=iemocap
elif [[ -z $corpus ]]; then
  corpus=mini
  [[ -n ${help-} ]] \
    || log "no --corpus: running on mini, the embedded synthetic corpus; its numbers are no benchmark"
fi
[[ $corpus =~ ^[[:alnum:]_][[:alnum:]_.-]*$ ]] || usage_die "--corpus '$corpus': is a name, one of ${known//$'\n'/, }"
[[ -d $top/egs/iemocap/steps && -x $top/utils/run.pl ]] || die "$top has lost its links or the right to run its files, as" \
  "after some ways to unpack it; use git clone or tar, or repair it: chmod +x run.sh egs/*/run.sh {local,steps,utils}/*.{sh,pl}"
recipe=$top/egs/$corpus
if [[ ! -e $recipe/conf/corpus.yaml ]]; then
  near=$(python3 -SE -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].lower(), sys.argv[2].split(), 1))' \
    "$corpus" "$known" 2>/dev/null) || near=
  usage_die "--corpus $corpus: there is no such recipe; ${near:+did you mean $near? }known are ${known//$'\n'/, }"
fi

# link TARGET NAME: into the recipe, unless it has its own.
made=()
link() {
  [[ ! -e $recipe/$2 ]] || return 0
  ln -s "$1" "$recipe/$2"
  made+=("$2")
}
if [[ ! -e $recipe/run.sh ]]; then # a new recipe begins with the settings for small corpora
  for name in blstmatt csa table1; do link "../../csv/conf/$name.yaml" "conf/$name.yaml"; done
fi
link ../iemocap/run.sh run.sh
link ../iemocap/cmd.sh cmd.sh
for name in path.sh local steps utils; do
  link "../../$name" "$name"
done
((${#made[@]} == 0)) || log "egs/$corpus: linked ${made[*]} to what other recipes have; replace a link by a copy to change it"
exec bash "$recipe/run.sh" "$@"
