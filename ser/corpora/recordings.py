"""Recordings of a release as lhotse's manifests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TypeVar

from lhotse import Recording, RecordingSet
from lhotse.audio import AudioSource

from ser.cli import progress
from ser.data.audio_meta import AudioMeta, audio_meta
from ser.errors import DataError
from ser.reading import not_a_folder

PathLike = TypeVar("PathLike", Path, str)
_BLOCK = 1000  # headers that are waited for together


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
    metas, damaged = read_headers(paths.values(), num_jobs)
    whole = sorted(name for name, path in paths.items() if path in metas)
    recordings = [make_recording(name, paths[name], metas[paths[name]]) for name in whole]
    problems = {name: damaged[paths[name]] for name in sorted(paths) if paths[name] in damaged}
    return RecordingSet.from_recordings(recordings), problems


def read_headers(
    paths: Iterable[PathLike], num_jobs: int = 1
) -> tuple[dict[PathLike, AudioMeta], dict[PathLike, str]]:
    """Read the headers of audio files, each once.

    Args:
        paths: the files, WAV or any format that libsndfile reads.
        num_jobs: headers read at a time.

    Returns:
        What each file is, and a message for each that is missing, damaged or no audio.
    """
    metas: dict[PathLike, AudioMeta] = {}
    damaged: dict[PathLike, str] = {}
    files = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(max_workers=max(1, num_jobs)) as pool:
        blocks = (files[first : first + _BLOCK] for first in range(0, len(files), _BLOCK))
        results = chain.from_iterable(pool.map(_header, block) for block in blocks)
        headers = progress(results, "recordings", len(files))
        for path, header in zip(files, headers, strict=True):
            if isinstance(header, AudioMeta):
                metas[path] = header
            else:
                damaged[path] = header
    return metas, damaged


def _header(path: PathLike) -> AudioMeta | str:
    try:
        return audio_meta(Path(path))
    except DataError as error:
        return str(error)


def make_recording(name: str, path: PathLike, meta: AudioMeta) -> Recording:
    """The manifest entry of a recording, with its absolute path."""
    channels = list(range(meta.num_channels))
    return Recording(
        id=name,
        sources=[AudioSource(type="file", channels=channels, source=os.path.abspath(path))],
        sampling_rate=meta.sampling_rate_hz,
        num_samples=meta.num_samples,
        duration=meta.num_samples / meta.sampling_rate_hz,
        channel_ids=channels,
    )
