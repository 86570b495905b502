"""What the two engines have in common: words in, sound and phones out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ser.corpora.mini import audio
from ser.corpora.mini.design import Speaker, Style, Turn
from ser.corpora.mini.phones import NO_WORD, SILENCE, Phone, variant, word_allophones


@dataclass(frozen=True)
class Speech:
    """Spoken words.

    Attributes:
        samples: (N,) at 16 kHz, no silence around the words.
        phones: in order of time; a word's phones stand together.
        words: as they stand in a ``.wdseg``; ``Phone.word`` counts in them.
    """

    samples: audio.Samples
    phones: list[Phone]
    words: list[str]


class Engine(Protocol):
    """A synthesiser."""

    @property
    def name(self) -> str:
        """What it is and which version, as recorded with the corpus."""

    def speak(
        self, words: Sequence[str], speaker: Speaker, style: Style, random: np.random.RandomState
    ) -> tuple[audio.Samples, list[Phone]]:
        """Speak ``words`` (with their punctuation): (N,) samples at 16 kHz and the phones."""


def say(engine: Engine, turn: Turn, speaker: Speaker, style: Style, random: np.random.RandomState) -> Speech:
    """Speak a turn: its words, then the sound its tag stands for."""
    samples: audio.Samples = np.zeros(0)
    phones: list[Phone] = []
    words = turn.text.split()
    if words:
        samples, phones = engine.speak(words, speaker, style, random)
    written = []
    spoken: list[Phone] = []
    for place, word in enumerate(words):
        own = [phone for phone in phones if phone.word == place]
        written.append(variant(word, [phone.symbol for phone in own]))
        spoken += word_allophones(own)
    spoken += [phone for phone in phones if phone.word == NO_WORD]
    spoken.sort(key=lambda phone: phone.start)
    if turn.tag:
        spoken.append(Phone(len(samples) + 0.15 * audio.RATE_HZ * bool(words), f"+{turn.tag}+", len(words)))
        samples = _with_sound(samples, turn.tag, speaker, random)
        written.append(f"++{turn.tag}++")
    return Speech(samples, _with_silence(spoken, turn), written)


def _with_sound(
    samples: audio.Samples, tag: str, speaker: Speaker, random: np.random.RandomState
) -> audio.Samples:
    if tag == "LAUGHTER":
        sound = audio.laughter(random, sum(speaker.pitch_hz) / 2)
    else:
        sound = audio.breathing(random)
    if not len(samples):
        return sound
    speech_rms = float(np.sqrt((samples**2).mean()))
    pause = np.zeros(int(0.15 * audio.RATE_HZ))
    return np.concatenate([samples, pause, audio.scaled(sound, 0.7 * speech_rms)])


def _with_silence(phones: list[Phone], turn: Turn) -> list[Phone]:
    """Put a silence between the last word and the sound of a tag."""
    if not turn.tag or len(phones) < 2:
        return phones
    sound = phones[-1]
    return [*phones[:-1], Phone(sound.start - 0.15 * audio.RATE_HZ, SILENCE, NO_WORD), sound]
