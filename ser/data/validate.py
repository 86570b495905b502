"""Check a data folder: all faults of all tables at once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, TypeVar

from ser import reading
from ser.data import tables
from ser.data.datadir import MAIN, PARTIAL, SOURCE, main_set, source_of, utterance_tables
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.errors import DataError, all_of, short, shown

V = TypeVar("V")
_PLACE = re.compile(r"(:\d+)?(\[[\d:,]*\])?$")  # offset and range behind the name of an ark
_OF_STAGE_1 = {"feats.scp", "utt2num_frames"}
_SHOWN = 10_000  # problems that one error lists
_LATE_S = 0.1  # an alignment may end this much after its recording, in seconds


class Summary(NamedTuple):
    """How much a valid data folder holds."""

    num_utterances: int
    num_speakers: int


def validate(
    folder: Path, *, need: Collection[str] = ("wav.scp", "feats.scp"), features: bool = True
) -> Summary:
    """Check that a data folder is whole and its tables agree, those of its feature sets too.

    Args:
        folder: a data folder, or a view on one.
        need: tables by utterance that must exist; ``utt2spk utt2emo emotions.txt`` always must, the
            others are checked if they exist.
        features: check the tables of features too; False before stage 1, which makes them.

    Raises:
        DataError: all faults: a table is missing, unsorted, repeats or lacks utterances; a speaker list, a
            class, a number or an alignment is wrong; an audio file, an archive or the source of a view is
            gone.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: {reading.not_a_folder(folder)}; run stage 0")
    check = _Check(folder)
    utt2spk = check.read("utt2spk") or {}
    names = set(utterance_tables(folder)) | set(need) | {"utt2emo"}
    for name in sorted(names - {"utt2spk"} - (set() if features else _OF_STAGE_1)):
        check.utterance_table(name, utt2spk)
    if features:
        check.feature_sets(utt2spk)
    check.speakers(utt2spk)
    for path in sorted(folder.glob("*.ctm")):
        check.alignment(path)
    if check.problems:
        raise all_of(check.problems, _SHOWN)
    return Summary(len(utt2spk), len(set(utt2spk.values())))


class _Check:
    """Collects the faults of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.durations: dict[str, float] = {}

    def attempt(self, action: Callable[[], V]) -> V | None:
        """The result of ``action``, or None and its fault noted."""
        try:
            return action()
        except DataError as error:
            self.problems.extend(str(error).split("\n"))
            return None

    def read(self, name: str) -> dict[str, str] | None:
        return self.attempt(lambda: tables.read_table(self.folder / name, made_by="the stage that makes it"))

    def utterance_table(self, name: str, utt2spk: dict[str, str]) -> None:
        """Check a table that is keyed by utterance, and what its values must be."""
        path = self.folder / name
        if name == "utt2emo":
            emotions = self.attempt(lambda: read_emotions(self.folder / EMOTIONS))
            table = self.attempt(lambda: read_utt2emo(path, emotions)) if emotions else self.read(name)
        else:
            table = self.read(name)
        if table is None:
            return
        if utt2spk and not (name in PARTIAL and table.keys() <= utt2spk.keys()):
            self.attempt(lambda: tables.same_keys(table, path, utt2spk, self.folder / "utt2spk"))
        if path.name == "utt2dur":
            parsed = self.attempt(
                lambda: tables.convert(table, path, tables.positive_float, "<seconds above 0>")
            )
            self.durations = parsed or {}
        elif path.name == "utt2num_frames":
            self.attempt(lambda: tables.convert(table, path, tables.positive_int, "<frames above 0>"))
        elif name.endswith(".scp"):
            self.files(path, table)

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
        known: dict[str, bool] = {}
        for number, (key, place) in enumerate(table.items(), 1):
            file = place if path.name == "wav.scp" else _PLACE.sub("", place)
            if file not in known:
                known[file] = os.path.isfile(file)
            if not known[file]:
                self.problems.append(
                    f"{path}:{number}: {key}: {short(file, 1000)}: no such file; run the stage that makes it "
                    "again"
                )

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
            self.attempt(lambda: tables.same_keys(genders, path, set(utt2spk.values()), "utt2spk's speakers"))
            self.attempt(lambda: tables.convert(genders, path, _gender, "<f|m>"))

    def alignment(self, path: Path) -> None:
        """Check the lines of a ctm: order, numbers, and that they lie inside the utterance."""
        last = ("", 0.0)
        text = self.attempt(lambda: reading.read_text(path, "run stage 0 again")) or ""
        for number, line in enumerate(text.splitlines(), 1):
            row = line.split(" ")
            try:
                name, start, length = row[0], float(row[2]), float(row[3])
                if len(row) != 5 or not (0 <= start < math.inf and 0 < length < math.inf):
                    raise ValueError(line)
            except (ValueError, IndexError):
                self.problems.append(
                    f"{path}:{number}: expected '<utterance> 1 <start s> <duration s> <symbol>', "
                    f"got {shown(line)}; run stage 0 again"
                )
                continue
            if (name, start) < last:
                self.problems.append(
                    f"{path}:{number}: {name} at {start} s is not in order; run stage 0 again"
                )
            if self.durations and start + length > self.durations.get(name, 0.0) + _LATE_S:
                self.problems.append(
                    f"{path}:{number}: {name} ends at {start + length:.3f} s, "
                    f"utt2dur says {self.durations.get(name, 'nothing')}; run stage 0 again"
                )
            last = (name, start)


def _gender(text: str) -> str:
    if text not in ("f", "m"):
        raise ValueError(text)
    return text
