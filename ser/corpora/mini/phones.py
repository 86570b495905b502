"""Phones: espeak-ng's mnemonics and the 52 symbols of IEMOCAP's forced alignments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ser.errors import DataError

LEXICON = Path(__file__).with_name("lexicon.txt")
SENTENCES = Path(__file__).with_name("sentences.txt")

SILENCE = "SIL"
FILLERS = frozenset({"+BREATHING+", "+GARBAGE+", "+LAUGHTER+", "+LIPSMACK+"})
VOWELS = frozenset("AA AE AH AO AW AX AXR AY EH ER EY IH IX IY OW OY UH UW".split())
CONSONANTS = frozenset("B CH D DD DH DX F G HH JH K KD L M N NG P R S SH T TD TH TS V W Y Z ZH".split())
STOPS = frozenset("P T K CH B D G JH DX".split())
NO_WORD = -1  # the word index of a silence

_FINAL = {"T": "TD", "D": "DD", "K": "KD"}  # Sphinx writes a word's last stop as a phone of its own
_STRESS = re.compile(r"^[',%=_:|!]+")

# espeak-ng 1.52, voice en-us: mnemonic without stress marks -> phones
_FROM_ESPEAK = """
a AE  aa AE  a# AX  a2 AE  A: AA  A# AA  A@ AA+R  A AA  0 AA  0# AA  02 AH
O AO  O2 AA  O: AO  O@ AO+R  o@ AO+R  oU OW  oU# OW  o OW
V AH  V# AH  E EH  E# IX  E2 EH  e@ EH+R  e EH
3 AXR  3: ER  @ AX  @2 AX  @5 AX  @L AX+L
I IH  I# IX  I2 IH  I2# IX  i IY  i: IY  i@ IY+AX  i@3 IH+R  IR IH+R
U UH  U@ UH+R  u: UW  u UW  aU AW  aU@ AW+AXR  aI AY  aI@ AY+AX  aI3 AY+AXR
eI EY  OI OY  VR ER
p P  b B  t T  t2 T  t# DX  ? T  d D  d# D  k K  g G  tS CH  dZ JH
f F  v V  T TH  D DH  s S  z Z  z# Z  S SH  Z ZH  h HH  x K  C SH
m M  m- M  n N  n- N  N NG  l L  l- L  l^ L  l# L  r R  r- R  r/ R  r2 R  R R
w W  j Y  * DX
"""
_TOKENS = _FROM_ESPEAK.split()
_ESPEAK = {name: tuple(phones.split("+")) for name, phones in zip(_TOKENS[::2], _TOKENS[1::2], strict=True)}
_ESPEAK.update({"@-": (), ";": ()})  # a vowel that is not spoken, a mark of palatalisation


@dataclass(frozen=True)
class Phone:
    """One spoken phone.

    Attributes:
        start: where it begins, in samples at 16 kHz from the start of the speech; may be fractional.
        symbol: one of the 52.
        word: index of its word in the turn, or ``NO_WORD`` for a silence.
    """

    start: float
    symbol: str
    word: int


def is_pause(mnemonic: str) -> bool:
    """Whether espeak's mnemonic stands for silence: ``_``, ``_:``, ``||`` or nothing at all.

    >>> is_pause("_:"), is_pause(""), is_pause("'oU")
    (True, True, False)
    """
    return mnemonic == "||" or (mnemonic[:1] in ("", "_") and not _STRESS.sub("", mnemonic))


def from_espeak(mnemonic: str) -> tuple[str, ...]:
    """The phones of one espeak mnemonic, stress marks dropped: none, one or two.

    >>> from_espeak("'oU"), from_espeak("A@"), from_espeak("@-")
    (('OW',), ('AA', 'R'), ())
    """
    return _ESPEAK[_STRESS.sub("", mnemonic)]


def word_allophones(phones: Sequence[Phone]) -> list[Phone]:
    """One word's phones as Sphinx writes them.

    A final T S becomes TS, a final T, D or K after another phone TD, DD or KD, and an R after a final
    rhotic vowel goes.

    >>> [p.symbol for p in word_allophones([Phone(0, s, 0) for s in ("K", "AE", "T")])]
    ['K', 'AE', 'TD']
    >>> [p.symbol for p in word_allophones([Phone(0, s, 0) for s in ("K", "AE", "T", "S")])]
    ['K', 'AE', 'TS']
    """
    *head, last = phones
    if not head:
        return [last]
    before = head[-1]
    if last.symbol == "S" and before.symbol == "T":
        return [*head[:-1], replace(before, symbol="TS")]
    if last.symbol == "R" and before.symbol in ("AXR", "ER"):
        return list(head)
    return [*head, replace(last, symbol=_FINAL.get(last.symbol, last.symbol))]


@cache
def read_lexicon() -> dict[str, tuple[str, ...]]:
    """The formant engine's lexicon: ``word`` or ``word(2)`` -> phones, ``1`` after the stressed vowel."""
    entries = (line.split() for line in _lines(LEXICON))
    return {word: tuple(phones) for word, *phones in entries}


@cache
def read_sentences() -> tuple[str, ...]:
    """The sentences to be spoken; their wording carries no emotion."""
    return tuple(_lines(SENTENCES))


def spelling(word: str) -> str:
    """A word of a sentence as it stands in the lexicon: lower case, letters and apostrophes.

    >>> spelling("Door.")
    'door'
    """
    return "".join(char for char in word.lower() if char.isalnum() or char == "'")


def variant(word: str, phones: Sequence[str]) -> str:
    """A word as it stands in a ``.wdseg``: ``THE``, or ``THE(2)`` if it is spoken by that entry.

    >>> variant("The", ["DH", "IY"]), variant("the", ["DH", "AX"])
    ('THE(2)', 'THE')
    """
    plain = spelling(word)
    for number in (2, 3):
        entry = read_lexicon().get(f"{plain}({number})", ())
        if [phone.rstrip("1") for phone in entry] == list(phones):
            return f"{plain.upper()}({number})"
    return plain.upper()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); the package is incomplete, install it again"
        ) from error
