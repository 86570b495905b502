"""Any lhotse manifests as a corpus: recordings and supervisions, or cuts, whatever recipe made them.

The emotion is ``custom["emotion"]`` of a supervision (or of its cut), or the field that ``fields`` of the
settings names.  What else is one value in ``custom`` can be chosen by with ``keep``; ``session`` and ``fold``
are groups of a protocol.  Supervisions that are parts of a recording stay that.  What has a meaning that
cannot be kept (sound that is transformed, mixed, or not in a file) is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.supervision import AlignmentItem

from ser.corpora.base import Corpus
from ser.corpora.lhotse_files import Faults, Manifests, read_manifest_files, safe_key
from ser.corpora.recordings import make_recordings
from ser.data.corpus import CorpusConfig, Field
from ser.data.files import file_digest
from ser.errors import DataError

log = logging.getLogger("ser")

_GROUPS: tuple[Field, ...] = ("emotion", "session", "fold")  # what custom of a written supervision has
_TIERS = {"phone": "phone", "phones": "phone", "phoneme": "phone", "phonemes": "phone"}
_TIERS |= {"word": "word", "words": "word", "syllable": "syllable", "syllables": "syllable"}
_CLOSE_S = 0.01  # a supervision may end this much behind its recording
_SAME_S = 0.1  # how much a decoder's length may differ from the manifest's
_SAVE = "write the sound to files first: cuts.save_audios(folder) of lhotse gives cuts of them"


def prepare_lhotse(
    manifests: Path, *, config: CorpusConfig, num_jobs: int = 1
) -> dict[str, RecordingSet | SupervisionSet]:
    """Turn lhotse manifests into those of this recipe.

    Args:
        manifests: a folder with recordings and supervisions, or cuts, in any number of files ``*.jsonl`` or
            ``*.jsonl.gz``, whatever their names; or one file of supervisions (whose recordings are beside it)
            or cuts.
        config: ``fields`` says where emotion, speaker, session and fold are, if not under their names;
            ``audio.channel`` must be that of the supervisions.
        num_jobs: headers read at a time.

    Returns:
        ``"recordings"`` and ``"supervisions"``, sorted by id.  A recording that is one utterance as a whole
        has the id of that utterance.

    Raises:
        DataError: files that are missing or no manifests; supervisions without speaker or recording, outside
            it, or of several channels; recordings that are missing or damaged, transformed, mixed, or no
            files.  Each kind is one line, with the first places.
    """
    files = read_manifest_files(manifests)
    faults = Faults()
    _tell_parts(files, config)
    labelled = _labelled(files, config)
    utterances = [_utterance(item, files, config, faults) for item in labelled]
    sounds = _sounds(files, [item for item in utterances if item], config, faults)
    faults.raise_if_any()
    headers, damaged = make_recordings({name: path for name, (path, _) in sounds.items()}, num_jobs)
    found = {item.id: item for item in headers}
    for name, message in damaged.items():
        path, recording = sounds[name]
        faults.add(recording["where"], str(path), message.removeprefix(f"{path}: "))
    for item in utterances:
        if item and item["sound"] in found:
            _fit(item, found[item["sound"]], config, faults)
    faults.raise_if_any()
    _tell_unused(labelled, config)
    return _as_sets([item for item in utterances if item], found)


def state_digest(manifests: Path) -> str:
    """SHA-256 of the manifests' bytes, and of the sizes and times of the recordings that they name."""
    files = read_manifest_files(manifests)
    digest = hashlib.sha256()
    for path in files.paths:
        digest.update(file_digest(path).encode())
    for recording in files.recordings.values():
        for source in recording["sources"]:
            try:
                state = os.stat(files.place_of(source["source"], recording["where"]))
                digest.update(f"{state.st_size} {state.st_mtime_ns}\n".encode())
            except (OSError, TypeError):
                digest.update(b"missing\n")
    return digest.hexdigest()[:16]


# ------------------------------------------------------------------------------------------- supervisions


def _field(item: Mapping[str, Any], name: Field, config: CorpusConfig) -> str:
    """A field of a supervision, from where ``fields`` of the settings says: in ``custom``, or beside it."""
    key = (config.fields or {}).get(name, name)
    value = (item.get("custom") or {}).get(key)
    value = item.get(key) if value is None else value
    return "" if value is None or isinstance(value, (dict, list)) else " ".join(str(value).split())


