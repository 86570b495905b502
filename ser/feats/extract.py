"""Stage 1: feature sets of a data folder, made in shards by an array of jobs and then merged.

In ``<data>/<set>`` a shard leaves ``feats.<job>.{ark,scp}``, ``utt2digest.<job>`` (digests of the recordings)
and, of a set of frames, ``utt2num_frames.<job>``, and ends with ``shard.<job>/made.json``.  The merge makes
``feats.scp``, ``settings.yaml`` and ``utt2digest`` of them, for frames also ``utt2num_frames`` and
``frame_shift``, and ends with ``made.json``; how many shards there were does not matter to it.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser import config, reading
from ser.data import files, tables
from ser.data.changes import table_changes
from ser.data.corpus import AudioConfig
from ser.data.datadir import MAIN, SOURCE, main_set
from ser.data.segments import RecordingSegment, keys_of, read_recordings
from ser.data.shards import check_job, check_num_jobs, shard_of
from ser.errors import DataError, all_of
from ser.feats.audio import LongRecording, open_samples
from ser.feats.base import Extractor, Floats
from ser.feats.sets import SETTINGS, FeatureSet

log = logging.getLogger("ser")
Progress = Callable[[Sequence[str], str], Iterable[str]]
Recordings = Mapping[str, RecordingSegment]  # utterance -> what it is made of

FEATS, NUM_FRAMES, DIGESTS, FRAME_SHIFT = "feats.scp", "utt2num_frames", "utt2digest", "frame_shift"
_STAGE = "stage 1"


def compute_file(
    recording: Path | RecordingSegment, extractor: Extractor, audio: AudioConfig, key: str
) -> Floats:
    """The features of one recording, or of a segment of one.

    Args:
        recording: a file, or a segment of one.
        extractor: makes the features.
        audio: what the recording must be, and what is done when it is something else.
        key: the utterance's id.

    Returns:
        (T, F) with T > 0, or (F,).

    Raises:
        DataError: the recording cannot be used, or the extractor gave something else.
    """
    in_blocks = getattr(extractor, "in_blocks", False)
    with open_samples(recording, audio, in_blocks=in_blocks) as samples:
        return compute(samples, extractor, key, str(recording))


def compute(samples: Floats | LongRecording, extractor: Extractor, key: str, place: str) -> Floats:
    """The features of samples.

    Args:
        samples: one channel in [-1, 1], (N,), at the extractor's rate; a :class:`LongRecording` only for an
            extractor that takes blocks.
        extractor: makes the features.
        key: the utterance's id.
        place: the recording, for messages.

    Returns:
        (T, F) with T > 0, or (F,).

    Raises:
        DataError: the samples cannot be used, or the extractor gave something else.
    """
    try:
        values = extractor.compute(samples, key)  # type: ignore[arg-type]  # see samples
        features: Floats = np.asarray(values, np.float32)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error
    frames, name = extractor.timing is not None, f"the extractor {type(extractor).__name__}"
    if features.ndim != 1 + frames or features.shape[-1] != extractor.dim or len(features) == 0:
        expected = f"(T, {extractor.dim}) with T > 0" if frames else f"({extractor.dim},)"
        raise DataError(
            f"{place}: {name} gave features of shape {features.shape}, expected {expected}; correct it"
        )
    if not np.isfinite(features).all():
        raise DataError(
            f"{place}: {name} gave NaN or infinite values; correct it, or leave the recording out where "
            "the corpus is prepared"
        )
    return features


# ------------------------------------------------------------------------------------------------- shards


def make_shard(
    data: Path, features: FeatureSet, job: int, num_jobs: int, progress: Progress, use_gpu: str = "auto"
) -> None:
    """Make one shard of a feature set of the utterances of a data folder, unless it is up to date.

    Args:
        data: the data folder.
        features: the feature set.
        job: which shard, 1 to ``num_jobs``.
        num_jobs: number of shards; those beyond the number of utterances stay empty.
        progress: goes through the ids that it is given, and shows that.
        use_gpu: auto, yes or no; for networks that make features.

    Raises:
        UsageError: ``job`` is no shard.
        StaleError: the set is finished, but with other settings or recordings.
        DataError: recordings that cannot be used, all of the shard in one message; nothing is written.
    """
    check_job(job, num_jobs)
    recordings = _recordings(data)
    folder = data / features.name
    num_shards = min(num_jobs, len(recordings))
    if job > num_shards:
        log.info("%s: nothing to do, there are %d utterances for %d jobs", folder, len(recordings), num_jobs)
        return
    own = {utt: recordings[utt] for utt in shard_of(list(recordings), job, num_shards)}
    extractor = features.make(use_gpu)
    settings = _record(features, extractor)
    if _is_complete(folder) and _is_same(folder, settings, own, recordings):
        log.info("%s: up to date", folder)
        return
    (folder / files.MADE).unlink(missing_ok=True)  # so that all jobs make their shards, whichever was lost
    with files.locked(folder / f"shard.{job}"):
        shard = Shard(folder, job, num_shards)
        if shard.is_made(settings, own):
            log.info("%s: shard %d of %d is up to date", folder, job, num_jobs)
        else:
            shard.make(settings, extractor, features, own, progress)


def _recordings(data: Path) -> dict[str, RecordingSegment]:
    if (data / SOURCE).exists():
        raise DataError(
            f"{data}: is a view on {(data / SOURCE).read_text(encoding='utf-8').strip()}; make features there"
        )
    return read_recordings(data)


def _record(features: FeatureSet, extractor: Extractor) -> dict[str, Any]:
    """All that the values depend on besides the recordings, as JSON gives it back."""
    record: dict[str, Any] = json.loads(json.dumps({**features.to_dict(), "versions": extractor.versions}))
    return record


def _is_same(folder: Path, settings: Mapping[str, Any], own: Recordings, everything: Recordings) -> bool:
    """Whether a set that is merged was made of these recordings with these settings; else a StaleError."""
    remedy = f"choose another data folder, or have them made again: rm -r {shlex.quote(str(folder))}"
    if not files.is_made(folder, settings, {}, remedy=remedy):
        return False
    digests = tables.read_table(folder / DIGESTS)
    # a missing recording does not count as changed: the features can be used without it
    now = {utt: digests.get(utt, "") for utt in everything}
    now |= {utt: item.digest() for utt, item in own.items() if item.path.is_file()}
    old, new = ({"utt2spk": dict.fromkeys(table, ""), "wav.scp": table} for table in (digests, now))
    if changed := table_changes(old, new):
        raise files.made_differently(folder, changed, remedy)
    return True


def _is_complete(folder: Path) -> bool:
    """Whether the merge has ended and all that it left is there; says what is not."""
    lost = files.lost_outputs(folder)
    files.tell_lost(lost)
    return not lost and (folder / files.MADE).exists()


class Shard:
    """One job's files in ``<data>/<set>``."""

    def __init__(self, folder: Path, job: int, num_shards: int) -> None:
        """``folder`` is the set's; ``job`` counts from 1."""
        self._place = {"job": job, "num_jobs": num_shards}
        self._made = folder / f"shard.{job}"
        self._stem = folder / f"feats.{job}"
        self.scp = folder / f"feats.{job}.scp"
        self.num_frames = folder / f"{NUM_FRAMES}.{job}"
        self.digests = folder / f"{DIGESTS}.{job}"

    def settings(self) -> dict[str, Any] | None:
        """What it was made with; None when it is not made, or was a shard of another number of jobs."""
        path, remedy = self._made / files.MADE, "extract again"
        try:
            with reading.guarded(path, remedy):
                record = reading.read_json(path, remedy)["settings"]
                settings: dict[str, Any] = record["features"]
                return settings if record["place"] == self._place else None
        except DataError:
            return None

    def is_made(self, settings: Mapping[str, Any], recordings: Recordings) -> bool:
        """Whether it is complete and was made of these recordings with these settings."""
        if self.settings() != settings:
            return False
        if files.lost_outputs(self._made) or not all(os.path.exists(i.path) for i in recordings.values()):
            return False
        return tables.read_table(self.digests) == {utt: item.digest() for utt, item in recordings.items()}

    def make(
        self,
        settings: Mapping[str, Any],
        extractor: Extractor,
        features: FeatureSet,
        recordings: Recordings,
        progress: Progress,
    ) -> None:
        """Compute the features and write the files, the record last."""
        (self._made / files.MADE).unlink(missing_ok=True)
        problems: list[str] = []
        lengths: dict[str, int] = {}
        digests: dict[str, str] = {}
        with tables.ArkWriter(self._stem, features.compress) as ark:
            for utt in progress(list(recordings), features.name):
                try:
                    values = compute_file(recordings[utt], extractor, features.audio, utt)
                except DataError as error:
                    problems.append(str(error))
                    continue
                ark.write(utt, values)
                lengths[utt], digests[utt] = len(values), recordings[utt].digest()
            if problems:
                raise all_of(problems)
        outputs = [self._stem.with_name(f"{self._stem.name}.ark"), self.scp, self.digests]
        if extractor.timing is not None:
            tables.write_table(self.num_frames, lengths)
            outputs.append(self.num_frames)
        tables.write_table(self.digests, digests)
        files.write_made(self._made, {"features": settings, "place": self._place}, {}, outputs)
        log.info("%s: %d utterances", self.scp, len(digests))


