"""The plan of an experiment: every training, decoding, pool, fusion, score and figure that it has.

``<exp>/plan.json`` holds it (:mod:`ser.experiment` works it out); the folds come from stage 2.  All that asks
"which?" asks here: task lists, scoring, fusion, tables, interpretation and the report.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ser import reading
from ser.data.division import NONE
from ser.data.files import whole_file
from ser.data.folds import FoldLine, read_folds
from ser.data.published import Published
from ser.data.tables import check_key
from ser.data.tuning import TEST, TuningSource

log = logging.getLogger("ser")
PLAN, TASKS = "plan.json", "tasks"
ALL_SEEDS = "@*"  # behind a system's name in a fusion: all its seeds
OPEN, NO_TRACK = "open", "-"  # the track of unlike features together, and of a system that reads none
ONE_FOLD = "nll"  # the criterion of fusions that are tuned on the posteriors of one fold alone


@dataclass(frozen=True)
class PlannedSystem:
    """A system of an experiment; ``<exp>/<fold>/<name>/seed<k>`` are its models."""

    name: str
    stem: str  # systems that differ in their context alone share it
    context: int | None  # frames of a chunk, if its name says them
    seeds: tuple[int, ...]
    seeded: bool  # whether the seed changes anything
    sets: tuple[str, ...]  # the feature sets that it reads
    norm: str  # how their values are normalised
    code: str  # its key ``system``
    settings: str  # its settings file, resolved
    outside: bool  # whether it is code outside ``ser``
    track: str = NO_TRACK  # what kind of features it reads, see :func:`joint_track`
    published: Published | None = None  # what its paper prints
    beyond_audio: bool = False  # whether it reads more than recordings: transcripts, or whole dialogues


@dataclass(frozen=True)
class PlannedFusion:
    """A fusion of an experiment; ``<exp>/<fold>/<name>/seed<k>/decode_test`` is what it gives."""

    name: str
    systems: tuple[str, ...]
    # of the systems after the first; None: tuned on dev speakers; none at all: the mean of one system's seeds
    weights: tuple[float, ...] | None
    seeds: tuple[int, ...]
    criterion: str = ONE_FOLD  # of tuned weights
    over_seeds: tuple[str, ...] = ()  # systems of which all seeds take part, each with a weight of its own

    @property
    def words(self) -> str:
        """Its systems as they were asked for: ``a@* b``."""
        return " ".join(f"{name}{ALL_SEEDS}" if name in self.over_seeds else name for name in self.systems)

    @property
    def weights_text(self) -> str:
        """Which weights it has, for display."""
        if self.weights is None:
            return "tuned on dev"
        return " ".join(f"{weight:g}" for weight in (1, *self.weights)) if self.weights else "equal"


class Output(NamedTuple):
    """A decoding: a model, the subset it decides on, and the folder of its posteriors."""

    model: Path
    data: Path
    folder: Path


class Pool(NamedTuple):
    """The test subsets of all folds as one folder of posteriors."""

    seed: int
    folder: Path
    members: list[Path]


class FusionRun(NamedTuple):
    """One fusion of one fold and seed."""

    seed: int
    fold: str
    out: Path
    members: list[Path]
    test: Path  # data folder
    tuning: list[TuningRun]  # what the weights are tuned on; nothing where they are not


class TuningRun(NamedTuple):
    """Posteriors that weights are tuned on."""

    data: Path  # data folder
    members: list[Path]  # of the systems of the fusion, in their order


@dataclass(frozen=True)
class Plan:
    """What an experiment has; see the classes above."""

    corpus: str
    protocol: str
    exp: Path
    folds: Path
    data: Path  # the data folder that the folds are views of
    systems: tuple[PlannedSystem, ...]
    fusions: tuple[PlannedFusion, ...]
    interpret: tuple[str, ...]  # systems whose attention is looked at
    alignment: str  # corpus, k2 or a path
    sets: tuple[str, ...]  # feature sets, the main one first
    also: tuple[str, ...]  # names of folders in <exp>/pooled that others made
    vad: bool = False  # whether a system asks for speech activity
    tested: bool = True  # whether the protocol tests at all, or trains on all speakers
    expected: tuple[FoldLine, ...] | None = None  # the folds, where stage 2 is still to make them

    # ----------------------------------------------------------------------------------------- who is in it

    def system(self, name: str) -> PlannedSystem:
        """The system of that name."""
        return next(system for system in self.systems if system.name == name)

    def table(self) -> list[str]:
        """All that has a row in tables: seeded systems, fusions, other systems, those of others."""
        if not self.tested:
            return []
        seeded = [system.name for system in self.systems if system.seeded]
        rest = [system.name for system in self.systems if not system.seeded]
        return [*seeded, *(fusion.name for fusion in self.fusions), *rest, *self.also]

    def tell_untested(self, what: str) -> bool:
        """Say that there is nothing to do where the protocol tests on nobody; whether that is so."""
        if not self.tested:
            log.info("%s: the protocol %s tests on nobody; nothing to %s", self.exp, self.protocol, what)
        return not self.tested

    def track(self, name: str) -> str:
        """The track of a system or a fusion; :data:`NO_TRACK` of what others made."""
        tracks = {system.name: system.track for system in self.systems}
        fused = {fusion.name: joint_track(tracks[m] for m in fusion.systems) for fusion in self.fusions}
        return (tracks | fused).get(name, NO_TRACK)

    def is_tuned(self, name: str) -> bool:
        """Whether a system is part of a fusion whose weights are tuned."""
        return any(fusion.weights is None and name in fusion.systems for fusion in self.fusions)

    # ------------------------------------------------------------------------------------------------ folds

    @cached_property
    def fold_lines(self) -> list[FoldLine]:
        """The folds of stage 2.

        Raises:
            DataError: it has not run yet.
        """
        return read_folds(self.folds) if self.expected is None else list(self.expected)

    @cached_property
    def final(self) -> list[FoldLine]:
        """The folds of the results, without the extra ones that fusions are tuned on."""
        extra = {line.tune_fold for line in self.fold_lines if line.tune_fold != line.name}
        return [line for line in self.fold_lines if line.name not in extra]

    def model(self, fold: str, system: str, seed: int) -> Path:
        """A model folder (of a fusion: the folder of its outputs)."""
        return self.exp / fold / system / f"seed{seed}"

    # ------------------------------------------------------------------------------------------------ tasks

    def trainings(self, systems: tuple[PlannedSystem, ...] | None = None) -> Iterator[list[str]]:
        """Lines of a task list of steps/train.sh, as fields."""
        final = {line.name for line in self.final}
        for system in self.systems if systems is None else systems:
            tuned = self.is_tuned(system.name)
            for line in self.fold_lines:
                if line.name not in final and not tuned:
                    continue
                dev = self.folds / line.name / "dev"
                for seed in system.seeds:
                    folder = self.model(line.name, system.name, seed)
                    train = self.folds / line.name / "train"
                    yield [
                        str(train),
                        str(dev) if dev.is_dir() else NONE,
                        str(folder),
                        str(seed),
                        system.settings,
                    ]

    def outputs(self, name: str) -> list[Output]:
        """Everything that is decoded with a system, all seeds; of a fusion its test subsets."""
        sources = [TuningSource(line.name, line.name, TEST) for line in self.final if self.tested]
        for fusion in self.fusions:
            if fusion.weights is None and name in fusion.systems:
                sources += [source for line in self.final for source in tuning_sources(line, fusion)]
        return [
            Output(
                self.model(source.model_fold, name, seed),
                self.folds / source.data_fold / source.subset,
                self.decoded(source, name, seed),
            )
            for source in dict.fromkeys(sources)
            for seed in self.seeds(name)
        ]

    def decoded(self, source: TuningSource, name: str, seed: int) -> Path:
        """The folder of a system's posteriors on a subset: of the fold of the model, or of the tested one."""
        model_fold, data_fold, subset = source
        return self.model(model_fold, name, seed) / (
            f"decode_{subset}" if model_fold == data_fold else "decode_tested"
        )

    def decodings(self) -> Iterator[list[str]]:
        """Lines of a task list of steps/decode.sh, as fields."""
        for system in self.systems:
            for output in self.outputs(system.name):
                yield [*map(str, output), *([system.code] if system.outside else [])]

    def seeds(self, name: str) -> tuple[int, ...]:
        """The seeds of a system or fusion."""
        seeds = {system.name: system.seeds for system in self.systems}
        return (seeds | {fusion.name: fusion.seeds for fusion in self.fusions})[name]

    def pools(self, name: str) -> list[Pool]:
        """The pooled test subsets of a system or fusion, a folder for each seed."""
        pools = []
        for seed in self.seeds(name) if self.tested else ():
            members = [self.model(line.name, name, seed) / f"decode_{TEST}" for line in self.final]
            pools.append(Pool(seed, self.pooled(name, seed), members))
        return pools

    def pooled(self, name: str, seed: int) -> Path:
        """The folder of a system's or fusion's posteriors over all folds."""
        return self.exp / "pooled" / name / f"seed{seed}" / f"decode_{TEST}"

    def fusion_runs(self, fusion: PlannedFusion) -> list[FusionRun]:
        """What is fused with what; a system whose seed changes nothing takes part in every seed's fusion."""
        return [self._fusion_run(fusion, line, seed) for line in self.final for seed in fusion.seeds]

    def _fusion_run(self, fusion: PlannedFusion, line: FoldLine, seed: int) -> FusionRun:
        def members(source: TuningSource) -> list[Path]:
            return [self.decoded(source, name, each) for name, each in self.members(fusion, seed)]

        tested = TuningSource(line.name, line.name, TEST)
        tuning = [
            TuningRun(self.folds / source.data_fold / source.subset, members(source))
            for source in (tuning_sources(line, fusion) if fusion.weights is None else ())
        ]
        out = self.decoded(tested, fusion.name, seed)
        return FusionRun(seed, line.name, out, members(tested), self.folds / line.name / TEST, tuning)

    def members(self, fusion: PlannedFusion, seed: int) -> list[tuple[str, int]]:
        """The systems of a fusion, each with its seed, those over all seeds with each of theirs."""
        return [
            (name, each)
            for name in fusion.systems
            for each in (self.seeds(name) if name in fusion.over_seeds else [self._nearest_seed(name, seed)])
        ]

    def _nearest_seed(self, name: str, seed: int) -> int:
        """The seed of a system that goes with a seed: the same one, or its only one."""
        return seed if seed in self.seeds(name) else self.seeds(name)[0]

    # -------------------------------------------------------------------------------------- interpretation

    @property
    def alignment_name(self) -> str:
        """What results on the alignment are filed under."""
        return Path(self.alignment).stem if self.alignment not in ("corpus", "k2") else self.alignment

    def maps(self) -> Iterator[list[str]]:
        """Lines of ``tasks/interpret.tsv``, as fields.

        System, feature set, source of the alignment, its folder in frames of that set, folder of the
        statistics, folder of the maps of one seed, and the decode folders of all folds.
        """
        source = {"corpus": self.data, "k2": self.exp / "k2"}.get(self.alignment, Path(self.alignment))
        for name in self.interpret:
            main = self.system(name).sets[0]
            suffix = "" if main == self.sets[0] else f".{main}"
            framed = self.exp / "alignments" / f"{self.alignment_name}{suffix}"
            out = self.exp / "interpret" / name / self.alignment_name
            for pool in self.pools(name):
                folders = (source, framed, out, out / f"seed{pool.seed}", *pool.members)
                yield [name, main, *map(str, folders)]

    def probes(self) -> Iterator[list[str]]:
        """Lines of ``tasks/probe.tsv``, as fields: model, data, maps, folder to make[, code to allow]."""
        for name in self.interpret:
            system = self.system(name)
            out = self.exp / "interpret" / name / self.alignment_name
            for line in self.final:
                for seed in system.seeds:
                    mapped, model = out / f"seed{seed}", self.model(line.name, name, seed)
                    made = out / "probe" / f"seed{seed}" / line.name
                    places = (model, self.folds / line.name / TEST, mapped, made)
                    yield [*map(str, places), *([system.code] if system.outside else [])]


