"""Make openSMILE's functionals of one part of a data folder, for the SVM baselines.

Reads <data>/wav.scp and writes <data>/<set>/functionals.<job>.{ark,scp}; ser.merge_functionals puts the
parts together. A part that is up to date is left alone. Run by steps/make_functionals.sh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.corpus import load_corpus
from ser.feats import functionals


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "make_functionals")
    parser.add_argument("--corpus", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument("--job", type=int, default=1, help="which part, from 1 (default: %(default)s)")
    parser.add_argument("--num-jobs", type=int, default=1, help="number of parts (default: %(default)s)")
    parser.add_argument("set", choices=list(functionals.SETS), help="eGeMAPSv02 or ComParE_2016")
    parser.add_argument("data", type=cli.existing_dir, help="data/all")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    audio = load_corpus(args.corpus).audio
    functionals.make_part(args.data, args.set, audio, args.job, args.num_jobs, cli.progress)
    return 0
