"""Cuts of a data folder: recording, features and supervision of each utterance, as lhotse reads them.

lhotse's ``CutSet.from_manifests`` would drop the supervisions: those of a whole recording end some
milliseconds behind the last frame that lies wholly inside it.  Here a cut is as long as its frames, and what
is known of the utterance is cut to that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ser import config as settings_io
from ser import reading
from ser.data import members, tables
from ser.data.datadir import CUTS, MAIN, main_set
from ser.data.files import is_made, write_made
from ser.data.manifests import RECORDINGS, SUPERVISIONS, read_items
from ser.data.naming import RAW_IDS, utterances_by_raw_id

log = logging.getLogger("ser")

_FEATURE_TABLES = ("feats.scp", "utt2num_frames", "frame_shift", MAIN)


def make_cuts(manifests: Path, data: Path) -> None:
    """Write ``<data>/cuts.jsonl.gz``, a cut for each utterance, in the order of their ids.

    A cut has the utterance's id in the data folder and the manifests' recording.  Its supervision is that of
    the manifests, id and all; ``custom["emotion"]`` is the release's label, ``custom["emotion_class"]`` its
    class.  Features are those of the main set, where the folder has one, read by lhotse's Kaldi reader.

    Args:
        manifests: the folder of the manifests that ``data`` was made from; without them nothing is written.
        data: a data folder.

    Raises:
        DataError: a manifest or table cannot be used, or the manifests lack an utterance of ``data``.
    """
    sources = {name: manifests / name for name in (RECORDINGS, SUPERVISIONS)}
    if not all(path.is_file() for path in sources.values()):
        log.info("%s: no cuts for lhotse, there are no manifests in %s", data, manifests)
        return
    names = ["utt2spk", "utt2emo", *(_FEATURE_TABLES if main_set(data) is not None else ())]
    names += [RAW_IDS] if (data / RAW_IDS).exists() else []
    inputs = sources | {name: data / name for name in names}
    if is_made(data / "cuts", {}, inputs):
        log.info("%s: up to date", data / CUTS)
        return
    utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
    classes = tables.read_table(data / "utt2emo", made_by="stage 0")
    features = _read_features(data) if main_set(data) is not None else None
    recordings = {item["id"]: item for _, item in read_items(sources[RECORDINGS])}
    packed: dict[str, bytes] = {}
    for name, item in _supervisions(sources[SUPERVISIONS], data, utt2spk):
        packed[name] = members.pack(
            _cut(name, item, recordings[item["recording_id"]], classes[name], features)
        )
    tables.same_keys(packed, f"the supervisions of {manifests}", utt2spk, data / "utt2spk")
    members.write(data / CUTS, (packed[name] for name in sorted(packed)))
    write_made(data / "cuts", {}, inputs, [data / CUTS])
    log.info("%s: %d cuts", data / CUTS, len(packed))


def _supervisions(path: Path, data: Path, utt2spk: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The supervisions of a data folder's utterances, each with the utterance's id there."""
    names = utterances_by_raw_id(data)
    for _, item in read_items(path):
        name = names.get(item["id"], item["id"])
        if utt2spk.get(name) == item["speaker"]:
            yield name, item


class _Features(NamedTuple):
    """The main feature set of a data folder."""

    channel: Any  # audio.channel of conf/corpus.yaml
    num_frames: dict[str, int]  # utterance -> T
    common: dict[str, Any]  # what the features of all utterances have in common, in lhotse's words

    def manifest(self, name: str, start_s: float) -> dict[str, Any]:
        """What lhotse wants to know of the features of an utterance, which begins at ``start_s``."""
        num_frames = self.num_frames[name]
        length_s = round(num_frames * self.common["frame_shift"], 8)
        own = {"num_frames": num_frames, "start": start_s, "duration": length_s, "storage_key": name}
        return {**self.common, **own}


