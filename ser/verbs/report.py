"""Report an experiment: RESULTS.md and one self-contained page, report.html.

  ser report [options] <exp-dir> [<folds-dir>]

reads   <exp-dir>/plan.json, which says what belongs to the experiment;
        <exp-dir>/pooled/<system>/seed<k>/decode_test/{post,emotions.txt,
        not_scored,padded/};
        <exp-dir>/<fold>/<system>/seed<k>/{history.tsv,config.yaml,tb}, .../decode_test/fusion.txt and
        <exp-dir>/interpret/<system>/*/figures where they are; <folds-dir>, of stage 2 (the plan's own)
writes  --results  tables in Markdown, sealed with a digest so that a hand edit shows; left as it is when only
                   the date would change
        --page     tables to sort and filter, figures, confusion matrices, settings, each with its CSV; needs
                   no network and no other file
prints  the first paragraph

All numbers are computed from the posteriors; scores in <exp-dir> are not read.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import textwrap
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.data.files import whole_file
from ser.errors import DataError
from ser.plan import read_plan


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.Parser(__doc__, "report")
    parser.add_argument("--name", help="of the corpus (the plan's)")
    parser.add_argument("--command", default="", help="the command line that ran the experiment")
    parser.add_argument("--results", type=Path, metavar="FILE", help="(<exp-dir>/RESULTS.md)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="(<exp-dir>/report.html)")
    parser.add_argument("exp_dir", type=Path, metavar="<exp-dir>")
    parser.add_argument("folds_dir", type=Path, nargs="?", metavar="<folds-dir>")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Report."""
    args = get_parser().parse_args(argv)
    for package in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(package) is None:
            raise DataError(f"{package} is not installed; run utils/install.sh --extra report")
    from ser.reporting import attention, page, report, results

    plan = read_plan(args.exp_dir)
    if plan.tell_untested("report"):
        return 0
    if args.folds_dir:
        plan = dataclasses.replace(plan, folds=args.folds_dir)
    made = report.make_report(args.name or plan.corpus, plan, args.command)
    results.write(args.results or args.exp_dir / "RESULTS.md", made)
    with whole_file(args.page or args.exp_dir / "report.html") as stream:
        stream.write(page.page(made, attention.read_pictures(plan)))
    print(textwrap.fill(made.summary, 78))
    return 0
