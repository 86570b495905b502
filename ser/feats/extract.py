"""Stage 1: the features of a data folder, made in parts by an array of jobs and then put together.

In ``<data>/fbank`` a part leaves ``feats.<job>.{ark,scp}``, ``utt2num_frames.<job>`` and
``utt2digest.<job>`` (digests of the recordings), and ends with ``part.<job>/made.json``.  The merge
makes ``<data>/{feats.scp,utt2num_frames,frame_shift,fbank.yaml}`` of them and ends with
``<data>/fbank/made.json``, which does not tell how many parts there were.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ser import config
from ser.data import files, tables
from ser.data.corpus import AudioConfig, load_corpus
from ser.errors import ConfigError, DataError, StaleError, UsageError, all_of
from ser.feats.audio import load_samples
from ser.feats.fbank import FbankConfig, Floats, log_mel

log = logging.getLogger("ser")

Compress = Literal["none", "CM", "CM2"]
Progress = Callable[[Sequence[str], str], Iterable[str]]


@dataclass(frozen=True)
class FeatureSettings:
    """All that the features depend on besides the recordings; ``<data>/fbank.yaml`` holds it."""

    fbank: FbankConfig
    audio: AudioConfig
    compress: Compress  # of the archives: none, CM (a byte a value) or CM2 (two bytes)


def load_settings(
    fbank: Path, corpus: Path, compress: Compress, overrides: Sequence[str] = ()
) -> FeatureSettings:
    """Settings from ``conf/fbank.yaml`` (with its overrides) and ``conf/corpus.yaml``.

    Raises:
        ConfigError: a file cannot be used, or the two want different sampling rates.
    """
    settings = FeatureSettings(
        config.load(FbankConfig, fbank, overrides), load_corpus(corpus).audio, compress
    )
    if settings.fbank.sampling_rate_hz != settings.audio.sampling_rate_hz:
        raise ConfigError(
            f"{fbank}: sampling_rate_hz is {settings.fbank.sampling_rate_hz}, but audio.sampling_rate_hz in "
            f"{corpus} is {settings.audio.sampling_rate_hz}; make them the same"
        )
    return settings


def load_used_settings(data: Path) -> FeatureSettings:
    """The settings with which the features of a data folder, or of a view on it, were made.

    Raises:
        ConfigError: ``<data>/fbank.yaml`` is missing or no such settings.
    """
    return config.load(FeatureSettings, data / "fbank.yaml")


def part_of(keys: Sequence[str], job: int, num_jobs: int) -> Sequence[str]:
    """The ``job``-th of ``num_jobs`` neighbouring parts, from 1; sizes differ by one at most (Kaldi's rule).

    >>> [list(part_of("abcdefg", job, 3)) for job in (1, 2, 3)]
    [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    size, larger = divmod(len(keys), num_jobs)
    first = (job - 1) * size + min(job - 1, larger)
    return keys[first : first + size + (job <= larger)]


def make_part(data: Path, settings: FeatureSettings, job: int, num_jobs: int, progress: Progress) -> None:
    """Make the features of one part of the recordings in ``<data>/wav.scp``, unless they are there.

    Args:
        data: the data folder.
        settings: how the features are made.
        job: which part, 1 to ``num_jobs``.
        num_jobs: number of parts; those beyond the number of utterances stay empty.
        progress: goes through the ids that it is given, and shows that.

    Raises:
        UsageError: there is no such part.
        StaleError: the folder is finished, but with other settings or recordings.
        DataError: recordings that cannot be used, all of the part in one message; nothing is written.
    """
    if not 1 <= job <= num_jobs:
        raise UsageError(f"--job {job}: must be from 1 to --num-jobs ({num_jobs})")
    wavs = tables.read_table(data / "wav.scp", made_by="stage 0")
    folder = data / "fbank"
    if job > len(wavs):
        log.info("%s: nothing to do, there are %d utterances for %d jobs", folder, len(wavs), num_jobs)
        return
    mine = {utt: Path(wavs[utt]) for utt in part_of(list(wavs), job, min(num_jobs, len(wavs)))}
    if _is_finished(data, config.to_dict(settings), mine, wavs):
        log.info("%s: up to date", folder)
        return
    with files.locked(folder / f"part.{job}"):
        part = _Part(folder, job, min(num_jobs, len(wavs)))
        if part.is_made(settings, mine):
            log.info("%s: part %d of %d is up to date", folder, job, num_jobs)
        else:
            part.make(settings, mine, progress)


def _is_finished(
    data: Path, settings: Mapping[str, Any], mine: Mapping[str, Path], wavs: Mapping[str, str]
) -> bool:
    """Whether the merged features are there, whole, and made of these recordings with these settings."""
    folder = data / "fbank"
    remedy = f"choose another data folder, or remove {folder} to make them again"
    if not _is_complete(data) or not files.is_made(folder, settings, {}, remedy=remedy):
        return False
    digests = tables.read_table(folder / "utt2digest")
    # a recording that is gone is no changed one: the features can be used without it
    changed = sorted(digests.keys() ^ wavs.keys()) or [
        utt for utt, path in mine.items() if path.is_file() and _digest(path) != digests[utt]
    ]
    if changed:
        raise StaleError(
            f"{folder}: was made of other recordings: {len(changed)} differ, e.g. {changed[0]}; {remedy}"
        )
    return True


def _is_complete(data: Path) -> bool:
    """Whether the merge has ended and nothing of what it left was taken away."""
    names = (
        "feats.scp",
        "utt2num_frames",
        "frame_shift",
        "fbank.yaml",
        "fbank/utt2digest",
        f"fbank/{files.MADE}",
    )
    if not all((data / name).exists() for name in names):
        return False
    places = tables.read_table(data / "feats.scp").values()
    return all(Path(ark).exists() for ark in {place.rpartition(":")[0] for place in places})


def _digest(path: Path) -> str:
    return files.file_digest(path)[:16]


class _Part:
    """One part's files in ``<data>/fbank``."""

    def __init__(self, folder: Path, job: int, num_jobs: int) -> None:
        self._place = {"job": job, "num_jobs": num_jobs}
        self._record = folder / f"part.{job}"
        self._feats = folder / f"feats.{job}"
        self.scp = folder / f"feats.{job}.scp"
        self.num_frames = folder / f"utt2num_frames.{job}"
        self.digests = folder / f"utt2digest.{job}"

    def settings(self) -> dict[str, Any] | None:
        """What the part was made with; None when it is not made, or was a part of another number of jobs."""
        try:
            record = json.loads((self._record / files.MADE).read_text(encoding="utf-8"))["settings"]
        except (FileNotFoundError, ValueError, KeyError):
            return None
        settings: dict[str, Any] = record["features"]
        return settings if record["place"] == self._place else None

    def is_made(self, settings: FeatureSettings, recordings: Mapping[str, Path]) -> bool:
        """Whether the part is there and was made of these recordings with these settings."""
        if self.settings() != json.loads(json.dumps(config.to_dict(settings))):
            return False
        paths = (self._feats.with_name(self._feats.name + ".ark"), self.scp, self.num_frames, self.digests)
        if not all(path.exists() for path in (*paths, *recordings.values())):
            return False
        return tables.read_table(self.digests) == {utt: _digest(path) for utt, path in recordings.items()}

    def make(self, settings: FeatureSettings, recordings: Mapping[str, Path], progress: Progress) -> None:
        """Compute the features and write the part's files, the record last."""
        (self._record / files.MADE).unlink(missing_ok=True)
        problems: list[str] = []
        frames: dict[str, int] = {}
        digests: dict[str, str] = {}
        with tables.ArkWriter(self._feats, settings.compress) as ark:
            for utt in progress(list(recordings), "fbank"):
                try:
                    features = _features(recordings[utt], settings, utt)
                except DataError as error:
                    problems.append(str(error))
                    continue
                ark.write(utt, features)
                frames[utt], digests[utt] = len(features), _digest(recordings[utt])
            if problems:
                raise all_of(problems)
        tables.write_table(self.num_frames, frames)
        tables.write_table(self.digests, digests)
        record = {"features": config.to_dict(settings), "place": self._place}
        files.write_made(self._record, record, {})
        log.info("%s: %d utterances, %d frames", self.scp, len(frames), sum(frames.values()))


def _features(path: Path, settings: FeatureSettings, utt: str) -> Floats:
    """A recording's features, (T, F), with T > 0."""
    samples = load_samples(path, settings.audio)
    features = log_mel(samples, settings.fbank, utt)
    if len(features) == 0:
        raise DataError(
            f"{path}: has {len(samples)} samples, fewer than a frame of {settings.fbank.length_samples}; "
            "leave it out where the corpus is prepared"
        )
    if not np.isfinite(features).all():
        raise DataError(
            f"{path}: has samples far beyond 1, its energies are infinite; copy it again from the release"
        )
    return features


def merge_parts(data: Path, num_jobs: int) -> None:
    """Put the parts together, unless that is done.

    Args:
        data: the data folder.
        num_jobs: number of parts that were made.

    Raises:
        UsageError: no number of parts.
        DataError: parts are missing, made with different settings, or not of the recordings in ``wav.scp``.
    """
    if num_jobs < 1:
        raise UsageError(f"--num-jobs {num_jobs}: must be 1 or more")
    folder = data / "fbank"
    wavs = tables.read_table(data / "wav.scp", made_by="stage 0")
    with files.locked(folder):
        if not list(folder.glob(f"part.*/{files.MADE}")) and _is_complete(data):
            log.info("%s: up to date", data / "feats.scp")
            return
        num_jobs = min(num_jobs, len(wavs))
        parts = [_Part(folder, job, num_jobs) for job in range(1, num_jobs + 1)]
        settings = _common_settings(folder, parts)
        feats, frames, digests = (
            _joined(paths) for paths in zip(*((p.scp, p.num_frames, p.digests) for p in parts), strict=True)
        )
        for table, name in ((feats, "feats.*.scp"), (frames, "utt2num_frames.*"), (digests, "utt2digest.*")):
            tables.same_keys(table, folder / name, wavs, data / "wav.scp")
        for path in (folder / files.MADE, data / "feats.scp"):  # until all is there again, nothing is
            path.unlink(missing_ok=True)
        tables.write_table(folder / "utt2digest", digests)
        tables.write_table(data / "utt2num_frames", frames)
        _write_text(data / "frame_shift", f"{settings['fbank']['frame_shift_ms'] / 1000:g}\n")
        _write_text(data / "fbank.yaml", config.dump(settings))
        tables.write_table(data / "feats.scp", feats)
        files.write_made(folder, settings, {})
        _remove_rest(folder, num_jobs)
    log.info("%s: %d utterances, %d frames", data / "feats.scp", len(frames), sum(map(int, frames.values())))


def _common_settings(folder: Path, parts: Sequence[_Part]) -> dict[str, Any]:
    """What all parts were made with."""
    made = {job: settings for job, part in enumerate(parts, 1) if (settings := part.settings()) is not None}
    missing = [str(job) for job in range(1, len(parts) + 1) if job not in made]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DataError(
            f"{folder}: {'parts' if missing[1:] else 'part'} {', '.join(missing[:5])}{more} of {len(parts)} "
            f"{'are' if missing[1:] else 'is'} missing; run stage 1 again"
        )
    for job, settings in made.items():
        if changes := files.differences(made[1], settings):
            raise DataError(f"{folder}: parts 1 and {job} differ in {'; '.join(changes)}; run stage 1 again")
    return made[1]


def _joined(paths: Iterable[Path]) -> dict[str, str]:
    return {key: value for path in paths for key, value in tables.read_table(path, made_by="stage 1").items()}


def _write_text(path: Path, text: str) -> None:
    with files.whole_file(path) as stream:
        stream.write(text)


def _remove_rest(folder: Path, num_jobs: int) -> None:
    """Take away what only the merge needed, and what other numbers of jobs or killed ones left."""
    for record in folder.glob("part.*"):
        shutil.rmtree(record)
    kept = {f"feats.{job}.{kind}" for job in range(1, num_jobs + 1) for kind in ("ark", "scp")}
    for pattern in ("feats.*", "utt2num_frames.*", "utt2digest.*", ".*.part"):
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()
