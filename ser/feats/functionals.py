"""openSMILE's functionals, one vector for each recording, made in parts by an array of jobs.

In ``<data>/<set>`` a part leaves ``functionals.<job>.{ark,scp}`` and ends with ``part.<job>/made.json``, with
digests of its recordings.  The merge makes ``<data>/<set>.scp`` and ``<data>/<set>/utt2digest`` of them
and ends with ``<data>/<set>/made.json``, which does not tell how many parts there were.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser.data import files, tables
from ser.data.corpus import AudioConfig
from ser.errors import DataError, StaleError, UsageError, all_of
from ser.feats.audio import load_samples
from ser.feats.extract import part_of

log = logging.getLogger("ser")

Floats = npt.NDArray[np.float32]
Progress = Callable[[Sequence[str], str], Iterable[str]]

SETS = {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}  # our name -> openSMILE's; 88 and 6,373 values
DIGESTS = "utt2digest"
_INSTALL = (
    "install it with: utils/install.sh --extra baselines (its licence excludes commercial use, see NOTICE)"
)


def settings_of(name: str, audio: AudioConfig) -> dict[str, Any]:
    """All that the functionals depend on besides the recordings.

    Raises:
        UsageError: there is no such set, or openSMILE is not installed.
    """
    if name not in SETS:
        raise UsageError(f"--set {name}: unknown; take one of {', '.join(SETS)}")
    try:
        return {"set": SETS[name], "opensmile": version("opensmile"), "audio": asdict(audio)}
    except PackageNotFoundError as error:
        raise UsageError(f"the Python package opensmile is missing; {_INSTALL}") from error


def make_part(data: Path, name: str, audio: AudioConfig, job: int, num_jobs: int, progress: Progress) -> None:
    """Make the functionals of one part of the recordings in ``<data>/wav.scp``, unless they are there.

    Args:
        data: the data folder.
        name: which set, ``egemaps`` or ``compare``.
        audio: what the recordings are, and what is done when they are something else.
        job: which part, 1 to ``num_jobs``.
        num_jobs: number of parts; those beyond the number of utterances stay empty.
        progress: goes through the ids that it is given, and shows that.

    Raises:
        UsageError: there is no such part or set, or openSMILE is not installed.
        StaleError: the folder is finished, but with other settings or recordings.
        DataError: recordings that cannot be used, all of the part in one message; nothing is written.
    """
    if not 1 <= job <= num_jobs:
        raise UsageError(f"--job {job}: must be from 1 to --num-jobs ({num_jobs})")
    settings = settings_of(name, audio)
    wavs = tables.read_table(data / "wav.scp", made_by="stage 0")
    folder = data / name
    num_jobs = min(num_jobs, len(wavs))
    if job > num_jobs:
        log.info("%s: nothing to do, there are %d utterances for more jobs", folder, len(wavs))
        return
    mine = {utt: Path(wavs[utt]) for utt in part_of(list(wavs), job, num_jobs)}
    if _is_finished(data, name, settings, mine, wavs):
        log.info("%s: up to date", folder)
        return
    settings |= {"job": job, "num_jobs": num_jobs}
    record, stem = folder / f"part.{job}", folder / f"functionals.{job}"
    with files.locked(record):
        there = all(
            path.exists() for path in (_suffixed(stem, "ark"), _suffixed(stem, "scp"), *mine.values())
        )
        if there and files.is_made(record, settings, mine):
            log.info("%s: part %d of %d is up to date", folder, job, num_jobs)
            return
        (record / files.MADE).unlink(missing_ok=True)
        _write_part(stem, name, audio, mine, progress)
        files.write_made(record, settings, mine)


def _suffixed(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _is_finished(
    data: Path,
    name: str,
    settings: Mapping[str, Any],
    mine: Mapping[str, Path],
    wavs: Mapping[str, str],
) -> bool:
    """Whether the merged functionals are there and were made of these recordings with these settings."""
    folder = data / name
    remedy = f"choose another data folder, or remove {folder} to make them again"
    if not _is_complete(data, name) or not files.is_made(folder, settings, {}, remedy=remedy):
        return False
    digests = tables.read_table(folder / DIGESTS)
    # a recording that is gone is no changed one: the functionals can be used without it
    changed = sorted(digests.keys() ^ wavs.keys()) or [
        utt for utt, path in mine.items() if path.is_file() and files.file_digest(path)[:16] != digests[utt]
    ]
    if changed:
        raise StaleError(
            f"{folder}: was made of other recordings: {len(changed)} differ, e.g. {changed[0]}; {remedy}"
        )
    return True


def _is_complete(data: Path, name: str) -> bool:
    scp = data / f"{name}.scp"
    if not all(path.exists() for path in (scp, data / name / DIGESTS, data / name / files.MADE)):
        return False
    return all(Path(ark).exists() for ark in {p.rpartition(":")[0] for p in tables.read_table(scp).values()})


def _write_part(
    stem: Path, name: str, audio: AudioConfig, recordings: Mapping[str, Path], progress: Progress
) -> None:
    compute = extractor(name, audio.sampling_rate_hz)
    problems: list[str] = []
    with tables.ArkWriter(stem) as ark:
        for utt in progress(list(recordings), name):
            try:
                vector = compute(load_samples(recordings[utt], audio))
                if not np.isfinite(vector).all():
                    raise DataError(
                        f"{recordings[utt]}: is too short for openSMILE's functionals; leave it out where "
                        "the corpus is prepared, or do without these baselines"
                    )
            except DataError as error:
                problems.append(str(error))
                continue
            ark.write(utt, vector)
        if problems:
            raise all_of(problems)
    log.info("%s: %d utterances", _suffixed(stem, "scp"), len(recordings))


def extractor(name: str, sampling_rate_hz: int) -> Callable[[Floats], Floats]:
    """A function from samples in [-1, 1], (N,), to their functionals, (88,) or (6373,).

    It gives NaN for recordings that are too short, which for openSMILE is some tenth of a second.

    Raises:
        UsageError: openSMILE is not installed.
    """
    try:
        import opensmile
    except ImportError as error:
        raise UsageError(f"the Python package opensmile cannot be loaded ({error}); {_INSTALL}") from error
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[SETS[name]], feature_level=opensmile.FeatureLevel.Functionals
    )

    def compute(samples: Floats) -> Floats:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            frame = smile.process_signal(samples, sampling_rate_hz)
        vector: Floats = frame.to_numpy(dtype=np.float32)[0]
        return vector

    return compute


def merge_parts(data: Path, name: str, num_jobs: int) -> None:
    """Put the parts together, unless that is done.

    Args:
        data: the data folder.
        name: which set.
        num_jobs: number of parts that were made.

    Raises:
        UsageError: no number of parts.
        DataError: parts are missing, made with different settings, or not of the recordings in ``wav.scp``.
    """
    if num_jobs < 1:
        raise UsageError(f"--num-jobs {num_jobs}: must be 1 or more")
    folder = data / name
    wavs = tables.read_table(data / "wav.scp", made_by="stage 0")
    with files.locked(folder):
        if not list(folder.glob(f"part.*/{files.MADE}")) and _is_complete(data, name):
            log.info("%s: up to date", data / f"{name}.scp")
            return
        num_jobs = min(num_jobs, len(wavs))
        settings, digests = _read_records(folder, num_jobs)
        places: dict[str, str] = {}
        for job in range(1, num_jobs + 1):
            places |= tables.read_table(
                folder / f"functionals.{job}.scp", made_by="steps/make_functionals.sh"
            )
        tables.same_keys(places, folder / "functionals.*.scp", wavs, data / "wav.scp")
        (folder / files.MADE).unlink(missing_ok=True)
        tables.write_table(folder / DIGESTS, digests)
        tables.write_table(data / f"{name}.scp", places)
        files.write_made(folder, settings, {})
        for path in folder.glob("part.*"):
            shutil.rmtree(path)
        kept = {f"functionals.{job}.{kind}" for job in range(1, num_jobs + 1) for kind in ("ark", "scp")}
        for path in folder.glob("functionals.*"):
            if path.name not in kept:
                path.unlink()
    log.info("%s: %d utterances", data / f"{name}.scp", len(places))


def _read_records(folder: Path, num_jobs: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that all parts share, and the digests of their recordings."""
    common: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for job in range(1, num_jobs + 1):
        try:
            record = json.loads((folder / f"part.{job}" / files.MADE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            record = {"settings": {}, "inputs": {}}
        settings = record["settings"]
        if (settings.pop("job", None), settings.pop("num_jobs", None)) != (job, num_jobs):
            raise DataError(
                f"{folder}: part {job} of {num_jobs} is missing; run steps/make_functionals.sh again"
            )
        if common and (changes := files.differences(common, settings)):
            raise DataError(
                f"{folder}: parts 1 and {job} differ in {'; '.join(changes)}; "
                "run steps/make_functionals.sh again"
            )
        common = settings
        digests |= record["inputs"]
    return common, digests
