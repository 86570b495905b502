"""Engine 1: the espeak-ng library, called through ctypes.

The library and its data come with the wheel ``espeakng-loader`` (espeak-ng is GPL-3.0-or-later; nothing
of it is in this package).  Two of its habits shape this module: it keeps state between utterances, so
every utterance is to be spoken in a freshly forked process; and it takes data paths below 160 characters
only, so it gets a folder of links.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ser.corpora.mini import audio
from ser.corpora.mini.design import SPEAKERS, Speaker, Style
from ser.corpora.mini.phones import NO_WORD, SILENCE, STOPS, Phone, from_espeak, is_pause

_VERSION = "1.52"  # its phones are those of phones.py
_MAX_PATH = 150  # espeak-ng 1.52 cuts at 160
_DATA = ("phondata", "phonindex", "phontab", "intonations", "en_dict", "lang/gmw/en-US")
_SYNCHRONOUS, _PHONEME_EVENTS, _NO_EXIT, _UTF8 = 2, 0x0001, 0x8000, 1
_SPEED, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_LIST_END, _WORD, _PHONEME = 0, 1, 7
_NO_BREAK_SPACE = "\u00a0"  # between words, else espeak merges "in the" into one word event


class EspeakError(Exception):
    """The library cannot be used here; the reason in a few words."""


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # whole milliseconds; `sample` is exact
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """The library, initialised; one in a process, for the library's state is global."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            EspeakError: it is not installed, does not load, or is another version.
        """
        loader = _loader()
        self._data = Path(loader.get_data_path())
        self._lib = _load(loader.get_library_path())
        self._chunks: list[audio.Samples] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _Callback(self._heard)  # referenced here for as long as the library may call it
        version = self._lib.espeak_Info(None).decode("ascii", "replace")
        if not version.startswith(_VERSION):
            raise EspeakError(f"the library is version {version}, not {_VERSION}")
        self.name = f"espeak-ng {version}"

    def start(self, folder: Path) -> None:
        """Initialise the library on ``folder``, which is filled with links and the ten voices.

        Raises:
            EspeakError: it refuses.
        """
        _link_data(self._data, folder / "espeak-ng-data")
        if len(str(folder)) > _MAX_PATH:
            raise EspeakError(f"the temporary folder {folder} has too long a name; set TMPDIR")
        options = _PHONEME_EVENTS | _NO_EXIT
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 1000, str(folder).encode(), options)
        if rate != audio.ESPEAK_RATE_HZ:
            raise EspeakError(f"espeak_Initialize gave {rate} instead of {audio.ESPEAK_RATE_HZ}")
        self._lib.espeak_SetSynthCallback(self._callback)

    def speak(
        self, words: Sequence[str], speaker: Speaker, style: Style, random: np.random.RandomState
    ) -> tuple[audio.Samples, list[Phone]]:
        """Speak ``words``: (N,) samples at 16 kHz and the phones."""
        self._set(speaker, style, seed=1 + random.randint(1 << 30))
        self._chunks, self._events = [], []
        text = _NO_BREAK_SPACE.join(words).replace(":", ",").encode()  # it would say "colon"
        _check(self._lib.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None), "espeak_Synth")
        samples = np.concatenate(self._chunks)
        phones = _with_closures(self._phones(len(words)), samples)
        return audio.resample(samples), [replace(phone, start=audio.to_16k(phone.start)) for phone in phones]

    def _set(self, speaker: Speaker, style: Style, seed: int) -> None:
        voice = f"en-us+{_voice_name(speaker)}"
        _check(self._lib.espeak_SetVoiceByName(voice.encode()), f"the voice {voice}")
        values = {
            _SPEED: _whole(172 * style.rate, 100, 300),  # words a minute
            _VOLUME: 100,
            _PITCH: _whole(50 + 5.5 * style.pitch_semitones, 0, 99),
            _RANGE: _whole(style.pitch_range, 0, 99),
        }
        for parameter, value in values.items():
            _check(self._lib.espeak_SetParameter(parameter, value, 0), f"parameter {parameter}")
        self._lib.espeak_ng_SetRandSeed(seed)  # the library seeds itself by the clock

    def _heard(self, wave: Any, length: int, events: Any) -> int:
        """Keep what the library gives: sound and the events that go with it."""
        if length > 0 and wave:
            self._chunks.append(np.ctypeslib.as_array(wave, shape=(length,)) / 32768)
        place = 0
        while events[place].type != _LIST_END:
            event = events[place]
            if event.type in (_WORD, _PHONEME):
                mnemonic = event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
                self._events.append((event.type, event.sample, event.length, mnemonic))
            place += 1
        return 0

    def _phones(self, num_words: int) -> list[Phone]:
        """The events as phones, starts in samples at 22050 Hz."""
        phones: list[Phone] = []
        word = -1
        for kind, sample, length, mnemonic in self._events:
            if kind == _WORD:
                word += length > 0
            elif is_pause(mnemonic):
                phones.append(Phone(sample, SILENCE, NO_WORD))
            else:
                phones += [Phone(sample, symbol, word) for symbol in from_espeak(mnemonic)]
        assert word == num_words - 1, f"{word + 1} word events for {num_words} words"
        return _split_evenly(phones)


def _loader() -> ModuleType:
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise EspeakError("the package espeakng-loader is not installed") from error


def _load(path: str) -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL(path)
        lib.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]  # since 1.52
    except (OSError, AttributeError) as error:
        raise EspeakError(f"the library does not load ({error})") from error
    text, number = ctypes.c_char_p, ctypes.c_int
    lib.espeak_Info.argtypes = [ctypes.c_void_p]
    lib.espeak_Info.restype = text
    lib.espeak_Initialize.argtypes = [number, number, text, number]
    lib.espeak_SetSynthCallback.argtypes = [_Callback]
    lib.espeak_SetVoiceByName.argtypes = [text]
    lib.espeak_SetParameter.argtypes = [number, number, number]
    lib.espeak_Synth.argtypes = [
        text,
        ctypes.c_size_t,
        ctypes.c_uint,
        number,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return lib


def _link_data(source: Path, target: Path) -> None:
    voices = target / "voices" / "!v"
    voices.mkdir(parents=True)
    (target / "lang" / "gmw").mkdir(parents=True)
    for name in _DATA:
        (target / name).symlink_to(source / name)
    for speaker in SPEAKERS.values():
        (voices / _voice_name(speaker)).write_text(voice_lines(speaker), encoding="ascii")


def _voice_name(speaker: Speaker) -> str:
    return f"mini{speaker.name.lower()}"


def voice_lines(speaker: Speaker) -> str:
    """A speaker as an espeak voice variant file."""
    first, second, higher = (round(100 * factor) for factor in speaker.formants)
    factors = [first, first, second, *[higher] * 6]
    widths = [95, 95, 95, *[90] * 6]
    formants = [
        f"formant {number} {factor} {width} 105"
        for number, (factor, width) in enumerate(zip(factors, widths, strict=True))
    ]
    low, high = speaker.pitch_hz
    gender = {"F": "female", "M": "male"}[speaker.sex]
    head = ["language variant", f"name {_voice_name(speaker)}", f"gender {gender}", f"pitch {low} {high}"]
    return "\n".join([*head, *formants, speaker.espeak_lines]) + "\n"


def _whole(value: float, low: int, high: int) -> int:
    return min(max(round(value), low), high)


def _check(code: int, what: str) -> None:
    assert code == 0, f"{what}: espeak-ng gave {code}"


def _split_evenly(phones: list[Phone]) -> list[Phone]:
    """Give two phones of one event half of its time each: such phones have the same start."""
    split = list(phones)
    for place in range(1, len(phones)):
        if phones[place].start == phones[place - 1].start and phones[place].word != NO_WORD:
            end = phones[place + 1].start if place + 1 < len(phones) else phones[place].start
            split[place] = replace(phones[place], start=(phones[place].start + end) / 2)
    return split


def _with_closures(phones: list[Phone], samples: audio.Samples) -> list[Phone]:
    """Give the silence before a stop to the stop; espeak leaves it with the phone before."""
    energy = np.convolve(samples**2, np.ones(110) / 110, "same")
    silent = 1e-4 * energy.max()
    moved: list[Phone] = []
    for phone in phones:
        start = phone.start
        if phone.symbol in STOPS and moved and moved[-1].symbol != SILENCE:
            earliest = moved[-1].start + 220
            while start - 55 > earliest and energy[int(start) - 55] < silent:
                start -= 55
        moved.append(replace(phone, start=start))
    return moved
