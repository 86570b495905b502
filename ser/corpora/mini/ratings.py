"""What the raters say of a turn: three others and the speaker, in categories and on three scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ser.corpora.mini.design import Turn, random_state

CATEGORIES = {
    "neu": "Neutral",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "ang": "Anger",
    "fru": "Frustration",
    "sur": "Surprise",
}
_NO_MAJORITY = ("Neutral", "Frustration", "Anger")
_MEANS = {  # valence, activation, dominance
    "neu": (3.0, 2.5, 3.0),
    "hap": (4.0, 3.0, 3.0),
    "exc": (4.5, 4.0, 3.5),
    "sad": (2.0, 2.0, 2.0),
    "ang": (1.5, 4.0, 4.0),
    "fru": (2.0, 3.0, 3.0),
    "sur": (3.0, 3.5, 3.0),
    "xxx": (2.5, 3.0, 3.0),
}
NO_DOMINANCE = "Ses01M_script02_2_M000"  # one rater gave none
HIGH_VALENCE = "Ses04M_script02_2_F000"  # mean valence 5.5
LOW_DOMINANCE = "Ses02M_script02_2_F000"  # mean dominance 0.5


@dataclass(frozen=True)
class Opinion:
    """One rater's categories for a turn.

    Attributes:
        rater: ``E2``, or ``F1`` for the speaker.
        categories: one or two of the words of ``CATEGORIES``, or ``Other``.
        comment: as it stands behind the last tab.
    """

    rater: str
    categories: tuple[str, ...]
    comment: str


@dataclass(frozen=True)
class Scales:
    """One rater's numbers for a turn, 1 to 5; no dominance if the rater left it out."""

    rater: str
    valence: int
    activation: int
    dominance: int | None
    comment: str


@dataclass(frozen=True)
class Ratings:
    """All opinions on a turn, the speaker's last."""

    opinions: tuple[Opinion, ...]
    scales: tuple[Scales, ...]

    def means(self) -> tuple[float, float, float]:
        """Mean valence, activation and dominance over the raters other than the speaker."""
        others = [scale for scale in self.scales if scale.rater.startswith("E")]
        given = [scale.dominance for scale in others if scale.dominance is not None]
        return (
            _mean([scale.valence for scale in others]),
            _mean([scale.activation for scale in others]),
            _mean(given),
        )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def rate(seed: int, turn: Turn) -> Ratings:
    """Invent the ratings of a turn, such that the majority is its label."""
    random = random_state(seed, "ratings", turn.name)
    speaker = f"{turn.speaker[-1]}{int(turn.speaker[:2])}"
    raters = ["E2", "E3", "E4"]
    if turn.label == "xxx":
        words: list[tuple[str, ...]] = [(word,) for word in _NO_MAJORITY]
    else:
        own = CATEGORIES[turn.label]
        third = own if random.rand() < 0.6 else str(random.choice(["Neutral", "Other", own]))
        words = [(own,), (own,), (own,) if third == own else (own, third)]
    if turn.label != "xxx" and random.rand() < 0.1:
        raters, words = ["E1", *raters], [words[0], *words]  # some turns had a further rater
    opinions = [
        Opinion(rater, categories, str(random.choice(["", "()", "(curious)", "(a little amused, attitude)"])))
        for rater, categories in zip(raters, words, strict=True)
    ]
    opinions.append(Opinion(speaker, words[0], "()"))
    drawn = np.array(_MEANS[turn.label]) + random.uniform(-0.9, 0.9, (3, 3))
    numbers = np.clip(np.round(drawn), 1, 5).astype(int).tolist()
    scales = [
        Scales(rater, valence, activation, dominance, comment)
        for rater, (valence, activation, dominance), comment in zip(
            ("E3", "E4", speaker), numbers, ("()", "", "()"), strict=True
        )
    ]
    return _with_quirks(turn, Ratings(tuple(opinions), tuple(scales)))


def _with_quirks(turn: Turn, ratings: Ratings) -> Ratings:
    first, second, own = ratings.scales
    if turn.name == NO_DOMINANCE:
        second = replace(second, dominance=None)
    elif turn.name == HIGH_VALENCE:
        first, second = replace(first, valence=5), replace(second, valence=6)
    elif turn.name == LOW_DOMINANCE:
        first, second = replace(first, dominance=1), replace(second, dominance=0)
    return replace(ratings, scales=(first, second, own))


def opinion_line(opinion: Opinion) -> str:
    """``C-E2:<TAB>Neutral;<TAB>(curious)``."""
    words = " ".join(f"{category};" for category in opinion.categories)
    return f"C-{opinion.rater}:\t{words}\t{opinion.comment}"


def scales_line(scales: Scales) -> str:
    """``A-E3:<TAB>val 3; act 2; dom  2;<TAB>``."""
    dominance = "" if scales.dominance is None else scales.dominance
    values = f"val {scales.valence}; act {scales.activation}; dom  {dominance};"
    return f"A-{scales.rater}:\t{values}\t{scales.comment}"


def categorical_line(turn: str, opinion: Opinion) -> str:
    """A turn in a rater's own file: ``Ses01F_impro01_F000 :Neutral state; ``."""
    words = ["Neutral state" if word == "Neutral" else word for word in opinion.categories]
    return f"{turn} " + "".join(f":{word}; " for word in words)


def attribute_line(turn: str, scales: Scales) -> str:
    """A turn in a rater's own file: ``Ses01F_impro01_F000 :act 4; :val 3; :dom 2; ``."""
    dominance = "" if scales.dominance is None else scales.dominance
    return f"{turn} :act {scales.activation}; :val {scales.valence}; :dom {dominance}; "