def _labelled(files: Manifests, config: CorpusConfig) -> list[dict[str, Any]]:
    """The supervisions that have an emotion; says how many have none.

    Raises:
        DataError: none has.
    """
    labelled = [item for item in files.supervisions if _field(item, "emotion", config)]
    if not labelled:
        names = sorted({key for item in files.supervisions for key in item.get("custom") or {}})
        key = (config.fields or {}).get("emotion", "emotion")
        known = f"custom has {', '.join(names)}" if names else "custom is empty"
        raise DataError(
            f"{files.paths[0].parent}: no supervision has {key} in custom ({known}); name the field that has "
            "the emotion: --set corpus:fields.emotion=FIELD"
        )
    if rest := len(files.supervisions) - len(labelled):
        log.warning("%s: %d supervisions without emotion are left out", files.paths[0].parent, rest)
    return labelled


def _utterance(
    item: dict[str, Any], files: Manifests, config: CorpusConfig, faults: Faults
) -> dict[str, Any] | None:
    """What is known of a supervision's utterance; None if it cannot be used."""
    where, name = item["where"], item["id"]
    recording = files.recordings.get(item["recording_id"])
    speaker = _field(item, "speaker", config)
    if recording is None:
        faults.add(where, name, "its recording is not in the manifests; put its manifest beside them")
    elif not speaker:
        fields = ", ".join(sorted(item.get("custom") or {})) or "nothing"
        faults.add(
            where,
            name,
            "has no speaker, and none may be in two subsets; name the field of custom ({}) that says it, "
            "--set corpus:fields.speaker=FIELD, or, if each recording is of another speaker, "
            "--set corpus:fields.speaker=recording_id",
            fields,
        )
    elif isinstance(item.get("channel", 0), list) and len(item["channel"]) > 1:
        faults.add(where, name, "is of several channels at once; give it one of them, the best recorded")
    else:
        custom = dict(item.get("custom") or {})
        for field in _GROUPS:
            if value := _field(item, field, config) or item.get("part" if field == "fold" else "", ""):
                custom[field] = value
        channel = item.get("channel", 0)
        channel = channel[0] if isinstance(channel, list) else channel
        return {
            **item,
            "custom": custom,
            "speaker": safe_key(speaker),
            "channel": channel,
            "recording": recording,
        }
    return None


