"""Turn a copy of a corpus into lhotse manifests and a data folder.

  ser prepare [options] [<manifests> [<data-dir>]]

reads   the corpus's release: what --corpus-dir names, else the variable of its name (IEMOCAP, EMODB, ...);
        the embedded corpus is made where it is missing. conf/corpus.yaml says which code reads it
writes  <manifests>/{recordings,supervisions}.jsonl.gz, and the tables of <data-dir> (see ser make_data_dir)

Compares the numbers of utterances with those that `checks` of the corpus's settings expects, and prints a
line for each, `ok: ...` or `differs: ...`. Nothing is written if the copy has faults; all are listed. What is
up to date is left alone. Ends with a summary of the corpus, see ser summarise_corpus.

Example: local/prepare.sh --corpus-dir ~/corpora/emodb data/manifests data/all
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli, corpora
from ser.config import find_conf
from ser.data.corpus import load_corpus
from ser.data.corpus_summary import show
from ser.data.datadir import make_data_dir
from ser.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "prepare")
    parser.add_argument("manifests", type=Path, nargs="?", default=Path("data/manifests"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/all"), metavar="data-dir")
    parser.add_argument(
        "--corpus-dir", type=_given, metavar="DIR", help="the corpus's release; of csv the table"
    )
    parser.add_argument(
        "--config", type=Path, default=find_conf("corpus.yaml"), metavar="YAML", help="(%(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    parser.add_argument(
        "--nj", type=int, default=4, metavar="N", help="recordings read at a time (%(default)s)"
    )
    parser.add_argument(
        "--download",
        choices=("true", "false"),
        default="false",
        help="fetch the corpus first, where that is free (EMO-DB: 535 recordings, with the package audb)",
    )
    parser.add_argument(
        "--strict", choices=("true", "false"), default="false", help="fail if a number differs from `checks`"
    )
    return parser


def _given(text: str) -> Path | None:
    """A path, if there is one."""
    return Path(text) if text else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    config = load_corpus(args.config, args.set)
    fetch = args.download == "true"
    release = corpora.locate(config, args.corpus_dir, args.manifests, fetch=fetch, num_jobs=args.nj)
    corpora.prepare(config.module, release, args.manifests, config=config, num_jobs=args.nj)
    checks = corpora.check(config.module, args.manifests, config)
    for _, line in checks:
        print(line, flush=True)
    wrong = sum(1 for agrees, _ in checks if not agrees)
    if wrong:
        message = f"{release}: {wrong} of {len(checks)} numbers differ from checks in {args.config}"
        if args.strict == "true":
            raise DataError(f"{message}; complete the copy, or correct checks")
        cli.log.warning("%s; is the copy complete? (--strict true makes this an error)", message)
    make_data_dir(args.manifests, args.data, config, args.nj)
    show(args.data, config, args.nj)
    return 0