# ------------------------------------------------------------------------------------------------- merging


def merge_shards(data: Path, features: FeatureSet, num_jobs: int) -> None:
    """Put the shards of a feature set together, unless that is done.

    Args:
        data: the data folder.
        features: the feature set.
        num_jobs: number of shards that were made.

    Raises:
        UsageError: no number of shards.
        DataError: shards are missing, made with other settings, or not of the folder's utterances.
    """
    check_num_jobs(num_jobs)
    recordings = _recordings(data)
    folder = data / features.name
    with files.locked(folder):
        if not list(folder.glob(f"shard.*/{files.MADE}")) and _is_complete(folder):
            log.info("%s: up to date", folder / FEATS)
            return
        num_shards = min(num_jobs, len(recordings))
        shards = [Shard(folder, job, num_shards) for job in range(1, num_shards + 1)]
        settings = _record(features, features.make())
        _check_shards(folder, shards, settings)
        merged = _merged_tables(shards, recordings, keys_of(data), frames=features.timing is not None)
        for name in (files.MADE, FEATS, NUM_FRAMES, FRAME_SHIFT):  # nothing can be read until all is written
            (folder / name).unlink(missing_ok=True)
        if features.timing is not None:
            _write(folder / FRAME_SHIFT, f"{features.timing.shift_s:g}\n")
        _write(folder / SETTINGS, config.dump(features.to_dict()))
        for name, table in merged.items():
            tables.write_table(folder / name, table)
        arks = [folder / f"feats.{job}.{kind}" for job in range(1, num_shards + 1) for kind in ("ark", "scp")]
        names = [*merged, SETTINGS, *([FRAME_SHIFT] if features.timing is not None else [])]
        files.write_made(folder, settings, {}, [*arks, *(folder / name for name in names)])
        _remove_rest(folder, num_shards)
    num_frames = sum(map(int, merged.get(NUM_FRAMES, {}).values()))
    log.info(
        "%s: %d utterances%s", folder / FEATS, len(recordings), f", {num_frames} frames" if num_frames else ""
    )


