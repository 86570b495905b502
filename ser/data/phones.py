"""Phone sets: what kind of sound each symbol of an alignment is (``conf/phones.yaml``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ser import config
from ser.data.manifests import Segment
from ser.errors import DataError, short

KINDS = ("vowel", "consonant", "silence", "filler")


@dataclass(frozen=True)
class PhoneSet:
    """The symbols of one corpus's alignments by kind; a symbol that is in none of them is an error."""

    name: str  # of the phone set
    vowel: tuple[str, ...]  # its symbols
    consonant: tuple[str, ...]  # its symbols
    silence: tuple[str, ...]  # pauses; the first stands for one in phone models
    filler: tuple[str, ...]  # laughter, breath and other sounds that are no speech
    parts: dict[
        str, tuple[str, ...]
    ]  # phone -> what it may be cut into, in order: closure, burst, aspiration
    silence_words: tuple[str, ...]  # words that are silence
    filler_words: tuple[str, ...]  # words that are fillers

    def __post_init__(self) -> None:
        """Refuse a symbol of two kinds, and parts of what is no phone."""
        counts = Counter(phone for kind in KINDS for phone in getattr(self, kind))
        if twice := [phone for phone, number in counts.items() if number > 1]:
            raise ValueError(f"vowel, consonant, silence and filler: {', '.join(twice)} appears twice")
        for phone in self.parts:
            if phone not in counts:
                raise ValueError(f"parts: {phone} is no vowel, consonant, silence or filler")

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Phone -> kind; parts that are no phones by themselves are of their phone's kind."""
        kinds = {phone: kind for kind in KINDS for phone in getattr(self, kind)}
        whole = dict(kinds)
        for phone, parts in self.parts.items():
            for part in parts:
                kinds.setdefault(part, whole[phone])
        return kinds

    @cached_property
    def wholes(self) -> dict[str, str]:
        """Part -> the phone it belongs to, the first one that lists it."""
        return {part: phone for phone, parts in reversed(self.parts.items()) for part in parts}

    def check(self, phones: Iterable[str], where: object) -> None:
        """Make sure that all phones are known.

        Raises:
            DataError: some are unknown; they are named, with their counts.
        """
        counts = Counter(phone for phone in phones if phone not in self.kinds)
        if counts:
            named = ", ".join(f"{short(phone)} ({number})" for phone, number in sorted(counts.items())[:50])
            named += f" and {len(counts) - 50} more" if len(counts) > 50 else ""
            raise DataError(
                f"{where}: phones that the phone set {self.name} does not have: {named}; "
                "add them to vowel, consonant, silence or filler in conf/phones.yaml"
            )

    def kind(self, phone: str) -> str:
        """``vowel``, ``consonant``, ``silence`` or ``filler``.

        Raises:
            DataError: the phone is in none of them.
        """
        self.check([phone], "the alignment")
        return self.kinds[phone]

    def word_kind(self, word: str) -> str:
        """``word``, ``silence`` or ``filler``."""
        if word in self.silence_words:
            return "silence"
        return "filler" if word in self.filler_words else "word"

    def merge(self, segments: Sequence[Segment]) -> list[Segment]:
        """Join parts that follow one another in their phone's order to that phone.

        >>> german = PhoneSet("german", ("a",), ("t",), (), (), {"t": ("t", "!t", "tasp")}, (), ())
        >>> german.merge([("t", 0.0, 0.25), ("!t", 0.25, 0.25), ("a", 0.5, 0.25), ("!t", 0.75, 0.125)])
        [('t', 0.0, 0.5), ('a', 0.5, 0.25), ('t', 0.75, 0.125)]
        >>> german.merge([("t", 0.0, 0.25), ("t", 0.25, 0.25), ("!t", 0.5, 0.125), ("!t", 0.625, 0.125)])
        [('t', 0.0, 0.25), ('t', 0.25, 0.5)]
        """
        merged: list[Segment] = []
        rest: tuple[str, ...] = ()  # parts that may still come of the last phone
        for symbol, start, length in segments:
            if merged and symbol in rest and start - sum(merged[-1][1:]) < 1e-3:
                phone, begin, _ = merged.pop()
                merged.append((phone, begin, start + length - begin))
                rest = rest[rest.index(symbol) :]  # a burst may come twice
                continue
            phone = self.wholes.get(symbol, symbol)
            parts = self.parts.get(phone, ())
            rest = parts[parts.index(symbol) + 1 :] if symbol in parts else ()
            merged.append((phone, start, length))
        return merged


def load_phones(path: Path) -> PhoneSet:
    """Read ``conf/phones.yaml``.

    Raises:
        ConfigError: a key is missing, unknown or of another type, or a symbol is of two kinds.
    """
    return config.load(PhoneSet, path)
