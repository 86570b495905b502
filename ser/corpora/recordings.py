"""Recordings of a release as lhotse's manifests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lhotse import Recording, RecordingSet
from lhotse.audio import AudioSource

from ser.data.audio_meta import audio_meta
from ser.errors import DataError
from ser.reading import not_a_folder


def by_name(files: Iterable[Path], fault: Callable[[Path], str]) -> tuple[dict[str, Path], list[str]]:
    """Audio files by their names without suffix.

    Args:
        files: the files, in the order in which faults are to be told.
        fault: what is wrong with a file's name and what to do about it, or nothing.

    Returns:
        name -> file; and one message for each file that has a fault, or the name of one before it.
    """
    paths: dict[str, Path] = {}
    problems: list[str] = []
    for path in files:
        wrong = fault(path)
        if path.stem in paths:
            other = paths[path.stem]
            named = other.name if other.parent == path.parent else other
            wrong = f"is the same utterance as {named}; keep one of them"
        if wrong:
            problems.append(f"{path}: {wrong}")
        else:
            paths[path.stem] = path
    return paths, problems


def wrong_folder(corpus_dir: Path, corpus: str, holds: str, is_release: Callable[[Path], bool]) -> str:
    """Why a folder is not taken for a release, with the one that was probably meant.

    Args:
        corpus_dir: the folder that was given.
        corpus: name of the corpus.
        holds: what its release holds.
        is_release: whether a folder is one.
    """
    release = f"give the folder of {corpus}'s release, the one that holds {holds}"
    if not corpus_dir.is_dir():
        return f"{corpus_dir}: {not_a_folder(corpus_dir)}; {release}"
    inside = sorted(corpus_dir.iterdir())
    if not inside:
        return f"{corpus_dir}: is empty; {release}"
    for path in inside:
        if path.is_dir() and is_release(path):
            return f"{corpus_dir}: is one folder too high; give {path}"
    above = Path(os.path.abspath(corpus_dir)).parent
    if is_release(above):
        return f"{corpus_dir}: is one folder too low; give {above}"
    names = ", ".join(path.name for path in inside[:5])
    return f"{corpus_dir}: is no copy of {corpus}, it does not hold {holds} (it has {names}); {release}"


def make_recordings(paths: Mapping[str, Path], num_jobs: int = 1) -> tuple[RecordingSet, dict[str, str]]:
    """Read the headers of audio files.

    Args:
        paths: recording id -> file, WAV or any format that libsndfile reads.
        num_jobs: headers read at a time.

    Returns:
        The recordings, sorted by id, with absolute paths; and id -> message for each file that is missing,
        damaged or no audio.
    """
    found: list[Recording] = []
    problems: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, num_jobs)) as pool:
        names = sorted(paths)
        results = pool.map(lambda name: _recording(name, paths[name]), names)
        for name, result in zip(names, results, strict=True):
            if isinstance(result, Recording):
                found.append(result)
            else:
                problems[name] = result
    return RecordingSet.from_recordings(found), problems


def _recording(name: str, path: Path) -> Recording | str:
    try:
        meta = audio_meta(path)
    except DataError as error:
        return str(error)
    channels = list(range(meta.num_channels))
    return Recording(
        id=name,
        sources=[AudioSource(type="file", channels=channels, source=os.path.abspath(path))],
        sampling_rate=meta.sampling_rate_hz,
        num_samples=meta.num_samples,
        duration=meta.num_samples / meta.sampling_rate_hz,
        channel_ids=channels,
    )
