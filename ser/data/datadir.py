"""Data folders: Kaldi's tables of utterances, made from manifests, and views on them.

``data/all`` has an entry for every utterance; a view (``data/folds/03/train``) has the same tables, filtered,
and a file ``source`` that names the folder it is a view of.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser import config as settings_io
from ser import reading
from ser.data import members, tables
from ser.data.alignment import seconds, write_ctm
from ser.data.changes import CHANGED_SINCE, remove, replace_tables
from ser.data.corpus import CorpusConfig, channels_of
from ser.data.durations import Shortest, check_durations, read_durations
from ser.data.files import (
    MADE,
    files_below,
    input_changes,
    is_made,
    lost_outputs,
    made_differently,
    setting_changes,
    synced_together,
    tell_lost,
    whole_file,
    write_made,
)
from ser.data.labels import EMOTIONS, write_emotions
from ser.data.levels import LEVELS
from ser.data.manifests import RECORDINGS, SUPERVISIONS, Utterance, read_manifests
from ser.data.naming import RAW_IDS, name_utterances
from ser.data.segments import recording_tables, tell_overlaps, write_segments, write_views
from ser.data.unfit import LEFT_OUT, find_unfit
from ser.errors import DataError, StaleError, all_of

log = logging.getLogger("ser")

MAIN, SOURCE, CUTS = "feats.yaml", "source", "cuts.jsonl.gz"
# Speech activity in frames of the main set, and its settings; not in views.
VAD_SCP, VAD = "vad.scp", "vad.yaml"
COPIED = (EMOTIONS, "frame_shift", MAIN)
PARTIAL = ("text",)  # tables that may lack utterances
_UTTERANCE_TABLE = re.compile(r"utt2[a-z0-9_]+|wav\.scp|feats\.scp|text|segments")
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}


# ------------------------------------------------------------------------------------------ whole folders


def up_to_date(
    out: Path,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    words: Callable[[], list[str]] = list,
) -> bool:
    """Whether ``out`` is finished and was made with these settings from these inputs; logs it.

    A file of it that is gone or empty is told, and to be made again; one that says something else may hold
    somebody's corrections, which nothing here overwrites.

    Args:
        out: the folder.
        settings: nested mapping of JSON values.
        inputs: name -> file, compared by content.
        words: what changed in the inputs.

    Raises:
        StaleError: it is finished, but was made with others, or a file of it was changed since.
        DataError: it holds files that no finished run left.
    """
    remedy = remove(out)
    if is_made(out, settings, inputs, remedy=remedy, tell=False, words=words):
        log.info("%s: up to date", out)
        return True
    if lost := lost_tables(out):
        tell_lost(lost)
        return False
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out}: holds files, but no made.json of a finished run; {remedy}")
    return False


def lost_tables(out: Path) -> list[Path]:
    """The files of a finished data folder, or of folds, that are gone or empty.

    Raises:
        StaleError: one says something else than when it was made.
    """
    lost = lost_outputs(out)
    if changed := [path for path in lost if path.is_file() and path.stat().st_size]:
        raise StaleError(f"{changed[0]}: {CHANGED_SINCE}")
    return lost


@contextmanager
def whole_dir(target: Path) -> Iterator[Path]:
    """Fill a folder beside ``target``, then rename it: a reader sees no folder or the whole one.

    Of a finished ``target`` (see :func:`up_to_date`) only the files are replaced that are gone or empty: it
    may hold more than what was made first.

    Yields:
        The folder to fill.

    Raises:
        DataError: ``target`` cannot be made, or appeared meanwhile.
    """
    stem = f".{target.name}.{socket.gethostname()}"
    staging = target.with_name(f"{stem}.{os.getpid()}.part")
    finished = (target / MADE).exists()
    try:
        _remove_leftovers(target.parent, stem)
        staging.mkdir(parents=True)
        with synced_together(staging):
            yield staging
        if finished:
            _fill_gaps(staging, target)
        else:
            staging.rename(target)
    except OSError as error:
        raise DataError(
            f"{target}: cannot be made ({error.strerror or error}); choose another folder"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill_gaps(staging: Path, target: Path) -> None:
    for path in [*files_below(staging), staging / MADE]:
        place = target / path.relative_to(staging)
        if path.name == MADE or not place.is_file() or place.stat().st_size == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


def _remove_leftovers(parent: Path, stem: str) -> None:
    """Remove leftovers of killed processes on this machine."""
    for path in parent.glob(f"{stem}.*.part"):
        pid = path.name.split(".")[-2]
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)


# ---------------------------------------------------------------------------------------------- data/all


def make_data_dir(
    manifests: Path,
    out: Path,
    config: CorpusConfig,
    shortest: Collection[Shortest] = (),
    num_jobs: int = 1,
) -> None:
    """Make the tables of all utterances that have a class, each named as :mod:`ser.data.naming` says.

    A finished folder is left alone if it is the same. If only the manifests have changed, tables that differ
    are replaced and said, unless features there depend on what changed.

    Args:
        manifests: folder with ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``.
        out: the folder to make, as a whole.
        config: the classes, labels, audio and ``keep`` of the corpus.
        shortest: of the feature sets that are to be made, the shortest utterance.
        num_jobs: recordings measured at a time, where ``config.audio`` refuses or drops some.

    Raises:
        StaleError: ``out`` was made with other settings, has features of other recordings, or a table of it
            was changed since.
        DataError: the manifests cannot be used, a class has no utterance left, recordings are not as
            ``config.audio`` wants them, utterances are too short for a feature set, or one cannot be named.
    """
    settings = stage_0_settings(config)
    refuse_other_settings(out, config)
    inputs = {name: manifests / name for name in (RECORDINGS, SUPERVISIONS) if (manifests / name).is_file()}
    utterances: list[Utterance] = []
    left_out: dict[str, str] = {}
    if {config.audio.on_mixed_rate, config.audio.on_silent} != {"warn"}:
        chosen = _chosen(manifests, config)
        left_out = find_unfit(chosen, config.audio, manifests, out.parent / LEVELS, num_jobs)
        settings |= {LEFT_OUT: left_out} if left_out else {}
        utterances = [item for item in chosen if item.id not in left_out]
    changed = bool(input_changes(out, inputs))
    if len(inputs) == 2 and not changed and up_to_date(out, settings, inputs):
        check_durations(read_durations(out / "utt2dur"), shortest, out / "utt2dur")
        return
    utterances = utterances or _chosen(manifests, config)
    source = manifests / SUPERVISIONS
    names = name_utterances({item.id: item.speaker for item in utterances}, source)
    check_durations({item.id: item.duration_s for item in utterances}, shortest, source)
    tell_overlaps(utterances, source)
    with whole_dir(out) as staging:
        _write(staging, [replace(item, id=names[item.id]) for item in utterances], config)
        tables.write_table(staging / RAW_IDS, {name: raw for raw, name in names.items()})
        if left_out:
            tables.write_table(staging / LEFT_OUT, left_out)
        write_made(staging, settings, inputs, files_below(staging))
        if changed:
            replace_tables(staging, out)
    speakers = {item.speaker for item in utterances}
    log.info("%s: %d utterances of %d speakers", out, len(utterances), len(speakers))


def stage_0_settings(config: CorpusConfig) -> dict[str, Any]:
    """The settings of a corpus that its data folder depends on, whatever its audio is like."""
    tree = settings_io.to_dict(config)
    settings = {key: tree[key] for key in ("name", "classes", "labels", "audio", "keep")}
    for key in ("on_mixed_rate", "on_silent"):  # what they leave out is recorded instead
        del settings["audio"][key]
    return {**settings, "utterances": "<speaker>-<raw id>"}


def refuse_other_settings(data: Path, config: CorpusConfig) -> None:
    """Refuse a data folder that stage 0 made with other settings.

    Raises:
        StaleError: it did; what differs is named.
    """
    if changes := setting_changes(data, stage_0_settings(config), ignore={LEFT_OUT}):
        raise made_differently(data, changes, remove(data))


def _chosen(manifests: Path, config: CorpusConfig) -> list[Utterance]:
    utterances = select(read_manifests(manifests), config, manifests / SUPERVISIONS)
    check_audio(utterances, config)
    return utterances


def select(utterances: Sequence[Utterance], config: CorpusConfig, source: Path) -> list[Utterance]:
    """The utterances whose label has a class and that ``keep`` allows; says how many are left out.

    Raises:
        DataError: a class has none.
    """
    labelled = [item for item in utterances if item.attributes["emotion"] in config.labels]
    kept = [item for item in labelled if _allowed(item, config, source)]
    dropped = Counter(
        i.attributes["emotion"] for i in utterances if i.attributes["emotion"] not in config.labels
    )
    names = ", ".join(f"{label} {number}" for label, number in sorted(dropped.items()))
    log.info(
        "%s: kept %d of %d utterances; left out %d by label%s, %d by keep",
        source, len(kept), len(utterances), len(utterances) - len(labelled),
        f" ({names})" if names else "", len(labelled) - len(kept),
    )  # fmt: skip
    counts = Counter(config.labels[item.attributes["emotion"]] for item in kept)
    empty = [name for name in config.classes if not counts[name]]
    if empty:
        labels = ", ".join(sorted({item.attributes["emotion"] for item in utterances}))
        raise DataError(
            f"{source}: no utterance of class {', '.join(empty)} (labels in the corpus: {labels}); "
            f"correct classes, labels or keep in {config.source}"
        )
    return kept


def _allowed(item: Utterance, config: CorpusConfig, source: Path) -> bool:
    for attribute in config.keep:
        if attribute not in item.attributes:
            raise DataError(
                f"{source}: {item.id} has no {attribute}, which keep asks for (it has "
                f"{', '.join(sorted(item.attributes))}); correct keep in {config.source}"
            )
    return all(item.attributes[attribute] in values for attribute, values in config.keep.items())


def check_audio(utterances: Iterable[Utterance], config: CorpusConfig) -> None:
    """Make sure that the recordings are what ``config.audio`` says, or may be converted.

    Raises:
        DataError: another sampling rate where that is refused, or a channel that is missing or not chosen.
    """
    audio = config.audio
    problems: list[str] = []
    for item in utterances:
        if item.sampling_rate_hz != audio.sampling_rate_hz and audio.resample == "refuse":
            problems.append(
                f"{item.path}: has {item.sampling_rate_hz} Hz, audio.sampling_rate_hz says "
                f"{audio.sampling_rate_hz}; set audio.resample to convert"
            )
        try:
            channels_of(audio.channel, item.num_channels)
        except ValueError as error:
            problems.append(f"{item.path}: {error}")
    if problems:
        raise all_of(list(dict.fromkeys(problems)))


def _write(out: Path, utterances: Sequence[Utterance], config: CorpusConfig) -> None:
    """Write every table of ``data/all``."""

    def table(name: str, value: Callable[[Utterance], str]) -> None:
        tables.write_table(out / name, {item.id: value(item) for item in utterances})

    if all(item.is_whole for item in utterances):
        table("wav.scp", lambda item: item.path)
    else:
        write_segments(out, utterances)
    table("utt2spk", lambda item: item.speaker)
    table("utt2emo", lambda item: config.labels[item.attributes["emotion"]])
    table("utt2dur", lambda item: seconds(item.duration_s))
    write_spk2utt(out / "spk2utt", {item.id: item.speaker for item in utterances})
    write_emotions(out / EMOTIONS, config.classes)
    for attribute in ("session", "style", "fold"):
        values = {item.id: item.attributes[attribute] for item in utterances if attribute in item.attributes}
        if values:
            tables.same_keys(values, f"the utterances with a {attribute}", [i.id for i in utterances], "all")
            tables.write_table(out / f"utt2{attribute}", values)
    texts = {item.id: item.text for item in utterances if item.text}
    genders = {
        item.speaker: _GENDERS.get(item.attributes.get("gender", "").lower(), "") for item in utterances
    }
    if texts:
        tables.write_table(out / "text", texts)
    if all(genders.values()):
        tables.write_table(out / "spk2gender", genders)
    for kind in sorted({kind for item in utterances for kind in item.alignment}):
        write_ctm(out / f"{kind}.ctm", {item.id: item.alignment.get(kind, []) for item in utterances})


def write_spk2utt(path: Path, utt2spk: Mapping[str, str]) -> None:
    """Write ``<speaker> <utterance> <utterance> ...`` lines."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(utt2spk):
        groups[utt2spk[name]].append(name)
    tables.write_table(path, {speaker: " ".join(names) for speaker, names in groups.items()})