def _merged_tables(
    shards: Sequence[Shard], recordings: Recordings, keys_path: Path, *, frames: bool
) -> dict[str, dict[str, str]]:
    """The tables of a set by name, ``feats.scp`` last; each must have the keys of ``recordings``."""
    paths = {DIGESTS: [shard.digests for shard in shards]}
    if frames:
        paths[NUM_FRAMES] = [shard.num_frames for shard in shards]
    paths[FEATS] = [shard.scp for shard in shards]
    merged: dict[str, dict[str, str]] = {}
    for name, places in paths.items():
        merged[name] = {}
        for path in places:
            merged[name] |= tables.read_table(path, made_by=_STAGE)
        tables.same_keys(merged[name], places[0].parent / name, recordings, keys_path)
    return merged


def _check_shards(folder: Path, shards: Sequence[Shard], settings: Mapping[str, Any]) -> None:
    """Make sure that no shard is missing and all were made with these settings."""
    made = {job: shard.settings() for job, shard in enumerate(shards, 1)}
    missing = [str(job) for job, record in made.items() if record is None]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        noun, verb = ("shards", "are") if missing[1:] else ("shard", "is")
        names = f"{noun} {', '.join(missing[:5])}{more} of {len(shards)}"
        raise DataError(f"{folder}: {names} {verb} missing; run {_STAGE} again")
    for job, record in made.items():
        if changes := files.differences(record or {}, settings):
            raise DataError(
                f"{folder}: shard {job} was made differently: {'; '.join(changes)}; run {_STAGE} again"
            )


def _write(path: Path, text: str) -> None:
    with files.whole_file(path) as stream:
        stream.write(text)


def _remove_rest(folder: Path, num_shards: int) -> None:
    """Remove what only the merge needed, and what other numbers of jobs or killed ones left."""
    for record in folder.glob("shard.*"):
        shutil.rmtree(record)
    kept = {f"feats.{job}.{kind}" for job in range(1, num_shards + 1) for kind in ("ark", "scp")} | {FEATS}
    for pattern in ("feats.*", f"{NUM_FRAMES}.*", f"{DIGESTS}.*", ".*.part"):
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()


def make_main(data: Path, name: str) -> None:
    """Make a merged set of frames the main one of a data folder: copies of its tables under Kaldi's names.

    Copies that are right are left alone.  ``feats.scp`` is written last: nothing can be read before that.

    Raises:
        DataError: the set is not merged, or has no frames.
    """
    folder = data / name
    try:
        texts = {file: (folder / file).read_text(encoding="utf-8") for file in (NUM_FRAMES, FRAME_SHIFT)}
        texts[MAIN] = f"set: {name}\n" + (folder / SETTINGS).read_text(encoding="utf-8")
        texts[FEATS] = (folder / FEATS).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such file; make the set of frames {name} ({_STAGE})"
        ) from error
    if all(
        (data / file).is_file() and (data / file).read_text(encoding="utf-8") == texts[file] for file in texts
    ):
        return
    previous = main_set(data)
    if previous == name:
        log.warning("%s: its copies of the tables of %s are gone or others; copying them again", data, name)
    (data / FEATS).unlink(missing_ok=True)
    for file, text in texts.items():
        _write(data / file, text)
    if previous not in (None, name):
        log.info("%s: the main set is now %s, it was %s", data, name, previous)
