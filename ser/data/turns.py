"""What is said in utterances, in which dialogue, by whom: numbers of words, the order of turns, roles.

``text`` has ``<utterance> <words>`` lines and may lack utterances.  ``utt2dialogue`` has the dialogue of each
utterance, ``utt2turn`` a number by which those of a dialogue are in order: a count, or a time.  Where one of
them is missing, ``segments`` stands for it: a recording is a dialogue, ordered by the starts.

Shapes: N utterances of a subset.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ser.data import tables
from ser.data.datadir import source_of
from ser.data.segments import SEGMENTS, read_segments
from ser.errors import DataError, plural

Ints = npt.NDArray[np.int64]
log = logging.getLogger("ser")

TEXT, DIALOGUES, ORDER = "text", "utt2dialogue", "utt2turn"
DIALOGUE = "dialogue"  # the unit of systems that read whole dialogues
VECTORS = "vectors"  # the key of ``text`` that names a file of word vectors
NO_WORD, UNKNOWN, FIRST_WORD = 0, 1, 2  # numbers of words: padding, a word of no vocabulary, the first of one
_WORD = re.compile(r"\w+(?:['\N{RIGHT SINGLE QUOTATION MARK}-]\w+)*")


class TurnUse(NamedTuple):
    """What a system reads of turns besides features."""

    min_count: int | None = None  # how often training must say a word for it to count; None: no transcripts
    dialogues: bool = False  # whether it reads whole dialogues

    @classmethod
    def of(cls, settings: Any) -> TurnUse:
        """Those of the settings of a system, which may have ``text``, and the unit ``dialogue``."""
        text = getattr(settings, TEXT, None)
        return cls(None if text is None else text.min_count, getattr(settings, "unit", None) == DIALOGUE)

    @property
    def words(self) -> str:
        """What that is, for messages; nothing of a system that reads recordings alone."""
        parts = ["transcripts"] * (self.min_count is not None) + ["whole dialogues"] * self.dialogues
        return " and ".join(parts)

    @property
    def notes(self) -> dict[str, str]:
        """What must be said with every number of a system."""
        notes = {} if self.min_count is None else {"transcripts": "used"}
        return notes | ({"later_turns": "used"} if self.dialogues else {})


NO_TURNS = TurnUse()


def asks_for_turns(tree: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether the settings of a system, as their file has them, need transcripts, and dialogues."""
    return isinstance(tree.get(TEXT), Mapping), tree.get("unit") == DIALOGUE


def turn_files(folder: Path, tree: Mapping[str, Any]) -> dict[str, Path]:
    """The files that tell whether what a system reads of turns has changed: name -> path.

    Args:
        folder: a data folder or view.
        tree: the settings of the system, as their file has them.

    Raises:
        DataError: the folder does not have what the system reads.
    """
    text, dialogues = asks_for_turns(tree)
    files = {}
    if text:
        files[TEXT] = folder / TEXT
        if not files[TEXT].exists():
            raise DataError(
                f"{files[TEXT]}: no such file, there are no transcripts, which the system reads; give the "
                "table of the corpus a column text, or the data folder a table text (<utterance> <words>), "
                "or take them out of the system: --set text=null"
            )
    if dialogues:
        files |= {path.name: path for path in _order_tables(folder)}
    return files


def vector_files(tree: Mapping[str, Any]) -> dict[str, Path]:
    """The file of word vectors that a training begins with, if the settings of a system name one.

    Raises:
        DataError: it is not there.
    """
    text = tree.get(TEXT)
    path = text.get(VECTORS) if isinstance(text, Mapping) else None
    if not isinstance(path, str):
        return {}
    if not Path(path).exists():
        raise DataError(f"{path}: no such file; name a file of word vectors (text.vectors)")
    return {"text.vectors": Path(path)}


def _order_tables(folder: Path) -> tuple[Path, Path]:
    """The tables that say the dialogue of each utterance, and its place in that.

    Raises:
        DataError: there are none.
    """
    for name in (DIALOGUES, ORDER):
        if not (folder / name).exists() and not (folder / SEGMENTS).exists():
            raise DataError(
                f"{folder / name}: no such file, nothing says the order of dialogues, which the system reads "
                "as a whole; give the table of the corpus columns dialogue and turn, or the data folder "
                f"tables {DIALOGUES} (<utterance> <dialogue>) and {ORDER} (<utterance> <number>), or read "
                "utterances alone: --set unit=utterance"
            )
    first, second = (folder / (name if (folder / name).exists() else SEGMENTS) for name in (DIALOGUES, ORDER))
    return first, second


