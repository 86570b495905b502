"""Data folders: Kaldi's tables of utterances, made as a whole or not at all, and views on them.

``data/all`` has an entry for every utterance; a view (``data/folds/03/train``) has the same tables, filtered,
and a file ``source`` that names the folder it is a view of.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ser import config as settings_io
from ser import reading
from ser.data import members, tables
from ser.data.changes import CHANGED_SINCE, remove
from ser.data.files import (
    MADE,
    files_below,
    is_made,
    lost_outputs,
    synced_together,
    tell_lost,
    whole_file,
)
from ser.data.labels import EMOTIONS
from ser.data.segments import recording_tables, write_views
from ser.errors import DataError, StaleError

log = logging.getLogger("ser")

MAIN, SOURCE, CUTS = "feats.yaml", "source", "cuts.jsonl.gz"
# Speech activity in frames of the main set, and its settings; not in views.
VAD_SCP, VAD = "vad.scp", "vad.yaml"
COPIED = (EMOTIONS, "frame_shift", MAIN)
PARTIAL = ("text",)  # tables that may lack utterances
_UTTERANCE_TABLE = re.compile(r"utt2[a-z0-9_]+|wav\.scp|feats\.scp|text|segments")


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


# ------------------------------------------------------------------------------------------------- views


def write_spk2utt(path: Path, utt2spk: Mapping[str, str]) -> None:
    """Write ``<speaker> <utterance> <utterance> ...`` lines."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(utt2spk):
        groups[utt2spk[name]].append(name)
    tables.write_table(path, {speaker: " ".join(names) for speaker, names in groups.items()})


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
