"""From what is asked for to a checked plan, and what is written of it."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ser import config, systems
from ser.data import files, registry, tables
from ser.data.corpus import RESOLVED
from ser.data.corpus_tables import refuse_other_settings
from ser.data.datadir import lost_tables
from ser.data.division import NONE
from ser.data.folds import FoldLine, fold_facts, fold_warnings, plan_folds
from ser.data.published import Published
from ser.data.tuning import other_sources
from ser.data.turns import asks_for_turns, turn_files, vector_files
from ser.errors import DataError, MissingPackageError, UsageError, plural
from ser.experiment.asked import FUSED, Experiment, meant
from ser.experiment.fusions import plan_fusions
from ser.experiment.settings import VAD_NAME, Chosen, File, Settings, check_names, extras, sets_of
from ser.feats.sets import TRACKS, load_set
from ser.plan import OPEN, TASKS, Plan, PlannedSystem, joint_track, write_lines, write_lists, write_plan
from ser.systems.base import Sizes

log = logging.getLogger("ser")
_MANY = 100  # trainings that a user is warned of


def work_out(experiment: Experiment, settings: Settings, exp: Path, data_dir: Path) -> Plan:
    """The plan of an experiment.

    Args:
        experiment: what was asked for.
        settings: of :func:`work_out_settings`.
        exp: where models and results go.
        data_dir: where data goes.

    Raises:
        ConfigError, UsageError: a fusion or an interpretation of what there is not.
    """
    planned = tuple(_planned(system, experiment, exp, settings.sets) for system in settings.systems)
    protocol = settings.config.all_protocols[settings.protocol]
    fusions = plan_fusions(experiment, planned, settings.protocol, protocol)
    check_names(
        [*(s.name for s in planned), *(f.name for f in fusions), *experiment.also], "systems, fuse, also"
    )
    for name in {"corpus", VAD_NAME, *settings.sets} & {system.name for system in planned}:
        raise UsageError(f"systems: {name} has settings of its own in this experiment; write NAME={name}")
    interpret = experiment.interpret
    if interpret is None:
        interpret = tuple(system.name for system in planned if system.name == FUSED[0])
    if protocol.test == "none":
        if experiment.interpret:
            raise UsageError(
                f"interpret: the protocol {settings.protocol} tests on nobody, whose attention could be "
                "looked at; leave it out"
            )
        interpret = ()
    for name in interpret:
        if name not in {system.name for system in planned}:
            raise UsageError(
                f"interpret: {name} is no system; {meant(name, [each.name for each in planned])}"
            )
    folds = "folds" if settings.protocol == settings.config.protocol else f"folds_{settings.protocol}"
    return Plan(
        corpus=settings.config.name,
        protocol=settings.protocol,
        exp=exp,
        folds=data_dir / folds,
        data=data_dir / "all",
        systems=planned,
        fusions=fusions,
        interpret=interpret,
        alignment=experiment.alignment,
        sets=tuple(settings.sets),
        also=experiment.also,
        vad=settings.vad is not None,
        tested=protocol.test != "none",
    )


def _planned(system: Chosen, experiment: Experiment, exp: Path, sets: Mapping[str, File]) -> PlannedSystem:
    tree, source = system.file.tree, str(system.file.source)
    code = str(tree.get("system"))
    seeded = systems.is_seeded(code, source)
    norm = tree["features"].get("norm", "none") if isinstance(tree.get("features"), Mapping) else "none"
    published = tree.get("published")
    return PlannedSystem(
        name=system.name,
        stem=system.stem,
        context=system.context,
        seeds=experiment.seeds if seeded else (0,),
        seeded=seeded,
        sets=sets_of(system.file),
        norm=str(norm),
        code=code,
        settings=str(exp / "conf" / f"{system.name}.yaml"),
        outside=registry.is_outside(code),
        track=joint_track(
            TRACKS.get(str(sets[name].tree.get("extractor")), OPEN) for name in sets_of(system.file)
        ),
        published=None if published is None else config.build(Published, published, source, "published."),
        beyond_audio=any(asks_for_turns(tree)),
    )


def expected_folds(plan: Plan, settings: Settings, *, warn: bool = False) -> tuple[FoldLine, ...]:
    """The folds that stage 2 will make, as far as that can be told before it has run.

    Without data, of a protocol that tests on each speaker (or session) in turn only ``<each speaker>`` is.

    Args:
        plan: the plan.
        settings: of the experiment.
        warn: log what stage 2 will warn of, as far as that is known.

    Raises:
        ConfigError, DataError: the data cannot be divided so.
    """
    if (plan.data / "utt2spk").exists():
        divided, lacking = plan_folds(plan.data, settings.config, plan.protocol)
        for warning in fold_warnings(fold_facts(divided, plan.data), lacking) if warn else ():
            log.warning("protocol %s: %s", plan.protocol, warning)
        others = other_sources(divided, tables.read_table(plan.data / "utt2spk"))
        return tuple(
            FoldLine(fold.name, fold.tune_fold, fold.tune_set, others.get(fold.name, ())) for fold in divided
        )
    protocol = settings.config.all_protocols[plan.protocol]
    names = [fold or plan.protocol for fold in sorted(protocol.listed)]
    if protocol.test == "each":
        names = [f"<each {protocol.group}>"]
    elif protocol.drawn is not None:
        names = [
            f"<fold {number} of {protocol.drawn['folds']}>"
            for number in range(1, protocol.drawn["folds"] + 1)
        ]
    lines = []
    for name in names:
        if protocol.dev is None:
            lines.append(FoldLine(name, NONE, NONE))
        elif protocol.dev.refit:
            lines += [FoldLine(name, f"{name}-dev", "test"), FoldLine(f"{name}-dev", NONE, NONE)]
        else:
            lines.append(FoldLine(name, name, "dev"))
    return tuple(lines)


# -------------------------------------------------------------------------------------------------- checks


def check_settings(settings: Settings) -> None:
    """Check every settings file as those will that use it; imports the systems, so torch for networks.

    Raises:
        ConfigError: settings that do not fit.
        DataError: a file of word vectors is not there.
    """
    sets = {}
    for name, file in settings.sets.items():
        with suppress(MissingPackageError):  # it is installed next, and stage 0 looks at the set again
            sets[name] = load_set(file.source, settings.config.audio, "none", file.overrides)
    dims = {name: features.make().dim for name, features in sets.items()}
    for chosen in settings.systems:
        source = str(chosen.file.source)
        system, own = systems.build_settings(chosen.file.tree, source)
        vector_files(chosen.file.tree)
        own_sets = sets_of(chosen.file)
        if not sets.keys() >= set(own_sets):
            continue
        sizes = Sizes(
            {name: dims[name] for name in own_sets},
            len(settings.config.classes),
            {},
            {name: sets[name].layout for name in own_sets},
        )
        systems.check_network(system, own, sizes, source)


def check_turns(settings: Settings, data: Path) -> None:
    """Refuse systems that read transcripts or dialogues which a data folder does not have.

    Raises:
        DataError: there are some.
    """
    for chosen in settings.systems:
        turn_files(data, chosen.file.tree)


def tell_lost(plan: Plan, stages: range) -> None:
    """Say which outputs of arrays of jobs, whose own words go to their logs, are lost and will be made again.

    Large outputs are known by their sizes here; the jobs read those that matter.

    Raises:
        StaleError: a table of the folds was changed since stage 2, which would refuse it.
    """
    if 2 in stages:
        files.tell_lost(lost_tables(plan.folds))
    lists = {
        1: [plan.data / name for name in plan.sets],
        2: [plan.data / name / "cmvn" for name in plan.sets],
        3: [Path(fields[2]) for fields in plan.trainings()],
        5: [Path(fields[2]) for fields in plan.decodings()],
    }
    for stage, folders in lists.items():
        if stage in stages or (stage == 3 and 4 in stages):
            for folder in folders:
                files.tell_lost(files.lost_outputs(folder))


def tell_work(plan: Plan) -> None:
    """Say how many trainings and decodings a plan has; warn if they are many."""
    counts = Counter(Path(fields[2]).parent.name for fields in plan.trainings())
    total, extra = counts.total(), len(plan.fold_lines) - len(plan.final)
    of = ", ".join(f"{count} {name}" for name, count in counts.items())
    decodings = plural(sum(1 for _ in plan.decodings()), "decoding")
    log.info(
        "protocol %s: %s%s; %s (%s), %s",
        plan.protocol, plural(len(plan.final), "fold"), f" and {extra} to tune in" if extra else "",
        plural(total, "training"), of,
        decodings if plan.tested else "nobody is tested: stages 5 to 9 have nothing to do",
    )  # fmt: skip
    if total > _MANY:
        log.warning(
            "%d trainings are many; fewer folds (a protocol such as kfold of egs/csv), systems or seeds make "
            "fewer, --dry-run lists them",
            total,
        )


def refuse_other_data(settings: Settings, data: Path) -> None:
    """Refuse settings of stage 0 that are not those that the data folder was made with.

    Raises:
        StaleError: stage 0 made it with others.
        UsageError: it is made of tables of the user's own, which no setting of stage 0 reaches.
    """
    refuse_other_settings(data, settings.config)
    own = (data / "utt2spk").exists() and not (data / files.MADE).exists()
    for text in settings.corpus.overrides if own else []:
        if text.partition("=")[0].split(".")[0] == "keep":
            raise UsageError(
                f"--set {text}: is for stage 0, which did not make {data}; leave it out, and change the "
                "tables there"
            )


def refuse_second_protocol(settings: Settings, exp: Path) -> None:
    """Refuse to mix results of two protocols in one folder.

    Raises:
        DataError: the folder has results of another protocol, or of this one with other settings.
    """
    path = exp / "conf" / "corpus.yaml"
    if not path.is_file() or not any(exp.glob("*/*/seed*/made.json")):
        return
    old, new = (_protocol_of(tree) for tree in (config.read_yaml(path), settings.corpus.tree))
    if changes := files.differences(old, new):
        same = old["protocol"] == new["protocol"] and old["name"] == new["name"]
        before = f" as it was set before ({'; '.join(changes[:5])})" if same else ""
        raise DataError(
            f"{exp}: holds results of the protocol {old['protocol']} of {old['name']}{before}; choose "
            f"another --exp-dir for {new['protocol']} of {new['name']}, or remove it: "
            f"rm -r {shlex.quote(str(exp))}"
        )


def _protocol_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What results depend on of a corpus's settings, besides the features."""
    name = str(tree.get("protocol"))
    protocols = tree.get("protocols") or {}
    return {
        "name": tree.get("name"),
        "classes": tree.get("classes"),
        "labels": tree.get("labels"),
        "keep": tree.get("keep"),
        "protocol": name,
        "protocols": {name: protocols.get(name)},
    }


# ------------------------------------------------------------------------------------------------- writing


def write_all(plan: Plan, settings: Settings) -> None:
    """Write the plan, all settings files resolved, and the lists that the steps of run.sh take.

    ``<exp>/tasks`` gets ``features`` (a settings file a line, the main set's first), ``vad`` (that of speech
    activity, if a system asks for it), ``extras``, and, once stage 2 has made the folds, the task lists.
    """
    folder = plan.exp / "conf"
    sources = {"corpus": settings.corpus, **settings.sets}
    sources |= {} if settings.vad is None else {VAD_NAME: settings.vad}
    sources |= {system.name: system.file for system in settings.systems}
    for name, file in sources.items():
        head = f"# {file.source} {RESOLVED}"
        write_lines(folder / f"{name}.yaml", [head, *config.dump(file.tree).splitlines()])
    write_plan(plan)
    write_lines(plan.exp / TASKS / "features", [str(folder / f"{name}.yaml") for name in plan.sets])
    write_lines(plan.exp / TASKS / "vad", [str(folder / f"{VAD_NAME}.yaml")] if plan.vad else [])
    write_lines(plan.exp / TASKS / "extras", extras(settings))
    if (plan.folds / "folds.tsv").exists():
        write_lists(plan)