# ------------------------------------------------------------------------------------------------- views


def main_set(data: Path) -> str | None:
    """The name of the feature set that ``feats.scp`` of a data folder or view holds; None if it has none.

    Raises:
        DataError: ``feats.yaml`` does not say it.
    """
    path = data / MAIN
    if not path.exists():
        return None
    name = settings_io.read_yaml(path).get("set")
    if not isinstance(name, str):
        raise DataError(f"{path}: does not name the feature set (set: <name>); run stage 1 again")
    return tables.check_key(name, str(path))


def source_of(data: Path) -> Path:
    """The data folder that ``data`` is a view of; itself if it is none."""
    path = data / SOURCE
    return Path(reading.read_text(path, "run stage 2 again").strip()) if path.exists() else data


def utterance_tables(folder: Path) -> list[str]:
    """The names of the tables in ``folder`` that are keyed by utterance."""
    names = {path.name for path in folder.iterdir() if _UTTERANCE_TABLE.fullmatch(path.name)}
    return sorted(names.difference(recording_tables(folder)))


def make_view(source: Path, target: Path, utterances: Iterable[str]) -> None:
    """Make ``target`` a view on ``source`` with just these utterances."""
    make_views(source, {target: sorted(utterances)})


def make_views(source: Path, views: Mapping[Path, Sequence[str]]) -> None:
    """Make several views of one data folder; each table is read once and held alone.

    Args:
        source: a data folder.
        views: folder to fill -> its utterances, sorted.

    Raises:
        DataError: a table of ``source`` cannot be read, or does not know an utterance or a speaker.
    """
    utt2spk = tables.read_table(source / "utt2spk", made_by="stage 0")
    unknown = sorted({name for names in views.values() for name in names} - utt2spk.keys())
    if unknown:
        raise DataError(f"{source / 'utt2spk'}: has no {', '.join(unknown[:3])}; name utterances of {source}")
    speakers: dict[Path, set[str]] = {}
    for target, names in views.items():
        write_spk2utt(target / "spk2utt", {name: utt2spk[name] for name in names})
        speakers[target] = {utt2spk[name] for name in names}
    for table in utterance_tables(source):
        entries = tables.read_table(source / table)
        if table not in PARTIAL:
            tables.same_keys(entries, source / table, utt2spk, source / "utt2spk")
        lines = {key: f"{key} {value}\n" for key, value in entries.items()}
        del entries
        for target, names in views.items():
            _write_lines(target / table, [lines[name] for name in names if name in lines])
    write_views(source, views)
    _write_genders(source, utt2spk, speakers)
    _write_cuts(source, utt2spk, views)
    origin = source_of(source).resolve()
    for target in views:
        for name in COPIED:
            if (source / name).exists():
                shutil.copyfile(source / name, target / name)
        with whole_file(target / SOURCE) as stream:
            stream.write(f"{origin}\n")


def _write_cuts(source: Path, utt2spk: Mapping[str, str], views: Mapping[Path, Sequence[str]]) -> None:
    """Write the cuts of views, if ``source`` has cuts."""
    path = source / CUTS
    if path.exists():
        cuts = members.read(path, "run stage 2 again")
        tables.same_keys(cuts, path, utt2spk, source / "utt2spk")
        for target, names in views.items():
            members.write(target / CUTS, (cuts[name] for name in names))


def _write_genders(source: Path, utt2spk: Mapping[str, str], views: Mapping[Path, set[str]]) -> None:
    """Write ``spk2gender`` of views, each given with its speakers, if ``source`` has it."""
    path = source / "spk2gender"
    if not path.exists():
        return
    genders = tables.read_table(path)
    tables.same_keys(genders, path, set(utt2spk.values()), f"the speakers of {source / 'utt2spk'}")
    for target, known in views.items():
        tables.write_table(target / path.name, {speaker: genders[speaker] for speaker in known})


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    if lines:
        with whole_file(path) as stream:
            stream.writelines(lines)
