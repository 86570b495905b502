#!/usr/bin/env bash
# Usage: utils/validate_data_dir.sh [--no-wav] [--no-feats] [--no-text] [--before-features] [--features <set.yaml>]
#                                   <data-dir>
#
# Check a data folder: every fault of every table is listed with its file and line, then the exit status is 1.
# As in Kaldi, --no-X means that X need not be there; it is checked all the same if it is. Text is never needed.
# With --features also utterances that are too short for a feature set are listed.
# Example: utils/validate_data_dir.sh --no-feats data/all

set -euo pipefail

if [[ -r path.sh ]]; then
  . ./path.sh
fi

exec python3 -m ser validate_data_dir "$@"
