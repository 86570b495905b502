"""Check a data folder: all faults of all tables at once."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from ser import reading
from ser.data import tables
from ser.data.audio_meta import AudioMeta, audio_meta
from ser.data.datadir import MAIN, PARTIAL, SOURCE, VAD_SCP, main_set, source_of, utterance_tables
from ser.data.durations import SAME_S, Shortest, read_durations, too_short
from ser.data.files import MADE
from ser.data.labels import CORRECT, EMOTIONS, read_emotions, read_utt2emo
from ser.data.naming import RAW_IDS, utterances_by_raw_id
from ser.data.segments import (
    COMMAND,
    SEGMENTS,
    RecordingSegment,
    SegmentLine,
    read_segments,
    recording_tables,
    unknown_recordings,
)
from ser.errors import DataError, all_of, short, shown

V = TypeVar("V")
log = logging.getLogger("ser")
_PLACE = re.compile(r"(:\d+)?(\[[\d:,]*\])?$")  # offset and range behind the name of an ark
_OF_STAGE_1 = {"feats.scp", "utt2num_frames", VAD_SCP}
_SHOWN = 10_000  # problems that one error lists
_LATE_S = 0.1  # an alignment may end this much after its recording, in seconds


class Summary(NamedTuple):
    """How much a valid data folder holds."""

    num_utterances: int
    num_speakers: int


def validate(
    folder: Path,
    *,
    need: Collection[str] = ("wav.scp", "feats.scp"),
    shortest: Collection[Shortest] = (),
    features: bool = True,
) -> Summary:
    """Check that a data folder is whole and its tables agree, those of its feature sets too.

    Tables that stage 0 did not make, where there is no ``made.json``, are the user's to correct.  Utterances
    that are not in the order of their speakers are warned of: only Kaldi's tools need that.

    Args:
        folder: a data folder, or a view on one.
        need: tables by utterance that must exist; ``utt2spk utt2emo emotions.txt`` always must, the
            others are checked if they exist.
        shortest: of feature sets that are to be made, the shortest utterance.
        features: check the tables of features too; False before stage 1, which makes them.

    Raises:
        DataError: all faults: a table is missing, unsorted, repeats or lacks utterances; a speaker list, a
            class, a number or an alignment is wrong; a segment is not in its recording, or too short; an
            audio file, an archive or the source of a view is gone.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: {reading.not_a_folder(folder)}; run stage 0, or make its tables")
    check = _Check(folder)
    utt2spk = check.read("utt2spk") or {}
    names = set(utterance_tables(folder)) | set(need) | {"utt2emo"}
    names |= {VAD_SCP} if (folder / VAD_SCP).exists() else set()
    names -= set() if features else _OF_STAGE_1
    by_recording = set(recording_tables(folder))
    if (folder / SEGMENTS).exists():
        by_recording |= names & {"wav.scp"}
    for name in sorted(names - {"utt2spk"} - by_recording):
        check.utterance_table(name, utt2spk)
    check.recordings(by_recording)
    durations_path = folder / ("utt2dur" if check.durations else SEGMENTS)
    check.problems += too_short(check.durations or check.lengths, shortest, durations_path)
    if features:
        check.feature_sets(utt2spk)
    check.speakers(utt2spk)
    if (folder / RAW_IDS).exists():
        check.attempt(lambda: utterances_by_raw_id(folder))
    for path in sorted(folder.glob("*.ctm")):
        check.alignment(path)
    if check.problems:
        raise all_of(check.problems, _SHOWN)
    _warn_of_order(folder / "utt2spk", utt2spk)
    return Summary(len(utt2spk), len(set(utt2spk.values())))


def _warn_of_order(path: Path, utt2spk: dict[str, str]) -> None:
    """Say it if a list of utterances in byte order is not in the order of their speakers."""
    for (one, first), (two, second) in pairwise(utt2spk.items()):
        if second < first:
            log.warning(
                "%s: %s of speaker %s comes after %s of speaker %s; the recipe takes that, Kaldi's own tools "
                "do not: they need utterances that sort by speaker, such as %s-%s",
                path, two, second, one, first, second, two,
            )  # fmt: skip
            return


