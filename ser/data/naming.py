"""Names of utterances in data folders: ``<speaker>-<raw id>``, the form that Kaldi's tools need.

Kaldi wants a list of utterances in byte order to be in the order of their speakers too.  A raw id is the one
in the manifests, which the corpus itself uses; ``utt2raw`` of a data folder has it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from ser.data import tables
from ser.errors import DataError, all_of, short

V = TypeVar("V")
log = logging.getLogger("ser")

RAW_IDS = "utt2raw"
SEPARATORS = "-+%"  # the usual one first, then those that sort before it


def name_utterances(speakers: Mapping[str, str], source: object) -> dict[str, str]:
    """The names of the utterances of a corpus; in byte order they are in the order of their speakers too.

    A raw id that begins with ``<speaker>-`` already is the name.  Where one speaker's name begins another's
    and goes on with ``-``, ``,`` or ``+``, another character than ``-`` stands behind speakers; it is said.

    Args:
        speakers: raw id -> speaker, all valid keys.
        source: where they are from, for messages.

    Returns:
        raw id -> name.

    Raises:
        DataError: the order of speakers cannot be kept, a name is too long, or is the raw id of another
            utterance.

    >>> name_utterances({"Ses01F_impro01_F000": "Ses01_F", "1-a": "1", "a": "10"}, "supervisions")
    {'Ses01F_impro01_F000': 'Ses01_F-Ses01F_impro01_F000', '1-a': '1-a', 'a': '10-a'}
    """
    separator = _separator(set(speakers.values()), source)
    names: dict[str, str] = {}
    problems: list[str] = []
    for raw, speaker in speakers.items():
        begin = speaker + separator
        names[raw] = name = raw if raw.startswith(begin) else begin + raw
        if name != raw and name in speakers:
            problems.append(
                f"{source}: {short(raw)} of speaker {short(speaker)} would be named {short(name)}, which is "
                "the id of another utterance; rename one of them where the corpus is prepared"
            )
        try:
            tables.check_key(name, str(source))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    return names


def _separator(speakers: set[str], source: object) -> str:
    """The first separator that sorts before whatever goes on a speaker's name in another speaker's."""
    pairs: dict[str, tuple[str, str]] = {}  # what follows the shorter name -> the first such two speakers
    for speaker in sorted(speakers):
        for end in range(1, len(speaker)):
            if speaker[:end] in speakers:
                pairs.setdefault(speaker[end], (speaker[:end], speaker))
    lowest = min(pairs, default="~")
    if lowest > SEPARATORS[0]:
        return SEPARATORS[0]
    one, two = pairs[lowest]
    separator = next((character for character in SEPARATORS if character < lowest), None)
    if separator is None:
        raise DataError(
            f"{source}: no names of utterances keep speaker {one} before speaker {two} in byte order, which "
            f"Kaldi's tools need; rename one of them, without {lowest}"
        )
    log.warning(
        "%s: speakers %s and %s: utterances are named <speaker>%s<id>, so that they sort by speaker",
        source, one, two, separator,
    )  # fmt: skip
    return separator


def utterances_by_raw_id(data: Path) -> dict[str, str]:
    """Raw id -> name of the utterance; empty if a data folder has no ``utt2raw``.

    Raises:
        DataError: the table cannot be used, or two utterances have one raw id.
    """
    path = data / RAW_IDS
    if not path.exists():
        return {}
    names: dict[str, str] = {}
    for name, raw in tables.read_table(path).items():
        if names.setdefault(raw, name) != name:
            raise DataError(
                f"{path}: {names[raw]} and {name} have the same raw id {short(raw)}; correct one, or remove "
                "the table"
            )
    return names


def by_utterance(entries: Mapping[str, V], data: Path, source: object) -> dict[str, V]:
    """Entries that somebody made for the utterances of a data folder, which may be named by their raw ids.

    Args:
        entries: name or raw id -> value; others stay as they are.
        data: the data folder.
        source: what the entries are from, for messages.

    Returns:
        name -> value.

    Raises:
        DataError: an utterance is there under both, or ``utt2raw`` of ``data`` cannot be used.
    """
    names = utterances_by_raw_id(data)
    for raw, name in names.items():
        if raw != name and raw in entries and name in entries:
            raise DataError(f"{source}: has {name} under its raw id {raw} too; keep one of them")
    return {names.get(key, key): value for key, value in entries.items()}