def joint_track(tracks: Iterable[str]) -> str:
    """The track of several feature sets, or of several systems: theirs if it is one, else :data:`OPEN`.

    >>> joint_track(["log-mel", "-", "log-mel"]), joint_track(["log-mel", "functionals"]), joint_track([])
    ('log-mel', 'open', '-')
    """
    different = set(tracks) - {NO_TRACK}
    return OPEN if len(different) > 1 else next(iter(different), NO_TRACK)


def tuning_sources(line: FoldLine, fusion: PlannedFusion) -> list[TuningSource]:
    """What a fusion is tuned on for a fold: the fold's own tuning subset, first, and the others that may be.

    By the criterion :data:`ONE_FOLD` it is tuned on the first alone; without dev speakers on none.
    """
    if line.tune_fold == NONE:
        return []
    own = TuningSource(line.tune_fold, line.tune_fold, line.tune_set)
    return [own] if fusion.criterion == ONE_FOLD else [own, *line.others]


# -------------------------------------------------------------------------------------------------- on disk


def write_plan(plan: Plan) -> None:
    """Write ``<exp>/plan.json``."""
    tree = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(plan).items()}
    del tree["expected"]
    with whole_file(plan.exp / PLAN) as stream:
        json.dump(tree, stream, indent=1)
        stream.write("\n")


