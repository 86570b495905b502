"""Make a trained model ready for other programs and other people.

  ser export <model> --format onnx --out FILE
  ser export <model> --format torchscript --out FILE
  ser export <model> --format package --out FILE

reads   <model>, a model folder, a package, or the name of a model that comes with ser (emodb)
writes  onnx: a graph for onnxruntime and others; torchscript: one for torch.jit.load; package: a .zip that
        ser predict takes, with a model card, or without .zip a folder in the hub's layout
prints  the inputs of a graph, in their order

A graph takes utterances in a batch, of any number and any lengths, and gives posteriors (and calibrated ones,
and attention, where the model has them).  With features inside it takes samples (utterances, samples) at the
model's rate and their numbers (utterances,); outside, the features of each set as they were made.  Statistics
of speakers, of a model that is normalised by them, are inputs: <set>_mean, <set>_std, (utterances, values).
What is written was compared with PyTorch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ser import cli
from ser.errors import UsageError


def get_parser() -> cli.Parser:
    """The command line."""
    parser = cli.Parser(__doc__, "export")
    parser.add_argument("model", type=Path, metavar="<model>")
    parser.add_argument("--format", choices=["onnx", "torchscript", "package"], required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--features",
        choices=["inside", "outside"],
        help="of a graph: whether it makes them (inside)",
    )
    parser.add_allow_code()
    card = parser.add_argument_group("what a package says; what is not given is left out")
    card.add_argument("--name", default="", help="of the model (that of the file)")
    card.add_argument("--license", default="", metavar="ID", help="as the hub has it, such as cc-by-4.0")
    card.add_argument("--license-file", type=Path, metavar="FILE", help="its text")
    card.add_argument("--language", action="append", default=[], metavar="CODE", help="such as de")
    card.add_argument("--limit", action="append", default=[], metavar="TEXT", help="what users must know")
    card.add_argument("--cite", action="append", default=[], metavar="TEXT")
    card.add_argument(
        "--experiment",
        action="append",
        type=Path,
        default=[],
        metavar="EXP",
        help="an experiment with models of the same settings, whose results on test speakers are shown",
    )
    card.add_argument(
        "--scores",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="scored posteriors of the model on another corpus",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Export."""
    args = get_parser().parse_args(argv)
    from ser.predict.names import find_model

    args.model = find_model(args.model)
    if args.format != "package":
        _graph(args)
        return 0
    from ser.export import card, package
    from ser.learn.models import load_model

    if args.features:
        raise UsageError("--features: a package makes its features; export a graph with it")
    if args.license_file and not args.license:
        raise UsageError("--license-file: name the licence too, --license")
    model = load_model(args.model, args.allow_code)
    said = package.Said(
        name=args.name or args.out.stem,
        license=args.license,
        license_text=package.license_text(args.license_file) if args.license_file else "",
        language=tuple(args.language),
        limits=tuple(args.limit),
        cite=tuple(args.cite),
        measured=(
            *(card.of_experiment(exp, model) for exp in args.experiment),
            *(card.of_scores(words) for words in args.scores),
        ),
    )
    package.export_package(args.model, args.out, said, args.allow_code)
    print(args.out)
    return 0


def _graph(args: argparse.Namespace) -> None:
    from ser.export import write
    from ser.learn.models import load_model

    card = ("name", "license", "license_file", "language", "limit", "cite", "experiment", "scores")
    if any(vars(args)[option] for option in card):
        raise UsageError(f"--format {args.format}: has no card; export a package with it")
    export = write.export_onnx if args.format == "onnx" else write.export_torchscript
    model = load_model(args.model, args.allow_code)
    inputs = export(model, args.out, features_inside=args.features != "outside")
    print(f"{args.out}\n  inputs {' '.join(inputs)}")
