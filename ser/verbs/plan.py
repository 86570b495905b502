"""Work out and check an experiment: what is trained, decoded, scored, fused, interpreted and reported.

  ser plan --corpus-conf conf/corpus.yaml --data-dir data --exp-dir exp [systems="..."] [seeds="1 2"] ...

writes  <exp>/plan.json, <exp>/conf/*.yaml (every settings file with its base and overrides) and, once stage 2
        has made the folds, the task lists in <exp>/tasks
prints  the folder of the folds; with --dry-run what is done and what is not; with --check-data nothing

Keys, in the options KEY=VALUE as in the file of --experiment, and their defaults:

  systems        words [NAME=]CONF[_CONTEXT]: conf/CONF.yaml, with a context of so many frames (the
                 paper's two, and the majority class); or a list of them, such as conf/table1.yaml
  contexts       for systems trained on chunks whose word names none (that of their settings)
  seeds          a training each (777)
  protocol       one of the corpus's settings (its own choice)
  fuse           "[NAME=]SYSTEM[:WEIGHT] SYSTEM[:WEIGHT] ...", tuned on dev speakers without weights,
                 SYSTEM@* a system with all its seeds, or "none"; may be repeated (syscomb and syscomb_dev:
                 the paper's two systems, with the given weight and with a tuned one)
  fusion_weight  of the second system in syscomb (0.4)
  interpret      systems whose attention is looked at (the first of the paper's, if it is trained)
  alignment      corpus, k2, a CTM file, or a folder of them or of TextGrids (corpus)
  also           systems of others, <exp>/pooled/<name>/seed<k>/decode_test, for table and report
  set            "[NAME:]KEY=VALUE", NAME a system, a feature set or corpus; without it for every file that
                 has the key
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import DataError
from ser.experiment.asked import read_experiment
from ser.experiment.settings import work_out_settings
from ser.experiment.work import (
    check_settings,
    check_turns,
    expected_folds,
    refuse_other_data,
    refuse_second_protocol,
    tell_lost,
    tell_work,
    work_out,
    write_all,
)


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "plan")
    parser.add_argument("--experiment", type=Path, metavar="FILE", help="YAML file of these keys")
    parser.add_argument("--corpus-conf", type=Path, required=True, metavar="YAML", help="conf/corpus.yaml")
    parser.add_argument("--data-dir", type=Path, required=True, metavar="DIR", help="where data goes")
    parser.add_argument("--exp-dir", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument(
        "--from",
        dest="folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="seen from where paths of systems are",
    )
    parser.add_argument("--stage", type=int, default=0, help="first stage that will run (%(default)s)")
    parser.add_argument("--stop-stage", type=int, default=9, help="last one (%(default)s)")
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, say what is done and what is not"
    )
    parser.add_argument(
        "--check-data",
        action="store_true",
        help="only make sure that the protocol can divide the data of stage 0 and that models are of these "
        "settings, and say how much is trained",
    )
    parser.add_argument("options", nargs="*", metavar="KEY=VALUE")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb."""
    args = get_parser().parse_args(argv)
    experiment = read_experiment(args.experiment, args.options)
    settings = work_out_settings(experiment, args.corpus_conf, args.folder)
    plan = work_out(experiment, settings, args.exp_dir, args.data_dir)
    trees = {system.name: system.file.tree for system in settings.systems}
    there = (plan.folds / "folds.tsv").exists()
    if args.check_data:
        if not there and not (plan.data / "utt2spk").exists():
            return 0  # whatever needs it will say so
        if not there:
            plan = dataclasses.replace(plan, expected=expected_folds(plan, settings, warn=True))
        if args.stage <= 4:
            check_turns(settings, plan.data)
            tell_work(plan)
        else:
            from ser.learn.status import refuse_other_models

            refuse_other_models(plan, trees)
        return 0
    refuse_second_protocol(settings, args.exp_dir)
    refuse_other_data(settings, plan.data)
    if args.stage <= 4 and args.stop_stage >= 1:
        check_settings(settings)
    if args.dry_run:
        from ser.learn.status import plan_text

        if not there:
            plan = dataclasses.replace(plan, expected=expected_folds(plan, settings))
        print(plan_text(plan, trees, range(args.stage, args.stop_stage + 1)))
        return 0
    if args.stage >= 3 and not there:
        raise DataError(f"{plan.folds / 'folds.tsv'}: no such file; run stage 2")
    write_all(plan, settings)
    if there:
        tell_lost(plan, range(args.stage, args.stop_stage + 1))
    print(plan.folds)
    return 0
