"""Compare two alignments of the same utterances: how far apart their phone boundaries lie.

  ser compare_alignments <phones.yaml> <reference.ctm> <other.ctm>
  e.g. ser compare_alignments conf/phones.yaml data/all/phone.ctm exp/k2/phone.ctm

Prints a table: for each pair of kinds of phones and for all, the number of the reference's boundaries, the
per cent that the other has too, the per cent that lie within 10, 20 and 50 ms, and medians of the errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.align import boundaries
from ser.data.alignment import read_ctm
from ser.data.phones import load_phones
from ser.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "compare_alignments")
    parser.add_argument("phones", type=Path, metavar="<phones.yaml>")
    parser.add_argument("reference", type=Path, metavar="<reference.ctm>")
    parser.add_argument("other", type=Path, metavar="<other.ctm>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    reference, other = read_ctm(args.reference), read_ctm(args.other)
    compared = boundaries.compare(reference, other, load_phones(args.phones))
    if not compared:
        raise DataError(
            f"{args.other}: has no utterance of {args.reference}; compare alignments of the same data, with "
            "the same ids"
        )
    for row in (boundaries.HEADER, *boundaries.table(compared)):
        print("\t".join(row))
    return 0
