"""Utterances that spoil a corpus, and what settings do with them: silent ones, and mixed sampling rates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ser.data.corpus import CorpusAudio
from ser.data.levels import Level, Piece, measure_all
from ser.data.manifests import Utterance
from ser.data.segments import RecordingSegment
from ser.errors import DataError, examples

LEFT_OUT = "left_out"  # table of what is dropped: utterance -> setting
SILENT_DBFS = -70.0  # RMS; RAVDESS goes down to -64
_SILENT, _MIXED_RATE = "audio.on_silent", "audio.on_mixed_rate"


def find_unfit(
    utterances: Sequence[Utterance], audio: CorpusAudio, source: object, table: Path, num_jobs: int
) -> dict[str, str]:
    """Measure utterances of manifests, and find those that a setting drops.

    Args:
        utterances: all that the corpus would have.
        audio: what is done with silent audio and with mixed rates.
        source: where they stand, for messages.
        table: the file that keeps what was measured.
        num_jobs: files read at a time.

    Returns:
        Utterance -> the setting, as :func:`unfit`.

    Raises:
        DataError: as :func:`unfit`, files that cannot be used, or none is left.
    """
    pieces = [Piece.of(RecordingSegment.of(item), audio.channel) for item in utterances]
    levels = measure_all(pieces, table, num_jobs)
    dropped = unfit({item.id: level for item, level in zip(utterances, levels, strict=True)}, audio, source)
    if len(dropped) == len(utterances):
        raise DataError(
            f"{source}: audio.on_mixed_rate and audio.on_silent drop all {len(dropped)} utterances "
            f"({examples(list(dropped))}); are these the recordings, and is audio.channel right?"
        )
    return dropped


def unfit(levels: Mapping[str, Level], audio: CorpusAudio, source: object) -> dict[str, str]:
    """The utterances that a setting drops.

    Args:
        levels: utterance -> its level, of all that the corpus would have.
        audio: what is done with silent audio and with mixed rates.
        source: where the utterances stand, for messages.

    Returns:
        Utterance -> the setting, ``audio.on_silent`` or ``audio.on_mixed_rate``.

    Raises:
        DataError: utterances that a setting refuses.
    """
    cases = {
        _MIXED_RATE: (audio.on_mixed_rate, low_rates(levels, audio), "another sampling rate than the others"),
        _SILENT: (audio.on_silent, silent(levels), "silent audio"),
    }
    for setting, (action, names, what) in cases.items():
        if names and action == "refuse":
            raise DataError(
                f"{source}: {has(names, levels)} {what} ({examples(names)}); replace the recordings, or set "
                f"{setting} to warn or drop"
            )
    return {
        name: setting for setting, (action, names, _) in cases.items() if action == "drop" for name in names
    }


def low_rates(levels: Mapping[str, Level], audio: CorpusAudio) -> list[str]:
    """The utterances with a lower sampling rate than is asked for, beside others with a higher one."""
    rates = {name: level.sampling_rate_hz for name, level in levels.items()}
    highest = min(audio.sampling_rate_hz, max(rates.values(), default=0))
    return [name for name, rate in rates.items() if rate < highest]


def silent(levels: Mapping[str, Level]) -> list[str]:
    """The utterances whose chosen channel is silent or nearly so."""
    return [name for name, level in levels.items() if level.rms_dbfs < SILENT_DBFS]


def has(names: Sequence[str], total: Collection[object]) -> str:
    """How many of all utterances, and the verb.

    >>> has(["a"], "abc"), has(["a", "b"], "abc")
    ('1 of 3 utterances has', '2 of 3 utterances have')
    """
    return f"{len(names)} of {len(total)} utterances {'has' if len(names) == 1 else 'have'}"