def _sounds(
    files: Manifests, utterances: Sequence[dict[str, Any]], config: CorpusConfig, faults: Faults
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The audio files of the utterances by the ids of the recordings to write, each with its manifest."""
    channels: dict[str, set[int]] = {}
    for item in utterances:
        channels.setdefault(item["recording"]["id"], set()).add(item["channel"])
    sounds: dict[str, tuple[Path, dict[str, Any]]] = {}
    for item in utterances:
        recording, channel = item["recording"], item["channel"]
        source = next((s for s in recording["sources"] if channel in s["channels"]), None)
        fault = _sound_fault(recording, source, channel, config)
        if source is None or fault:
            faults.add(item["where"], item["id"], fault)
            continue
        several = len(recording["sources"]) > 1 and len(channels[recording["id"]]) > 1
        item["sound"] = safe_key(f"{recording['id']}-{channel}" if several else recording["id"])
        sounds[item["sound"]] = (files.place_of(source["source"], recording["where"]), recording)
    return sounds


def _sound_fault(
    recording: Mapping[str, Any], source: Mapping[str, Any] | None, channel: int, config: CorpusConfig
) -> str:
    """Why the sound of a supervision cannot be had from a file as it is; "" if it can."""
    wanted = config.audio.channel
    if _file_rate_hz(recording, config) is None:
        names = ", ".join(sorted({str(one.get("name")) for one in recording["transforms"]}))
        return f"its recording has transforms ({names}), which are not applied; {_SAVE}"
    if source is None:
        return f"is of channel {channel}, which its recording does not have; correct one of them"
    if source["type"] != "file":
        return f"its sound comes of a {source['type']}, not of a file; {_SAVE}"
    if len(source["channels"]) > 1 and str(wanted) != "mix":
        place = source["channels"].index(channel)
        if wanted != place:
            return (
                f"is of channel {place} of {len(source['channels'])}, audio.channel is "
                f"{'null' if wanted is None else wanted}; say --set corpus:audio.channel={place} if all are "
                "of that one, else write each channel to a file"
            )
    return ""


def _file_rate_hz(recording: Mapping[str, Any], config: CorpusConfig) -> int | None:
    """The sampling rate of a recording's file; None if more is done to it than what stage 1 does anyway."""
    transforms = recording.get("transforms") or []
    if not transforms:
        return int(recording["sampling_rate"])
    kwargs = transforms[0].get("kwargs", {})
    known = len(transforms) == 1 and transforms[0].get("name") == "Resample"
    if known and kwargs.get("target_sampling_rate") == config.audio.sampling_rate_hz:
        return int(kwargs["source_sampling_rate"])
    return None


def _fit(item: dict[str, Any], header: Recording, config: CorpusConfig, faults: Faults) -> None:
    """Make sure that an utterance lies in its recording, which is as the manifest says."""
    recording, start_s, length_s = item["recording"], float(item["start"]), float(item["duration"])
    rate_hz = _file_rate_hz(recording, config)
    if rate_hz != header.sampling_rate or abs(recording["duration"] - header.duration) > _SAME_S:
        claim = f"{rate_hz} Hz, {recording['duration']:.2f} s"
        file = f"{header.sampling_rate} Hz, {header.duration:.2f} s"
        what = "its recording is another one in the manifest than in the file ({}); make the manifest again"
        faults.add(item["where"], item["id"], what, f"{claim} and {file}")
    elif not (start_s >= 0 and length_s > 0 and start_s + length_s <= header.duration + _CLOSE_S):
        times = f"{start_s:g} to {start_s + length_s:g} s of {header.duration:g} s"
        faults.add(item["where"], item["id"], "is not within its recording ({}); correct its times", times)
    whole = start_s <= _CLOSE_S and start_s + length_s >= header.duration - _CLOSE_S
    item["start"] = 0.0 if whole else start_s
    item["duration"] = header.duration if whole else min(length_s, header.duration - start_s)
    item["whole"] = whole


# ------------------------------------------------------------------------------------------------- results


def _tell_parts(files: Manifests, config: CorpusConfig) -> None:
    """Say which folds the names of the files make, if nothing else says the fold."""
    parts = Counter(str(item["part"]) for item in files.supervisions)
    if any(_field(item, "fold", config) for item in files.supervisions):
        for item in files.supervisions:
            item["part"] = ""
    elif len(parts) > 1:
        folds = ", ".join(f"{part} {number}" for part, number in sorted(parts.items()))
        log.info("fold is what the names of the files say: %s (--protocol folds takes it)", folds)


def _tell_unused(items: Sequence[Mapping[str, Any]], config: CorpusConfig) -> None:
    """Say which fields and alignments nothing is made of."""
    custom = [item["custom"] for item in items if item.get("custom")]
    known = {*_GROUPS, *(config.fields or {}).values()}
    values = {key for one in custom for key, value in one.items() if isinstance(value, (str, int, float))}
    others = {key for one in custom for key, value in one.items() if isinstance(value, (dict, list))} - values
    tiers = {tier for item in items for tier in item.get("alignment") or {} if tier.lower() not in _TIERS}
    if values - known:
        log.info("fields of custom that only keep can choose by: %s", ", ".join(sorted(values - known)))
    if others:
        log.warning(
            "fields of custom that are not used, being no single values: %s", ", ".join(sorted(others))
        )
    if tiers:
        log.warning("alignments that are not used, neither of phones nor words: %s", ", ".join(sorted(tiers)))


def _as_sets(
    utterances: Sequence[Mapping[str, Any]], headers: Mapping[str, Recording]
) -> dict[str, RecordingSet | SupervisionSet]:
    counts = Counter(item["sound"] for item in utterances)
    recordings: dict[str, Recording] = {}
    supervisions: list[SupervisionSegment] = []
    for item in utterances:
        name = safe_key(item["id"])
        own = item["whole"] and counts[item["sound"]] == 1
        sound = name if own else item["sound"]
        recordings[sound] = dataclasses.replace(headers[item["sound"]], id=sound)
        supervisions.append(
            SupervisionSegment(
                id=name,
                recording_id=sound,
                start=item["start"],
                duration=item["duration"],
                channel=0,
                text=item.get("text"),
                language=item.get("language"),
                speaker=item["speaker"],
                gender=item.get("gender"),
                custom=item["custom"],
                alignment=_alignment(item.get("alignment") or {}),
            )
        )
    return {
        "recordings": RecordingSet.from_recordings(sorted(recordings.values(), key=lambda item: item.id)),
        "supervisions": SupervisionSet.from_segments(sorted(supervisions, key=lambda item: item.id)),
    }


def _alignment(tiers: Mapping[str, Any]) -> dict[str, list[AlignmentItem]] | None:
    """The tiers that have a meaning here; a row without symbol is a pause, and left out."""
    alignment = {
        _TIERS[tier.lower()]: [AlignmentItem(*row) for row in rows if str(row[0]).strip()]
        for tier, rows in tiers.items()
        if tier.lower() in _TIERS
    }
    return alignment or None


CORPUS = Corpus(prepare_lhotse, release="folder or file of lhotse manifests", state=state_digest, fields=True)
