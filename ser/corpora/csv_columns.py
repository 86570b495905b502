"""What the columns of a table of recordings mean, and which of them look like a setting and are none."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from ser.errors import DataError, short, shown

NEEDED = ("path", "speaker", "emotion")
TIMES = ("start", "end", "duration")
KNOWN = (*NEEDED, "text", "gender", *TIMES, "fold")
SPLITS = ("split", "subset", "partition")  # taken for fold, if they hold train, dev and test, ...
_VAGUE_SPLITS = ("set", "usage")  # ... and so are these, where the table has none of those
_GROUPS = ("session", "style")  # attributes that are tables of the data folder
_LEFT_OUT = "_"  # a column whose name begins so is not read

_ALIASES = {
    "path": "file filename file_name filepath file_path wav wav_path audio audio_file audio_path recording",
    "speaker": "spk speaker_id speakerid spk_id spkid subject subject_id actor actor_id participant talker",
    "emotion": "label labels emo emotion_label class category target",
    "text": "transcript transcription sentence words",
    "gender": "sex",
    "start": "starttime stime tmin xmin timestamp",
    "end": "endtime etime tmax xmax to to_s to_sec to_ms to_time",
    "duration": "dur length duration_s duration_ms length_s",
    "fold": "set split subset partition",
    "session": "session_id sessionid sess",
}
_MEANINGS = {alias: meaning for meaning, aliases in _ALIASES.items() for alias in aliases.split()}
_PART_ALIASES = {  # words that tell the meaning of a name that they are a part of, such as segment_begin
    "start": "start begin onset from",
    "end": "end stop",
    "fold": "fold cv usage",
}
_PARTS = {alias: meaning for meaning, aliases in _PART_ALIASES.items() for alias in aliases.split()}
_ELSEWHERE = {
    "sampling_rate sample_rate samplerate sr rate": "the rate is read from each recording",
    "lang language": "keep of corpus.yaml can choose by it",
}
_REMARKS = {alias: remark for aliases, remark in _ELSEWHERE.items() for alias in aliases.split()}
_PARTS_ELSEWHERE = {
    "channel channels chan chn": "audio.channel of corpus.yaml says which one is read, of all recordings",
    "segment seg sample samples frame frames": "two of start, end and duration (in seconds) say which part "
    "of a recording is meant",
}
_PART_REMARKS = {alias: remark for aliases, remark in _PARTS_ELSEWHERE.items() for alias in aliases.split()}


@dataclass(frozen=True)
class Columns:
    """The columns of a table."""

    width: int  # how many fields a line has
    known: dict[str, int]  # a word of KNOWN -> its place, from 0
    attributes: dict[str, int]  # any other column that is read -> its place
    unnamed: tuple[int, ...]  # places of columns without a name
    fold: str | None  # the column that stands for fold: fold itself, or one that may hold a split

    def unused(self, keep: Collection[str]) -> list[str]:
        """One line for each column that looks like a setting of the corpus and is none.

        Args:
            keep: the attributes that ``keep`` of the corpus's settings chooses by, which are used.
        """
        others = [name for name in self.attributes if name not in keep and name not in _GROUPS]
        return [
            f"column {shown(name)} is not used: {remedy}; if it is not meant, rename it to _{name}"
            for name in others
            if (remedy := self._remedy(name))
        ]

    def _remedy(self, name: str) -> str:
        """What to do about an attribute that looks like a setting; nothing if it does not."""
        plain = _plain(name)
        if plain == "offset" and "start" not in self.known:  # of an onset the end, of a duration the start
            if any(_meaning(other) == "start" for other in self.attributes if other != name):
                return "rename it to end if that is what it holds (in seconds)"
            return "rename it to start if the utterance starts there, or to end if it ends there (in seconds)"
        meaning = "end" if plain == "offset" else _meaning(name)
        if meaning is None:
            remarks = (_PART_REMARKS[part] for part in plain.split("_") if part in _PART_REMARKS)
            return _REMARKS.get(plain) or next(remarks, "")
        if meaning in self.known or meaning in self.attributes:
            return f"the table has {meaning}"
        return f"rename it to {meaning} if that is what it holds{' (in seconds)' if meaning in TIMES else ''}"

    def taken(self) -> str:
        """Which columns are taken for what, in a line."""
        words = [name for name in KNOWN if name in self.known and name != "fold"]
        if self.fold is not None:
            words.append(
                "fold" if self.fold == "fold" else f"{self.fold} for fold, if it is train, dev, test"
            )
        others = [name for name in self.attributes if name != self.fold]
        return ", ".join(words) + (f"; attributes {', '.join(others)}" if others else "")


def _plain(name: str) -> str:
    """The words of a column's name, with ``_`` between them."""
    return re.sub(r"[\W_]+", "_", name).strip("_")


