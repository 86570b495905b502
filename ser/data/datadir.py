"""Data folders: Kaldi's tables of utterances, made from manifests, and views on them.

``data/all`` has an entry for every utterance; a view (``data/folds/03/train``) has the same tables, filtered,
and a file ``source`` that names the folder it is a view of.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ser import config as settings_io
from ser import reading
from ser.data import tables
from ser.data.alignment import seconds, write_ctm
from ser.data.corpus import CorpusConfig, Keep
from ser.data.files import (
    MADE,
    files_below,
    is_made,
    lost_outputs,
    synced_together,
    tell_lost,
    whole_file,
    write_made,
)
from ser.data.labels import EMOTIONS, write_emotions
from ser.data.levels import LEVELS
from ser.data.manifests import RECORDINGS, SUPERVISIONS, Utterance, read_manifests
from ser.data.unfit import LEFT_OUT, find_unfit
from ser.errors import DataError, StaleError, all_of

log = logging.getLogger("ser")

MAIN, SOURCE = "feats.yaml", "source"
COPIED = (EMOTIONS, "frame_shift", MAIN)
PARTIAL = ("text",)  # tables that may lack utterances
_UTTERANCE_TABLE = re.compile(r"utt2[a-z0-9_]+|wav\.scp|feats\.scp|text")
_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}


# ------------------------------------------------------------------------------------------ whole folders


def up_to_date(out: Path, settings: Mapping[str, Any], inputs: Mapping[str, Path]) -> bool:
    """Whether ``out`` is finished and was made with these settings from these inputs; logs it.

    A file of it that is gone or empty is told, and to be made again; one that says something else may hold
    somebody's corrections, which nothing here overwrites.

    Raises:
        StaleError: it is finished, but was made with others, or a file of it was changed since.
        DataError: it holds files that no finished run left.
    """
    remedy = f"choose another folder, or remove it: rm -r {shlex.quote(str(out))}"
    if is_made(out, settings, inputs, remedy=remedy, tell=False):
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
        raise StaleError(
            f"{changed[0]}: was changed since it was made; put it back, or remove the file to have it "
            "made again"
        )
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


def make_data_dir(manifests: Path, out: Path, config: CorpusConfig, num_jobs: int = 1) -> None:
    """Make the tables of all utterances that have a class.

    Args:
        manifests: folder with ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``.
        out: the folder to make, as a whole; a finished one is left alone if it is the same.
        config: the classes, labels, audio and ``keep`` of the corpus.
        num_jobs: recordings measured at a time, where ``config.audio`` refuses or drops some.

    Raises:
        StaleError: ``out`` was made from other manifests or settings.
        DataError: the manifests cannot be used, a class has no utterance left, or recordings are
            not as ``config.audio`` wants them.
    """
    tree = settings_io.to_dict(config)
    settings = {key: tree[key] for key in ("name", "classes", "labels", "audio", "keep")}
    actions = {settings["audio"].pop(key) for key in ("on_mixed_rate", "on_silent")}
    inputs = {name: manifests / name for name in (RECORDINGS, SUPERVISIONS) if (manifests / name).is_file()}
    utterances: list[Utterance] = []
    left_out: dict[str, str] = {}
    if actions != {"warn"}:
        chosen = _chosen(manifests, config)
        left_out = find_unfit(chosen, config.audio, manifests, out.parent / LEVELS, num_jobs)
        settings |= {"left_out": left_out} if left_out else {}
        utterances = [item for item in chosen if item.id not in left_out]
    if len(inputs) == 2 and up_to_date(out, settings, inputs):
        return
    utterances = utterances or _chosen(manifests, config)
    with whole_dir(out) as staging:
        _write(staging, utterances, config)
        if left_out:
            tables.write_table(staging / LEFT_OUT, left_out)
        write_made(staging, settings, inputs, files_below(staging))
    speakers = {item.speaker for item in utterances}
    log.info("%s: %d utterances of %d speakers", out, len(utterances), len(speakers))


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
    kept = [item for item in labelled if _allowed(item, config.keep, source)]
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
            "correct classes, labels or keep in conf/corpus.yaml"
        )
    return kept


def _allowed(item: Utterance, keep: Keep, source: Path) -> bool:
    for attribute in keep:
        if attribute not in item.attributes:
            raise DataError(
                f"{source}: {item.id} has no {attribute}, which keep asks for (it has "
                f"{', '.join(sorted(item.attributes))}); correct keep in conf/corpus.yaml"
            )
    return all(item.attributes[attribute] in values for attribute, values in keep.items())


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
        if audio.channel is None and item.num_channels > 1:
            problems.append(f"{item.path}: has {item.num_channels} channels; choose one with audio.channel")
        elif audio.channel is not None and audio.channel >= item.num_channels:
            problems.append(
                f"{item.path}: has {item.num_channels} channels, none is number {audio.channel} from 0"
            )
    if problems:
        raise all_of(problems)


def _write(out: Path, utterances: Sequence[Utterance], config: CorpusConfig) -> None:
    """Write every table of ``data/all``."""

    def table(name: str, value: Callable[[Utterance], str]) -> None:
        tables.write_table(out / name, {item.id: value(item) for item in utterances})

    table("wav.scp", lambda item: item.path)
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
    return sorted(path.name for path in folder.iterdir() if _UTTERANCE_TABLE.fullmatch(path.name))


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
    _write_genders(source, utt2spk, speakers)
    origin = source_of(source).resolve()
    for target in views:
        for name in COPIED:
            if (source / name).exists():
                shutil.copyfile(source / name, target / name)
        with whole_file(target / SOURCE) as stream:
            stream.write(f"{origin}\n")


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