@dataclass(frozen=True)
class Turns:
    """What a system reads of the turns of a subset.

    Attributes:
        vocabulary: words of the training subset, from number :data:`FIRST_WORD` on; of systems without text
            none.
        words: numbers of each utterance's words, N of (W,); None without text.
        dialogues: utterances of each dialogue, in order, as rows of the subset; none without dialogues.
        roles: who of the dialogue speaks, (N,): 0 who speaks first in it, 1 the next one.
    """

    vocabulary: tuple[str, ...]
    words: list[Ints] | None
    dialogues: list[Ints]
    roles: Ints


def read_turns(
    folder: Path, speakers: Mapping[str, str], use: TurnUse, vocabulary: Sequence[str] | None = None
) -> Turns | None:
    """Read what a system reads of the turns of a subset; None if that is nothing.

    Args:
        folder: the subset's.
        speakers: utterance -> speaker, in the order of the subset.
        use: what the system reads.
        vocabulary: of the training subset; None: this is it.

    Raises:
        DataError: the folder does not have it, or a table is damaged.
    """
    if not use.words:
        return None
    words, known = None, tuple(vocabulary or ())
    if use.min_count is not None:
        said = _read_words(folder, speakers)
        known = make_vocabulary(said, use.min_count) if vocabulary is None else known
        index = {word: number for number, word in enumerate(known, FIRST_WORD)}
        words = [np.array([index.get(word, UNKNOWN) for word in each], dtype=np.int64) for each in said]
    dialogues = _read_dialogues(folder, list(speakers)) if use.dialogues else []
    return Turns(known, words, dialogues, _roles(list(speakers.values()), dialogues))


def words_of(text: str) -> list[str]:
    """The words of a transcript, in lower case, without punctuation.

    >>> words_of("Well, I don't know... SO-so!")
    ['well', 'i', "don't", 'know', 'so-so']
    """
    return _WORD.findall(text.casefold())


def make_vocabulary(said: Iterable[Sequence[str]], min_count: int) -> tuple[str, ...]:
    """The words that are said often enough, sorted.

    >>> make_vocabulary([["so", "be", "it"], ["so", "it", "is"]], 2)
    ('it', 'so')
    """
    counts = Counter(word for words in said for word in words)
    return tuple(sorted(word for word, count in counts.items() if count >= min_count))


def _read_words(folder: Path, utterances: Iterable[str]) -> list[list[str]]:
    """The words of each utterance; none of those that the table lacks."""
    texts = tables.read_table(folder / TEXT, made_by="stages 0 and 2")
    return [words_of(texts.get(name, "")) for name in utterances]


def _read_dialogues(folder: Path, utterances: Sequence[str]) -> list[Ints]:
    """The rows of each dialogue, in order; dialogues in that of their names."""
    names_path, order_path = _order_tables(folder)
    dialogues, orders = _read_names(names_path), _read_order(order_path)
    tables.same_keys(dialogues, names_path, utterances, folder / "utt2spk")
    tables.same_keys(orders, order_path, utterances, folder / "utt2spk")
    members: dict[str, list[tuple[float, str, int]]] = defaultdict(list)
    for row, name in enumerate(utterances):
        members[dialogues[name]].append((orders[name], name, row))
    _tell_cut(folder, {name: len(turns) for name, turns in members.items()})
    return [np.array([row for *_, row in sorted(members[name])], dtype=np.int64) for name in sorted(members)]


def _read_names(path: Path) -> dict[str, str]:
    """Utterance -> its dialogue, of the first table of :func:`_order_tables`."""
    if path.name == DIALOGUES:
        return tables.read_table(path)
    return {name: line.recording for name, line in read_segments(path).items()}


def _read_order(path: Path) -> dict[str, float]:
    """Utterance -> the number that tells its place in the dialogue, of the second table."""
    if path.name == ORDER:
        return tables.convert(tables.read_table(path), path, _finite, "<number>")
    return {name: line.start_s for name, line in read_segments(path).items()}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _tell_cut(folder: Path, sizes: Mapping[str, int]) -> None:
    """Warn of dialogues of which the folder that a subset is a view of has more turns."""
    if source_of(folder) == folder:
        return
    whole = Counter(_read_names(_order_tables(source_of(folder))[0]).values())
    cut = [name for name, size in sizes.items() if whole[name] > size]
    if cut:
        lost = sum(whole[name] - sizes[name] for name in cut)
        log.warning(
            "%s: of %s of %d other subsets have turns, %s, which are not read as context; a protocol with "
            "group: session keeps dialogues whole",
            folder, plural(len(cut), "dialogue"), len(sizes), plural(lost, "turn"),
        )  # fmt: skip


def _roles(speakers: Sequence[str], dialogues: Iterable[Ints]) -> Ints:
    """Who of its dialogue speaks in each utterance, (N,), counted as they first speak."""
    roles = np.zeros(len(speakers), dtype=np.int64)
    for rows in dialogues:
        order: dict[str, int] = {}
        for row in rows.tolist():
            roles[row] = order.setdefault(speakers[row], len(order))
    return roles