def _meaning(name: str) -> str | None:
    """The word of KNOWN (or session) that a column's name may stand for."""
    plain = _plain(name)
    if plain in _MEANINGS or plain in _REMARKS:
        return _MEANINGS.get(plain)
    near = difflib.get_close_matches(plain, KNOWN, 1, 0.8)
    return next(chain(near, (_PARTS[part] for part in plain.split("_") if part in _PARTS)), None)


def read_columns(
    header: Sequence[str],
    where: str,
    needed: Sequence[str] = NEEDED,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Columns:
    """What the first line of a table says.

    Args:
        header: its fields; those without a name at its end, as Excel leaves them, are none.
        where: ``<file>:<line>``.
        needed: the columns that it must have.
        aliases: other names that columns may have -> theirs; of no effect where that one stands too.

    Raises:
        DataError: a column that is needed is missing, or one stands twice.
    """
    names = [name.strip().lower() for name in header]
    while names and not names[-1]:
        names.pop()
    names = [name if aliases.get(name, name) in names else aliases[name] for name in names]
    if missing := [name for name in needed if name not in names]:
        raise DataError(_missing(missing, names, where, needed))
    named = [name for name in names if name]
    twice = sorted(name for name, count in Counter(named).items() if count > 1)
    if twice:
        raise DataError(f"{where}: names the column {short(twice[0])} twice; rename one of them")
    places = {name: place for place, name in enumerate(names) if name and not name.startswith(_LEFT_OUT)}
    splits = [name for name in SPLITS if name in places and "fold" not in places]
    if len(splits) > 1:
        raise DataError(
            f"{where}: has the columns {' and '.join(splits)}; rename the one that divides the corpus to "
            f"fold, and the other to _{splits[1]}"
        )
    if not splits and "fold" not in places:
        splits = [name for name in _VAGUE_SPLITS if name in places]
    return Columns(
        width=len(names),
        known={name: place for name, place in places.items() if name in KNOWN},
        attributes={name: place for name, place in places.items() if name not in KNOWN},
        unnamed=tuple(place for place, name in enumerate(names) if not name),
        fold="fold" if "fold" in places else next(iter(splits), None),
    )


def _missing(missing: Sequence[str], names: Sequence[str], where: str, needed: Sequence[str]) -> str:
    must = " and ".join(filter(None, (", ".join(needed[:-1]), needed[-1])))
    may = "text, gender, start, end, duration and fold"
    text = (
        f"{where}: has no column {', '.join(missing)}; the first line must name {must}, and may name "
        f"{may if needed == NEEDED else 'others'} (it names "
        f"{short(', '.join(filter(None, names))) or 'nothing'})"
    )
    plain = {name: _plain(name) for name in names}
    hints = [
        f"rename {short(name)} to {meaning}"
        for meaning in missing
        for name in names
        if _MEANINGS.get(plain[name]) == meaning or difflib.get_close_matches(plain[name], [meaning], 1, 0.8)
    ]
    if not hints and list(missing) == ["speaker"]:
        hints = [
            "where nobody knows who speaks, give every line the same speaker, and take --protocol "
            "kfold_utterances"
        ]
    return "; ".join([text, *hints])
