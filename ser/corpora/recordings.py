"""Recordings of a release as lhotse's manifests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lhotse import Recording, RecordingSet
from lhotse.audio import AudioSource

from ser.data.audio_meta import audio_meta
from ser.errors import DataError


def make_recordings(paths: Mapping[str, Path], num_jobs: int = 1) -> tuple[RecordingSet, list[str]]:
    """Read the headers of audio files.

    Args:
        paths: recording id -> file, WAV or any format that libsndfile reads.
        num_jobs: headers read at a time.

    Returns:
        The recordings, sorted by id, with absolute paths; and one message for each file that is missing,
        damaged or no audio.
    """
    found: list[Recording] = []
    problems: list[str] = []
    with ThreadPoolExecutor(max_workers=max(1, num_jobs)) as pool:
        names = sorted(paths)
        for result in pool.map(lambda name: _recording(name, paths[name]), names):
            if isinstance(result, Recording):
                found.append(result)
            else:
                problems.append(result)
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
