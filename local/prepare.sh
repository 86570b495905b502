#!/usr/bin/env bash
# Usage: local/prepare.sh [options] [<manifests> [<data-dir>]]
# Any corpus: its release to lhotse manifests and a data folder. --help lists the options.
# Example: local/prepare.sh --corpus-dir ~/corpora/emodb data/manifests data/all

set -euo pipefail
. ./path.sh
exec python3 -m ser prepare "$@"