def read_plan(exp: Path) -> Plan:
    """Read ``<exp>/plan.json``.

    Raises:
        DataError: there is none, or it is of another version.
    """
    path, missing = exp / PLAN, "run.sh writes it, or ser plan"
    with reading.guarded(path, "run run.sh (or ser plan) again", what="is no plan of this version"):
        tree: dict[str, Any] = reading.read_json(path, "run run.sh (or ser plan) again", missing=missing)
        systems = tuple(_planned_system(system) for system in tree.pop("systems"))
        fusions = tuple(PlannedFusion(**_tuples(fusion)) for fusion in tree.pop("fusions"))
        tree |= {"exp": exp, "folds": Path(tree["folds"]), "data": Path(tree["data"])}
        for name in (*(s.name for s in systems), *(f.name for f in fusions), *tree["also"]):
            check_key(name, str(path))
        return Plan(systems=systems, fusions=fusions, **_tuples(tree))


def _planned_system(tree: dict[str, Any]) -> PlannedSystem:
    published = tree.get("published")
    return PlannedSystem(**_tuples(tree | {"published": published and Published(**published)}))


def _tuples(tree: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in tree.items()}


def write_lists(plan: Plan) -> None:
    """Write the task lists below ``<exp>/tasks``; a list that is the same keeps its date."""
    first, rest = plan.systems[:1], plan.systems[1:]
    lists = {
        "train": plan.trainings(),
        "train_3": plan.trainings(first),
        "train_4": plan.trainings(rest),
        "decode": plan.decodings(),
        "interpret": plan.maps(),
        "probe": plan.probes(),
    }
    for name, lines in lists.items():
        write_lines(plan.exp / TASKS / f"{name}.tsv", ["\t".join(fields) for fields in lines])


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file of lines, unless it is just that already."""
    text = "".join(f"{line}\n" for line in lines)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with whole_file(path) as stream:
            stream.write(text)
