"""EmoEvaluation: a dialog's turns with their times, labels and ratings.

::

    % [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

    [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]
    C-E2:<TAB>Neutral;<TAB>
    A-E3:<TAB>val 3; act 2; dom  2;<TAB>(a comment)

The turns are not in order of time, and the number of ratings differs.  The means may leave 1 to 5, and
a rating may lack its dominance.  What decides a turn (its summary line) is read strictly; ratings are
read as far as they can be understood, and kept as they stand in any case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.corpora.iemocap.release import COPY_AGAIN, LABELS, read_lines, turn_of
from ser.errors import DataError

_SUMMARY = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\t([^\t]+)\t([^\t]*)\t\[([^\t]*)\]\s*", re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_RATING = re.compile(r"([CA])-([A-Z]\d+):\s*(.*)", re.ASCII | re.DOTALL)
_ATTRIBUTE = re.compile(r"\b(val|act|dom)\s+(-?\d+(?:\.\d+)?)\s*;", re.ASCII)
_ATTRIBUTES = {"val": "valence", "act": "activation", "dom": "dominance"}
_TURN_LIKE = re.compile(r"Ses\d\d[FM]_\w+", re.ASCII)


@dataclass
class Evaluation:
    """What EmoEvaluation says of one turn."""

    line: int  # where it stands
    start_s: float  # within the dialog
    end_s: float
    label: str  # one of LABELS
    valence: float | None  # means over the raters, without the speakers' own
    activation: float | None
    dominance: float | None
    raters: list[dict[str, Any]]  # every rating, see parse_rating


@dataclass
class Evaluations:
    """What could be read of one EmoEvaluation file."""

    turns: dict[str, Evaluation]
    faulty: set[str]  # ids in lines that could not be used
    unclear: list[str]  # "<file>:<line>" of ratings that could not be understood


def read_evaluation(path: Path, dialog: str, problems: list[str]) -> Evaluations:
    """Read the turns of a dialog.

    Args:
        path: ``EmoEvaluation/<dialog>.txt``.
        dialog: the dialog's name; all turns must be of it.
        problems: what is wrong is appended here, a line each.

    Raises:
        DataError: the file cannot be read at all, or holds no turn.
    """
    lines = read_lines(path)
    if "".join(lines).strip() == "":
        raise DataError(f"{path}: is empty; {COPY_AGAIN}")
    if lines[-1]:
        problems.append(f"{path}:{len(lines)}: ends within the line, the file was cut short; {COPY_AGAIN}")
    evaluations = Evaluations({}, set(), [])
    _take_lines(evaluations, lines, path, dialog, problems)
    for turn, evaluation in evaluations.turns.items():
        if not evaluation.raters:
            where = f"{path}:{evaluation.line}"
            problems.append(f"{where}: {turn} has no ratings, the file may be cut short; {COPY_AGAIN}")
    if not evaluations.turns and not evaluations.faulty:
        raise DataError(f"{path}: holds no turn; {COPY_AGAIN}")
    return evaluations


def _take_lines(
    evaluations: Evaluations, lines: list[str], path: Path, dialog: str, problems: list[str]
) -> None:
    """Add the turns and their ratings; the ratings of a turn that cannot be used are passed over."""
    current: Evaluation | None = None
    started = False
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("%"):
            continue
        rating = parse_rating(line)
        if rating is None and (line.startswith("[") or _TURN_LIKE.search(line)):
            current = _take_summary(evaluations, line, dialog, f"{path}:{number}", problems)
            started = True
        elif not started:
            problems.append(f"{path}:{number}: expected a turn before {line!r}; {COPY_AGAIN}")
        elif current is not None:
            if rating is None:
                evaluations.unclear.append(f"{path}:{number}")
            current.raters.append(rating or {"raw": line})


def _take_summary(
    evaluations: Evaluations, line: str, dialog: str, where: str, problems: list[str]
) -> Evaluation | None:
    """Add the turn of a summary line; if it cannot be used, say why and remember its id."""
    try:
        turn, evaluation = _parse_summary(line, dialog, int(where.rpartition(":")[2]))
    except ValueError as error:
        problems.append(f"{where}: {error}; {COPY_AGAIN}")
        evaluations.faulty.update(_TURN_LIKE.findall(line))
        return None
    if turn in evaluations.turns:
        first = evaluations.turns[turn].line
        problems.append(f"{where}: {turn} stands here again, first in line {first}; keep one of them")
        return None
    evaluations.turns[turn] = evaluation
    return evaluation


def _parse_summary(line: str, dialog: str, number: int) -> tuple[str, Evaluation]:
    """The turn's id and what is said of it.

    Raises:
        ValueError: what is wrong with the line.
    """
    match = _SUMMARY.fullmatch(line)
    if match is None:
        form = "'[<start> - <end>]<TAB><turn><TAB><label><TAB>[<V>, <A>, <D>]'"
        raise ValueError(f"expected {form}, got {line!r}")
    start, end, turn, label, means = match.groups()
    if not turn_of(turn, dialog):
        raise ValueError(f"{turn!r} is no turn of {dialog}")
    if float(end) <= float(start):
        raise ValueError(f"the time range of {turn} runs backwards, {start} - {end}")
    if label not in LABELS:
        raise ValueError(f"the label {label!r} of {turn} is none of {' '.join(LABELS)}")
    values = [text.strip() for text in means.split(",")]
    if len(values) != 3 or not all(text == "" or _NUMBER.fullmatch(text) for text in values):
        raise ValueError(f"expected [<V>, <A>, <D>] of {turn}, got [{means}]")
    v, a, d = (float(text) if text else None for text in values)
    return turn, Evaluation(number, float(start), float(end), label, v, a, d, [])


def parse_rating(line: str) -> dict[str, Any] | None:
    r"""One rater's line, or None if it is none.

    ``rater`` is ``E1``.. (evaluators) or ``F1``, ``M1``.. (the speaker, with the session's number).

    >>> parse_rating("C-E2:\tNeutral; Anger;\t(curious)")["labels"]
    ['Neutral', 'Anger']
    >>> parse_rating("A-E3:\tval 3; act 2; dom  ;\t")["dominance"] is None
    True
    """
    match = _RATING.fullmatch(line)
    if match is None:
        return None
    kind, rater, rest = match.groups()
    items, _, comment = rest.partition("\t")
    rating: dict[str, Any] = {"rater": rater, "raw": line}
    if kind == "C":
        rating["labels"] = [item.strip() for item in items.split(";") if item.strip()]
    else:
        values = {_ATTRIBUTES[name]: float(value) for name, value in _ATTRIBUTE.findall(items)}
        rating.update({name: values.get(name) for name in _ATTRIBUTES.values()})
    comment = comment.strip()
    if comment.startswith("(") and comment.endswith(")"):
        comment = comment[1:-1]
    rating["comment"] = comment
    return rating
