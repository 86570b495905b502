# shellcheck shell=bash
# local/prepare_release.sh -- sourced after utils/parse_options.sh; what all local/prepare_<corpus>.sh have in common.

# folders ARGUMENT...: manifests and data, the first two arguments or their defaults; the others are settings.
folders() {
  manifests=${1:-data/manifests}
  data=${2:-data/all}
  settings=("${@:3}")
}

# prepare_release CORPUS DIR CONF [OPTION...]: the release in DIR to the manifests and the data folder.
prepare_release() {
  python3 -m ser prepare "$1" "$manifests" --corpus-dir "$2" --config "$3" "${@:4}" "${settings[@]}"
  python3 -m ser make_data_dir "$manifests" "$data" --config "$3" "${settings[@]}"
}
