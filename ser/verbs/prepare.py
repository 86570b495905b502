"""Turn a copy of a corpus into lhotse manifests and a data folder.

  ser prepare [options] [<manifests> [<data-dir>]]

reads   the corpus's release: what --corpus-dir names, else the variable of its name (IEMOCAP, EMODB, ...);
        the embedded corpus is made where it is missing. conf/corpus.yaml says which code reads it
writes  <manifests>/{recordings,supervisions}.jsonl.gz, and the tables of <data-dir> (see ser make_data_dir)

Compares the numbers of utterances with those that `checks` of the corpus's settings expects, and prints a
line for each, `ok: ...` or `differs: ...` (the first of these; <manifests>/checks.txt has all). Nothing is
written if the copy has faults; all are listed, by kind. What is up to date is left alone. Ends with a
summary of the corpus, see ser summarise_corpus.

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
from ser.data.corpus_tables import make_data_dir
from ser.data.files import whole_file
from ser.errors import DataError
from ser.feats.sets import load_set
from ser.ranges import Range

_DIFFERING = 8  # numbers that differ of which each has a line; one session that is missing changes dozens


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "prepare")
    parser.add_argument("manifests", type=Path, nargs="?", default=Path("data/manifests"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/all"), metavar="data-dir")
    parser.add_argument(
        "--corpus-dir", type=_given, metavar="DIR", help="the corpus's release; of csv the table"
    )
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="seen from where a relative path in the corpus's variable is",
    )
    parser.add_argument(
        "--config", type=Path, default=find_conf("corpus.yaml"), metavar="YAML", help="(%(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting; may be repeated"
    )
    parser.add_argument(
        "--nj",
        type=cli.whole(Range(1, 10000)),
        default=4,
        metavar="N",
        help="recordings read at a time (%(default)s)",
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
    parser.add_argument(
        "--features", type=Path, action="append", default=[], metavar="YAML",
        help="settings of a feature set: utterances that are too short for it are found; may be repeated",
    )  # fmt: skip
    return parser


def _given(text: str) -> Path | None:
    """A path, if there is one."""
    return Path(text) if text else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    config = load_corpus(args.config, args.set)
    fetch = args.download == "true"
    release = corpora.locate(
        config, args.corpus_dir, args.manifests, fetch=fetch, num_jobs=args.nj, folder=args.folder
    )
    corpora.prepare(config.module, release, args.manifests, config=config, num_jobs=args.nj)
    checks = corpora.check(config.module, args.manifests, config)
    wrong = _tell_checks(checks, args.manifests / "checks.txt")
    if wrong:
        message = f"{release}: {wrong} of {len(checks)} numbers differ from checks in {config.source}"
        if args.strict == "true":
            raise DataError(f"{message}; complete the copy, or correct checks")
        cli.log.warning("%s; is the copy complete? (--strict true makes this an error)", message)
    shortest = [load_set(path, config.audio).shortest() for path in args.features]
    make_data_dir(args.manifests, args.data, config, shortest, args.nj)
    show(args.data, config, args.nj)
    return 0


def _tell_checks(checks: Sequence[tuple[bool, str]], path: Path) -> int:
    """Print the checks that agree and the first that differ, write all to a file; how many differ."""
    with whole_file(path) as stream:
        stream.writelines(f"{line}\n" for _, line in checks)
    wrong = 0
    for agrees, line in checks:
        wrong += not agrees
        if agrees or wrong <= _DIFFERING:
            print(line)
    if wrong > _DIFFERING:
        print(f"differs: {wrong - _DIFFERING} more numbers, see {path}")
    return wrong
