"""What the columns of a table of recordings mean, and which of them look like a setting and are none."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ser.errors import DataError, short, shown

NEEDED = ("path", "speaker", "emotion")
TIMES = ("start", "end", "duration")
KNOWN = (*NEEDED, "text", "gender", *TIMES, "fold")
SPLITS = ("split", "subset", "partition")  # taken for fold, if they hold train, dev and test
_GROUPS = ("session", "style")  # attributes that are tables of the data folder
_LEFT_OUT = "_"  # a column whose name begins so is not read

_ALIASES = {
    "path": "file filename file_name filepath file_path wav wav_path audio audio_file audio_path recording",
    "speaker": "spk speaker_id speakerid spk_id spkid subject subject_id actor actor_id participant talker",
    "emotion": "label labels emo emotion_label class category target",
    "text": "transcript transcription sentence words",
    "gender": "sex",
    "start": "begin onset offset start_time starttime start_s start_sec start_ms tmin xmin",
    "end": "stop end_time endtime end_s end_sec end_ms tmax xmax",
    "duration": "dur length duration_s duration_ms length_s",
    "fold": "set cv_fold fold_id split subset partition",
    "session": "session_id sessionid sess",
}
_MEANINGS = {alias: meaning for meaning, aliases in _ALIASES.items() for alias in aliases.split()}
_ELSEWHERE = {
    "channel channels chan": "audio.channel of corpus.yaml says which one is read, of all recordings",
    "sampling_rate sample_rate samplerate sr rate": "the rate is read from each recording",
    "lang language": "keep of corpus.yaml can choose by it",
}
_REMARKS = {alias: remark for aliases, remark in _ELSEWHERE.items() for alias in aliases.split()}


@dataclass(frozen=True)
class Columns:
    """The columns of a table."""

    width: int  # how many fields a line has
    known: dict[str, int]  # a word of KNOWN -> its place, from 0
    attributes: dict[str, int]  # any other column that is read -> its place
    unnamed: tuple[int, ...]  # places of columns without a name
    fold: str | None  # the column that stands for fold: fold itself, or one of SPLITS

    def unused(self, keep: Collection[str]) -> list[str]:
        """One line for each column that looks like a setting of the corpus and is none.

        Args:
            keep: the attributes that ``keep`` of the corpus's settings chooses by, which are used.
        """
        lines = []
        for name in self.attributes:
            plain = re.sub(r"[\W_]+", "_", name).strip("_")
            meaning = _MEANINGS.get(plain) or next(
                iter(difflib.get_close_matches(plain, KNOWN, 1, 0.8)), None
            )
            if name in keep or name in _GROUPS or (meaning is None and plain not in _REMARKS):
                continue
            if plain in _REMARKS:
                remedy = f"{_REMARKS[plain]}; "
            elif meaning in self.known or meaning in self.attributes:
                remedy = f"the table has {meaning}; "
            else:
                in_seconds = " (in seconds)" if meaning in TIMES else ""
                remedy = f"rename it to {meaning} if that is what it holds{in_seconds}; "
            lines.append(
                f"column {shown(name)} is not used: {remedy}if it is not meant, rename it to _{name}"
            )
        return lines

    def taken(self) -> str:
        """Which columns are taken for what, in a line."""
        words = [name for name in KNOWN if name in self.known and name != "fold"]
        if self.fold is not None:
            words.append(
                "fold" if self.fold == "fold" else f"{self.fold} for fold, if it is train, dev, test"
            )
        others = [name for name in self.attributes if name != self.fold]
        return ", ".join(words) + (f"; attributes {', '.join(others)}" if others else "")


def read_columns(header: Sequence[str], where: str) -> Columns:
    """What the first line of a table says.

    Args:
        header: its fields; those without a name at its end, as Excel leaves them, are none.
        where: ``<file>:<line>``.

    Raises:
        DataError: a column that is needed is missing, or one stands twice.
    """
    names = [name.strip().lower() for name in header]
    while names and not names[-1]:
        names.pop()
    if missing := [name for name in NEEDED if name not in names]:
        raise DataError(_missing(missing, names, where))
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
    return Columns(
        width=len(names),
        known={name: place for name, place in places.items() if name in KNOWN},
        attributes={name: place for name, place in places.items() if name not in KNOWN},
        unnamed=tuple(place for place, name in enumerate(names) if not name),
        fold="fold" if "fold" in places else next(iter(splits), None),
    )


def _missing(missing: Sequence[str], names: Sequence[str], where: str) -> str:
    text = (
        f"{where}: has no column {', '.join(missing)}; the first line must name path, speaker and emotion, "
        f"and may name text, gender, start, end, duration and fold (it names "
        f"{short(', '.join(filter(None, names))) or 'nothing'})"
    )
    plain = {name: re.sub(r"[\W_]+", "_", name).strip("_") for name in names}
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
