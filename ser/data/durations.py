"""Durations of utterances, and those that are too short for features, found before any are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ser import reading
from ser.data import tables
from ser.errors import all_of, examples

SAME_S = 0.01  # durations that differ by no more count as the same, in seconds
_SLACK_SAMPLES = 0.05  # what durations that were written to the microsecond may be off


class Shortest(NamedTuple):
    """The shortest utterance that a feature set can be made of."""

    feature_set: str
    num_samples: int
    sampling_rate_hz: int

    def fits(self, duration_s: float) -> bool:
        """Whether an utterance of this duration has so many samples, counted up when it is resampled."""
        return duration_s * self.sampling_rate_hz > self.num_samples - 1 + _SLACK_SAMPLES


def too_short(
    durations_s: Mapping[str, float],
    shortest: Iterable[Shortest],
    where: Path,
    paths: Mapping[str, str] | None = None,
) -> list[str]:
    """A message for each feature set that some utterances are too short for.

    Args:
        durations_s: utterance -> its duration in seconds.
        shortest: of each feature set that is to be made.
        where: what says the durations, for messages.
        paths: utterance -> its recording, for messages, where ``where`` does not tell it.

    >>> need = [Shortest("fb", 400, 16000)]
    >>> print(*too_short({"a": 0.02, "b": 1.0}, need, Path("t")))
    t: 1 utterance is too short for the features fb, which take 25 ms (a: 20 ms); leave it out of the corpus
    """
    problems = []
    for need in shortest:
        names = sorted(name for name, duration_s in durations_s.items() if not need.fits(duration_s))
        if not names:
            continue
        listed = examples(
            [
                f"{name}: {1000 * durations_s[name]:g} ms{f' of {paths[name]}' if paths else ''}"
                for name in names[:4]
            ]
        )
        verb, it = ("utterance is", "it") if len(names) == 1 else ("utterances are", "them")
        least_ms = 1000 * need.num_samples / need.sampling_rate_hz
        problems.append(
            f"{where}: {len(names)} {verb} too short for the features {need.feature_set}, which take "
            f"{least_ms:g} ms ({listed}); leave {it} out of the corpus"
        )
    return problems


def check_durations(
    durations_s: Mapping[str, float],
    shortest: Iterable[Shortest],
    where: Path,
    paths: Mapping[str, str] | None = None,
) -> None:
    """Refuse utterances that are too short; the arguments are those of :func:`too_short`.

    Raises:
        DataError: some are.
    """
    if problems := too_short(durations_s, shortest, where, paths):
        raise all_of(problems)


def read_durations(path: Path) -> dict[str, float]:
    """Read ``utt2dur``: utterance -> its duration in seconds.

    Raises:
        DataError: it is no table, or a duration is no number above 0.
    """
    return tables.convert(tables.read_table(path), path, tables.positive_float, "<seconds above 0>")


def known_durations(folder: Path) -> dict[str, float]:
    """Utterance -> its duration in seconds, by ``utt2dur``, else by its frames of the main set.

    Returns:
        Nothing where the data folder has neither.

    Raises:
        DataError: a table is damaged.
    """
    if (path := folder / "utt2dur").exists():
        return read_durations(path)
    path, shift = folder / "utt2num_frames", folder / "frame_shift"
    if not (path.exists() and shift.exists()):
        return {}
    with reading.guarded(shift, "run stage 1 again", what="is no frame shift in seconds"):
        shift_s = tables.positive_float(reading.read_text(shift, "run stage 1 again"))
    frames = tables.convert(tables.read_table(path), path, tables.positive_int, "<frames>")
    return {name: number * shift_s for name, number in frames.items()}
