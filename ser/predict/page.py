"""The page of recordings, one file: a player whose cursor moves along waveform, track and attention.

What is drawn is SVG that stretches to any width, all letters are HTML; the page works without a network and,
but for the player, without scripts.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser.errors import plural
from ser.predict.recordings import Recording, Waveform, curves, label_place
from ser.predict.result import Doubles
from ser.predict.spoken import Tiers
from ser.reporting.colours import SERIES
from ser.reporting.templates import environment

AUDIO_S = 1800.0  # of a page
MAX_RECORDINGS = 100  # of a page
POINTS = 1200  # of a curve
MAX_DIVIDED = 400  # points of areas that lines divide; of more the lines would be most of what is seen
MAX_PIECES = 500  # of a recording that are listed
_WIDTH, _HEIGHT = 1000, 100  # of a drawing, which is stretched to its place
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MAX_TICKS = 6
_ROOM, _LETTER = 0.14, 0.026  # of the height, and of a phone's width a letter, that labels in areas need


@dataclass(frozen=True)
class About:
    """What a page says of the model and of how it was used.

    Attributes:
        name: of the model, as the user named it.
        facts: what else is known, name -> text: classes, normalisation, windows.
        limits: sentences that must be known with every result.
    """

    name: str
    facts: Mapping[str, str]
    limits: Sequence[str]


class Page:
    """A page, recording by recording; of each no more is kept than is shown."""

    def __init__(self, about: About) -> None:
        """``about`` is the model."""
        self._about = about
        self._cards: list[dict[str, Any]] = []
        self._left_out = 0

    def add(self, recording: Recording, tiers: Tiers) -> None:
        """Add a recording, with the words and phones that are spoken in it."""
        if len(self._cards) < MAX_RECORDINGS:
            self._cards.append(_card(len(self._cards) + 1, recording, tiers))
        else:
            self._left_out += 1

    def __len__(self) -> int:
        """How many recordings are on it."""
        return len(self._cards)

    @property
    def left_out(self) -> int:
        """How many recordings had no room."""
        return self._left_out

    def html(self) -> Iterator[str]:
        """The whole of it, part by part; of one recording or more."""
        templates = environment("ser.predict")
        templates.globals.update(colour=colour, clock=clock)
        yield from templates.get_template("page.html").generate(
            about=self._about,
            cards=self._cards,
            left_out=self._left_out,
            audio_minutes=round(AUDIO_S / 60),
            max_pieces=MAX_PIECES,
        )


def _card(number: int, recording: Recording, tiers: Tiers) -> dict[str, Any]:
    """What the template needs of a recording."""
    scale = _Scale(recording.start_s, recording.end_s)
    drawn = [] if recording.track is None else curves(recording.track, POINTS)
    attention = recording.attention(POINTS)
    highest = 1.08 * max((float(values.max()) for _, values in attention), default=1.0)
    return {
        "id": f"r{number}",
        "source": recording.source,
        "start_s": recording.start_s,
        "end_s": recording.end_s,
        "notes": recording.notes,
        "emotions": recording.emotions,
        "num_pieces": len(recording.results),
        "pieces": [
            (each.start_s, each.end_s, each.emotion, each.confidence, each.posterior.tolist())
            for each in recording.results[:MAX_PIECES]
        ],
        "summary": _summary(recording),
        "length": clock(recording.end_s - recording.start_s),
        "audio": _audio_uri(recording),
        "ticks": list(_ticks(scale)),
        "waveform": _waveform_path(scale, recording.waveform, recording.sampling_rate_hz),
        "areas": [(index, _area_path(scale, drawn, index)) for index in range(len(recording.emotions))][::-1],
        "divided": sum(len(times) for times, _ in drawn) <= MAX_DIVIDED,
        "labels": list(_labels(scale, drawn, recording.emotions)),
        "attention": _line_path(scale, attention, highest),
        "uniform": round(_HEIGHT * (1 - 1 / highest), 2),
        "tiers": list(tiers),
        "data": {
            "start": recording.start_s,
            "duration": recording.end_s - recording.start_s,
            "emotions": recording.emotions,
            "track": [_rows(*each) for each in drawn],
            "attention": [_rows(*each) for each in attention],
            "tiers": {
                name: [[round(each.start_s, 4), round(each.end_s, 4), each.symbol] for each in spoken]
                for name, spoken in tiers.items()
            },
        },
    }


def _summary(recording: Recording) -> str:
    """The decision of a recording that is one piece; else how many pieces each class has."""
    if len(recording.results) == 1:
        result = recording.results[0]
        return f"{result.emotion}, {100 * result.confidence:.0f} % sure"
    counts = Counter(result.emotion for result in recording.results)
    told = ", ".join(f"{name} {counts[name]}" for name in recording.emotions if counts[name])
    return f"{plural(len(recording.results), 'piece')}: {told}"


def _audio_uri(recording: Recording) -> str:
    if recording.audio is None:
        return ""
    return f"data:{recording.audio.kind};base64,{base64.b64encode(recording.audio.content).decode()}"


def clock(seconds: float) -> str:
    """A time for people.

    >>> clock(3.84), clock(75), clock(3725.5)
    ('3.8 s', '1:15', '1:02:06')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes = f"{rest // 60:02d}" if hours else f"{rest // 60}"
    return f"{hours}:{minutes}:{rest % 60:02d}" if hours else f"{minutes}:{rest % 60:02d}"


