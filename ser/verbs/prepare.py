"""Turn a copy of a corpus into lhotse manifests: recordings.jsonl.gz and supervisions.jsonl.gz.

Compares the numbers of utterances with those that `checks` of the corpus's settings expects, and prints a
line for each, `ok: ...` or `differs: ...`.  Nothing is written if the copy has faults; all are listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, corpora
from ser.data.corpus import load_corpus
from ser.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "prepare")
    parser.add_argument("corpus", help=f"one of {', '.join(corpora.CORPORA)}")
    parser.add_argument("out", type=Path, help="folder for the manifests (data/manifests)")
    parser.add_argument(
        "--corpus-dir", type=Path, required=True, metavar="DIR", help="the corpus's release; of csv the table"
    )
    parser.add_argument("--config", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    parser.add_argument("--nj", type=int, default=4, metavar="N", help="audio headers read at a time (4)")
    parser.add_argument(
        "--download",
        choices=("true", "false"),
        default="false",
        help="fetch the corpus first, where that is free",
    )
    parser.add_argument(
        "--strict", choices=("true", "false"), default="false", help="fail if a number differs from `checks`"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    config = load_corpus(args.config, args.set)
    if args.download == "true":
        corpora.download(args.corpus, args.corpus_dir)
    corpora.prepare(args.corpus, args.corpus_dir, args.out, config=config, num_jobs=args.nj)
    checks = corpora.check(args.corpus, args.out, config)
    for _, line in checks:
        print(line)
    wrong = sum(1 for agrees, _ in checks if not agrees)
    if wrong:
        message = f"{args.corpus_dir}: {wrong} of {len(checks)} numbers differ from checks in {args.config}"
        if args.strict == "true":
            raise DataError(f"{message}; complete the copy, or correct checks")
        cli.log.warning("%s; is the copy complete? (--strict true makes this an error)", message)
    return 0
