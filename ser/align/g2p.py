"""Guessed pronunciations of English words, by espeak-ng (the optional package espeakng-loader).

It speaks each word in a process of its own, as for the embedded corpus; only the phones are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ser.corpora.mini.children import each_in_its_own
from ser.corpora.mini.design import SPEAKERS, STYLES, Style
from ser.corpora.mini.espeak import Espeak, EspeakError
from ser.corpora.mini.phones import SILENCE
from ser.errors import ConfigError

_CMUDICT = {"AX": "AH", "IX": "IH", "AXR": "ER", "DX": "T"}  # reduced sounds that CMUdict does not tell apart


def guess(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """English word -> its phones, of the 39 that CMUdict has; a word that cannot be spoken is left out.

    Raises:
        ConfigError: espeak-ng is not installed or does not work here.
    """

    def pronounce(word: str) -> tuple[str, tuple[str, ...]]:
        random = np.random.RandomState(1)
        _, phones = espeak.speak([word.lower()], next(iter(SPEAKERS.values())), Style(*STYLES["neu"]), random)
        spoken = [phone.symbol for phone in phones if phone.symbol != SILENCE]
        return word, tuple(_CMUDICT.get(symbol, symbol) for symbol in spoken)

    with tempfile.TemporaryDirectory() as folder:
        try:
            espeak = Espeak()
            espeak.start(Path(folder))
        except EspeakError as error:
            raise ConfigError(
                f"--g2p: espeak-ng, which guesses, cannot be used ({error}); run utils/install.sh "
                "--extra mini, or add the words to a lexicon"
            ) from error
        guesses = dict(each_in_its_own(pronounce, sorted(set(words)), 1))
    return {word: phones for word, phones in sorted(guesses.items()) if phones}