def _read_features(data: Path) -> _Features | None:
    """The main feature set; None if its frames are at no whole number of samples, which lhotse wants."""
    settings = settings_io.read_yaml(data / MAIN)
    rate_hz = settings["audio"]["sampling_rate_hz"]
    shift_s = tables.positive_float(reading.read_text(data / "frame_shift", "run stage 1 again"))
    hop = round(shift_s * rate_hz, 9)
    if hop != int(hop):
        what = "%s: cuts without features: a frame every %g samples is not what lhotse can describe"
        log.warning(what, data / CUTS, hop)
        return None
    path = data / "utt2num_frames"
    lengths = tables.read_table(path, made_by="stage 1")
    reader = tables.ArkReader(data / "feats.scp", made_by="stage 1")
    common = {
        "type": str(settings["set"]),
        "num_features": int(reader.read(next(iter(reader.places))).shape[1]),
        "frame_shift": shift_s,
        "sampling_rate": rate_hz,
        "storage_type": "kaldiio",  # lhotse's name for a reader of feats.scp
        "storage_path": str((data / settings["set"] / "feats.scp").resolve()),
    }
    num_frames = tables.convert(lengths, path, tables.positive_int, "<frames>")
    return _Features(settings["audio"]["channel"], num_frames, common)


def _cut(
    name: str, item: dict[str, Any], recording: dict[str, Any], emotion: str, features: _Features | None
) -> dict[str, Any]:
    """The cut of one utterance.

    It spans its frames, or, of features that are padded at the end, as much of them as there is sound.
    """
    start_s, length_s = float(item["start"]), float(item["duration"])
    channels = [channel for source in recording["sources"] for channel in source["channels"]]
    wanted = features.channel if features else None
    channel: Any = channels[0]
    if len(channels) > 1:
        channel = channels if wanted == "mix" else channels[wanted or 0]
    cut: dict[str, Any] = {"id": name, "start": start_s, "channel": channel}
    if features is not None:
        manifest = features.manifest(name, start_s)
        cut["features"] = {**manifest, "recording_id": recording["id"], "channels": channel}
        length_s = min(manifest["duration"], length_s)
        recording = _resampled(recording, features.common["sampling_rate"])
    cut["duration"] = length_s
    custom = {**(item.get("custom") or {}), "emotion_class": emotion}
    supervision = {**item, "start": 0.0, "duration": length_s, "channel": channel, "custom": custom}
    if item.get("alignment"):
        supervision["alignment"] = {
            tier: list(_within(rows, start_s, length_s)) for tier, rows in item["alignment"].items()
        }
    cut["supervisions"] = [supervision]
    cut["recording"] = recording
    cut["type"] = "MultiCut" if isinstance(channel, list) else "MonoCut"
    return cut


def _within(rows: list[list[Any]], start_s: float, length_s: float) -> Iterator[list[Any]]:
    """The rows of an alignment as far as they lie within the cut; times stay those of the recording."""
    for row in rows:
        symbol, begin_s, row_s, *score = row
        first_s = max(begin_s, start_s)
        last_s = min(begin_s + row_s, start_s + length_s)
        if first_s == begin_s and last_s == begin_s + row_s:
            yield row
        elif last_s > first_s:
            yield [symbol, round(first_s, 8), round(last_s - first_s, 8), *score]


def _resampled(recording: dict[str, Any], rate_hz: int) -> dict[str, Any]:
    """A recording that lhotse converts to ``rate_hz`` when it is loaded, if it has another rate."""
    own_hz = recording["sampling_rate"]
    if own_hz == rate_hz:
        return recording
    num_samples = int(round(recording["num_samples"] / own_hz * rate_hz, 8) + 0.5)
    kwargs = {"source_sampling_rate": own_hz, "target_sampling_rate": rate_hz}
    return {
        **recording,
        "sampling_rate": rate_hz,
        "num_samples": num_samples,
        "duration": num_samples / rate_hz,
        "transforms": [{"name": "Resample", "kwargs": kwargs}],
    }
