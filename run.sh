#!/usr/bin/env bash
# Usage: ./run.sh [--corpus NAME] [options of the recipe]
#
# The front door: picks the recipe egs/<corpus>/run.sh and hands everything else to it. Without --corpus it is
# iemocap where --corpus-dir or the variable IEMOCAP says where the release is, else mini, the embedded corpus.
# ./run.sh --help lists the recipe's options and stages.

set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=utils/log.sh
. "$top/utils/log.sh"

corpus=
has_dir=${IEMOCAP:+true}
args=("$@")
for ((i = 0; i < ${#args[@]}; i++)); do
  case ${args[i]} in
    --corpus) corpus=${args[i + 1]-} ;;
    --corpus=*) corpus=${args[i]#*=} ;;
    --corpus-dir | --corpus_dir | --corpus-dir=* | --corpus_dir=*) has_dir=true ;;
    -h | --help) help=true ;;
  esac
done

known=$(cd "$top/egs" && printf '%s\n' */run.sh | sed 's,/run.sh,,')
if [[ -z $corpus && -n ${has_dir-} ]]; then
  corpus=iemocap
elif [[ -z $corpus ]]; then
  corpus=mini
  [[ -n ${help-} ]] \
    || log "no --corpus: running on mini, the embedded synthetic corpus; its numbers are no benchmark"
fi
if [[ ! -e $top/egs/$corpus/run.sh ]]; then
  near=$(python3 -SE -c 'import difflib, sys; print(*difflib.get_close_matches(sys.argv[1].lower(), sys.argv[2].split(), 1))' \
    "$corpus" "$known" 2>/dev/null) || near=
  usage_die "--corpus $corpus: there is no such recipe; ${near:+did you mean $near? }known are ${known//$'\n'/, }"
fi
exec bash "$top/egs/$corpus/run.sh" "$@"