class _Check:
    """Collects the faults of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_made = (folder / MADE).exists() or (folder / SOURCE).exists()  # else the user's own tables
        self.remedy = "run stage 0 again" if self.is_made else CORRECT
        self.problems: list[str] = []
        self.durations: dict[str, float] = {}  # of utt2dur
        self.segments: dict[str, SegmentLine] = {}
        self.metas: dict[str, AudioMeta] = {}  # of the recordings that have segments
        self.lengths: dict[str, float] = {}  # of the segments, in seconds

    def attempt(self, action: Callable[[], V]) -> V | None:
        """The result of ``action``, or None and its fault noted."""
        try:
            return action()
        except DataError as error:
            self.problems.extend(str(error).split("\n"))
            return None

    def read(self, name: str) -> dict[str, str] | None:
        made_by = "the stage that makes it" if self.by_stage(name) else ""
        return self.attempt(lambda: tables.read_table(self.folder / name, made_by=made_by))

    def by_stage(self, name: str) -> bool:
        """Whether a stage makes the table."""
        return self.is_made or name in _OF_STAGE_1 or "/" in name

    def same_keys(
        self, table: Collection[str], name: str, second: Collection[str], second_name: object
    ) -> None:
        """Check that a table has the keys of another one."""
        remedy = (
            {} if self.by_stage(name) else {"remedy": "add what is missing, or take out what is too much"}
        )
        self.attempt(lambda: tables.same_keys(table, self.folder / name, second, second_name, **remedy))

    def utterance_table(self, name: str, utt2spk: dict[str, str]) -> None:
        """Check a table that is keyed by utterance, and what its values must be."""
        path = self.folder / name
        if name == "utt2emo":
            by = "stage 0" if self.is_made else ""
            emotions = self.attempt(lambda: read_emotions(self.folder / EMOTIONS, made_by=by))
            known = self.attempt(lambda: read_utt2emo(path, emotions, made_by=by)) if emotions else None
            table = known if emotions else self.read(name)
        elif name == SEGMENTS:
            self.segments = self.attempt(lambda: read_segments(path)) or {}
            table = {utt: item.recording for utt, item in self.segments.items()} or None
        else:
            table = self.read(name)
        if table is None:
            return
        if utt2spk and not (name in PARTIAL and table.keys() <= utt2spk.keys()):
            self.same_keys(table, name, utt2spk, self.folder / "utt2spk")
        if path.name == "utt2dur":
            self.durations = self.attempt(lambda: read_durations(path)) or {}
        elif path.name == "utt2num_frames":
            self.attempt(lambda: tables.convert(table, path, tables.positive_int, "<frames above 0>"))
        elif name.endswith(".scp"):
            self.files(path, table)

    def recordings(self, names: Collection[str]) -> None:
        """Check the tables that are keyed by recording, and the segments against the recordings."""
        path = self.folder / SEGMENTS
        recordings = {item.recording for item in self.segments.values()}
        found = {name: self.read(name) or {} for name in sorted(names)}
        for name, table in found.items():
            if table and recordings:
                self.same_keys(table, name, recordings, path)
        wavs = found.get("wav.scp", {})
        self.files(self.folder / "wav.scp", wavs)
        reco2dur = self.folder / "reco2dur"
        stated = self.attempt(lambda: read_durations(reco2dur)) if found.get(reco2dur.name) else None
        for name in sorted(recordings & wavs.keys()):
            meta = self.attempt(partial(audio_meta, Path(wavs[name]))) if os.path.isfile(wavs[name]) else None
            if meta is not None:
                self.metas[name] = meta
                self.same_time(reco2dur, stated or {}, name, meta.num_samples / meta.sampling_rate_hz)
        if wavs:
            self.problems += unknown_recordings(self.segments, wavs, path)
        self.times(path, wavs)

    def times(self, path: Path, wavs: Mapping[str, str]) -> None:
        """Check that each segment lies within its recording and lasts as long as ``utt2dur`` says."""
        for number, (utt, item) in enumerate(self.segments.items(), 1):
            meta = self.metas.get(item.recording)
            if meta is None:
                continue
            segment = RecordingSegment(Path(wavs[item.recording]), item.start_s, item.end_s)
            try:
                first, end = segment.span(meta.num_samples, meta.sampling_rate_hz)
            except DataError as error:
                self.problems.append(f"{path}:{number}: {utt}: {error}")
                continue
            self.lengths[utt] = (end - first) / meta.sampling_rate_hz
            self.same_time(self.folder / "utt2dur", self.durations, utt, self.lengths[utt])

    def same_time(self, path: Path, stated_s: Mapping[str, float], key: str, real_s: float) -> None:
        """Check a duration of a table."""
        if key in stated_s and abs(stated_s[key] - real_s) > SAME_S:
            line = list(stated_s).index(key) + 1
            self.problems.append(
                f"{path}:{line}: {key}: says {stated_s[key]:g} s, it lasts {real_s:g} s; correct it"
            )

    def feature_sets(self, utt2spk: dict[str, str]) -> None:
        """Check the tables of all feature sets, and what is said of the main one and of the source."""
        for path in sorted(self.folder.glob("*/settings.yaml")):
            self.utterance_table(f"{path.parent.name}/feats.scp", utt2spk)
            if (path.parent / "utt2num_frames").exists():
                self.utterance_table(f"{path.parent.name}/utt2num_frames", utt2spk)
        main = self.attempt(lambda: main_set(self.folder))
        source = source_of(self.folder)
        if not os.path.isdir(source):
            self.problems.append(
                f"{self.folder / SOURCE}: names {short(str(source), 1000)}, which is no folder; run stage 2 "
                "again, elsewhere"
            )
        elif main is not None and not os.path.exists(source / main / "settings.yaml"):
            self.problems.append(
                f"{self.folder / MAIN}: names the set {main}, which {source} does not have; run stage 1 again"
            )

    def files(self, path: Path, table: dict[str, str]) -> None:
        """Check that the files an scp names exist; each is looked up once."""
        by_stage = self.by_stage(str(path.relative_to(self.folder)))
        remedy = "run the stage that makes it again" if by_stage else "put it there, or correct the path"
        known: dict[str, bool] = {}
        for number, (key, place) in enumerate(table.items(), 1):
            file = place if path.name == "wav.scp" else _PLACE.sub("", place)
            if file.endswith("|") and path.name == "wav.scp":
                self.problems.append(f"{path}:{number}: {key}: {short(file, 1000)}: {COMMAND}")
                continue
            if file not in known:
                known[file] = os.path.isfile(file)
            if not known[file]:
                self.problems.append(f"{path}:{number}: {key}: {short(file, 1000)}: no such file; {remedy}")

    def speakers(self, utt2spk: dict[str, str]) -> None:
        """Check spk2utt and spk2gender against utt2spk."""
        spk2utt = self.read("spk2utt") if (self.folder / "spk2utt").exists() else None
        if spk2utt is not None and utt2spk:
            listed = [(name, speaker) for speaker, names in spk2utt.items() for name in names.split()]
            if len(listed) != len(utt2spk) or dict(listed) != utt2spk:
                self.problems.append(
                    f"{self.folder / 'spk2utt'}: is not utt2spk turned round; remove it or make it from that"
                )
        path = self.folder / "spk2gender"
        genders = self.read(path.name) if path.exists() else None
        if genders is not None:
            self.same_keys(genders, path.name, set(utt2spk.values()), "utt2spk's speakers")
            self.attempt(lambda: tables.convert(genders, path, _gender, "<f|m>"))

    def alignment(self, path: Path) -> None:
        """Check the lines of a ctm: order, numbers, and that they lie inside the utterance."""
        last = ("", 0.0)
        text = self.attempt(lambda: reading.read_text(path, self.remedy)) or ""
        for number, line in enumerate(text.splitlines(), 1):
            row = line.split(" ")
            try:
                name, start, length = row[0], float(row[2]), float(row[3])
                if len(row) != 5 or not (0 <= start < math.inf and 0 < length < math.inf):
                    raise ValueError(line)
            except (ValueError, IndexError):
                self.problems.append(
                    f"{path}:{number}: expected '<utterance> 1 <start s> <duration s> <symbol>', "
                    f"got {shown(line)}; {self.remedy}"
                )
                continue
            if (name, start) < last:
                self.problems.append(f"{path}:{number}: {name} at {start} s is not in order; {self.remedy}")
            if self.durations and start + length > self.durations.get(name, 0.0) + _LATE_S:
                self.problems.append(
                    f"{path}:{number}: {name} ends at {start + length:.3f} s, "
                    f"utt2dur says {self.durations.get(name, 'nothing')}; {self.remedy}"
                )
            last = (name, start)


def _gender(text: str) -> str:
    if text not in ("f", "m"):
        raise ValueError(text)
    return text