# ------------------------------------------------------------------------------------------------- drawings


class _Scale:
    """Where a time stands in a drawing."""

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s, self.end_s = start_s, end_s
        self._length_s = max(end_s - start_s, 1e-9)

    def x(self, time_s: float) -> float:
        return round(_WIDTH * (time_s - self.start_s) / self._length_s, 2)

    def percent(self, time_s: float) -> float:
        return round(100 * (time_s - self.start_s) / self._length_s, 3)


def _ticks(scale: _Scale) -> Iterator[tuple[float, str]]:
    """Places, in per cent, and labels of the time axis."""
    length = scale.end_s - scale.start_s
    step = next((step for step in _STEPS_S if length / step <= _MAX_TICKS), _STEPS_S[-1])
    first = int(np.ceil(scale.start_s / step - 1e-9))
    for number in range(first, int(scale.end_s / step + 1e-9) + 1):
        time = number * step
        text = f"{time:.1f}" if step < 1 else f"{time:.0f}" if scale.end_s < 60 else clock(max(60, time))
        yield scale.percent(time), "0:00" if scale.end_s >= 60 and time == 0 else text


def _waveform_path(scale: _Scale, waveform: Waveform | None, rate_hz: int) -> str:
    """An outline, forth along the highest samples and back along the lowest."""
    if waveform is None or not len(waveform.low):
        return ""
    limit = max(1e-4, float(-waveform.low.min()), float(waveform.high.max()))
    middle = _HEIGHT / 2
    bins = waveform.first + (np.arange(len(waveform.low)) + 0.5) * waveform.bin_samples
    x = [scale.x(min(each / rate_hz, scale.end_s)) for each in bins]
    top = [round(middle - (middle - 1) * float(value) / limit, 1) for value in waveform.high]
    base = [round(middle - (middle - 1) * float(value) / limit + 0.6, 1) for value in waveform.low]
    forth = [f"{a:g} {b:g}" for a, b in zip(x, top, strict=True)]
    back = [f"{a:g} {b:g}" for a, b in zip(reversed(x), reversed(base), strict=True)]
    return f"M{'L'.join(forth + back)}Z"


def _area_path(scale: _Scale, drawn: Sequence[tuple[Doubles, Doubles]], index: int) -> str:
    """What lies below the top of a class's area; those of the classes before it are painted over it."""
    parts = []
    for times, values in drawn:
        x = [scale.x(time) for time in times]
        tops = values[:, : index + 1].sum(axis=1)
        forth = [f"{a:g} {_y(b):g}" for a, b in zip(x, tops, strict=True)]
        parts.append(f"M{'L'.join(forth)}L{x[-1]:g} {_HEIGHT}L{x[0]:g} {_HEIGHT}Z")
    return "".join(parts)


def _line_path(scale: _Scale, drawn: Sequence[tuple[Doubles, Doubles]], highest: float) -> str:
    return "".join(
        "M" + "L".join(f"{scale.x(a):g} {_y(b / highest):g}" for a, b in zip(times, values, strict=True))
        for times, values in drawn
    )


def _y(share: float) -> float:
    return round(_HEIGHT * (1 - float(share)), 1)


def _labels(
    scale: _Scale, drawn: Sequence[tuple[Doubles, Doubles]], emotions: Sequence[str]
) -> Iterator[tuple[float, float, str]]:
    """Left and top, in per cent, of the name of each class whose area has room for it."""
    for index, name in enumerate(emotions):
        length_s = (_LETTER * len(name) + _LETTER) * (scale.end_s - scale.start_s)
        place = label_place(drawn, index, length_s, _ROOM)
        if place is not None:
            yield scale.percent(place[0]), round(100 * (1 - place[1]), 1), name


def _rows(times: Doubles, values: Doubles) -> list[Any]:
    """Times and values of a curve, for the script."""
    return [np.round(times, 4).tolist(), np.round(values, 4).tolist()]


def colour(index: int) -> str:
    """The CSS variable of a class.

    >>> colour(0), colour(9)
    ('--c0', '--c1')
    """
    return f"--c{index % len(SERIES['light'])}"
