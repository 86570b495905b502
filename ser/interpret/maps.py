"""Attention mapped onto phones and words (paper §5.1): how much of it each segment of an utterance gets.

Shapes: T frames of an utterance.  Attention weights a (T,) are in [0, 1] and sum to 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser.align.sources import NOT_ALIGNED, Alignment, read_alignment, read_num_frames
from ser.data import files, tables
from ser.data.alignment import Span
from ser.data.labels import read_utt2emo
from ser.data.phones import PhoneSet
from ser.data.tsv import write_tsv
from ser.errors import DataError, all_of
from ser.scoring.metrics import decide
from ser.scoring.system import System, input_files, pool, read_system, write_system

log = logging.getLogger("ser")
Floats = npt.NDArray[np.floating]

SUM_TOLERANCE = 1e-4
REST = "-"  # the symbol of the frames that no segment has


class Attended(NamedTuple):
    """A phone or word of an utterance and its attention: a row of ``phone_attn.tsv`` or ``word_attn.tsv``."""

    utt: str
    speaker: str
    emotion: str  # reference
    hyp: str
    decision: str  # right or wrong
    kind: str  # vowel consonant silence filler, word silence filler; unaligned for the rest
    symbol: str
    first: int  # frame; -1 for the rest
    frames: int
    mass: float  # sum of its weights
    relative: float  # mass a frame, against uniform: mass / frames * T
    peak: float  # its highest weight, against uniform: max a_t * T
    position: float  # of its middle in the utterance, 0 .. 1; NaN for the rest


def measure(weights: Floats, spans: Sequence[Span]) -> list[tuple[float, float, float, float]]:
    """Mass, relative mass, peak and position of spans.

    Args:
        weights: (T,), sum 1.
        spans: within 0 .. T - 1, no frame in two.

    >>> measure(np.array([0.5, 0.25, 0.25, 0.0]), [Span("AY", 0, 2), Span("D", 3, 1)])
    [(0.75, 1.5, 2.0, 0.25), (0.0, 0.0, 0.0, 0.875)]
    """
    total = len(weights)
    measured = []
    for span in spans:
        part = weights[span.first : span.end].astype(np.float64)
        mass = float(part.sum())
        middle = (span.first + span.num / 2) / total
        measured.append((mass, mass / span.num * total, float(part.max()) * total, middle))
    return measured


def rest(weights: Floats, spans: Sequence[Span]) -> tuple[int, float, float]:
    """Number, mass and highest weight of the frames that no span has."""
    free = np.ones(len(weights), dtype=bool)
    for span in spans:
        free[span.first : span.end] = False
    part = weights[free].astype(np.float64)
    return int(free.sum()), float(part.sum()), float(part.max(initial=0.0))


def map_attention(alignment: Path, data: Path, decoded: Sequence[Path], out: Path, phones: PhoneSet) -> None:
    """Write the attention of one system over phones and words.

    Args:
        alignment: folder of :func:`ser.align.sources.make_alignment`.
        data: the data folder that it was made for (``data/all``).
        decoded: decode folders with ``post`` and ``attn.scp``, one a fold; no utterance in two.
        out: folder to fill: ``phone_attn.tsv`` and ``word_attn.tsv`` as far as there are such tiers;
            ``attn.scp``, ``post``, ``emotions.txt`` of all folds; ``not_mapped``, the utterances not aligned.
        phones: the phone set.

    Raises:
        DataError: tables that cannot be used; attention of another length than the utterance or that does not
            sum to 1; a phone that is not in the phone set; no utterance that has both.
    """
    inputs = input_files({str(number): folder for number, folder in enumerate(decoded)})
    inputs |= {f"{number}/attn": folder / "attn.ark" for number, folder in enumerate(decoded)}
    inputs |= {path.name: path for path in [*sorted(alignment.glob("*.frames")), alignment / NOT_ALIGNED]}
    inputs |= {name: data / name for name in ("utt2emo", "utt2spk", "utt2num_frames")}
    if missing := [path for path in inputs.values() if not path.exists()]:
        what = (
            "stage 5, of a system with attention"
            if missing[0].name == "attn.ark"
            else "the stage that makes it"
        )
        raise DataError(f"{missing[0]}: no such file; run {what}")
    settings = {"phones": phones.kinds, "words": [*phones.silence_words, *phones.filler_words]}
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return
    spans = read_alignment(alignment, data)
    system = pool([read_system(folder) for folder in decoded])
    weights = read_attention(decoded, read_num_frames(data))
    labels = _labels(system, data)
    with files.locked(out):
        not_mapped = {utt: spans.not_aligned.get(utt, "no phones") for utt in weights if not _has(spans, utt)}
        if len(not_mapped) == len(weights):
            raise DataError(
                f"{alignment}: has none of the {len(weights)} decoded utterances; align this data"
            )
        for tier, kind_of in (("phone", phones.kind), ("word", phones.word_kind)):
            if tier in spans.tiers:
                if tier == "phone":
                    phones.check((s.symbol for utt in spans.phones.values() for s in utt), alignment)
                rows = [
                    row
                    for utt in sorted(weights.keys() & spans.tiers[tier].keys())
                    for row in _rows(utt, labels[utt], weights[utt], spans.tiers[tier][utt], kind_of)
                ]
                write_tsv(out / f"{tier}_attn.tsv", Attended, rows)
        places = {
            utt: place for folder in decoded for utt, place in tables.read_table(folder / "attn.scp").items()
        }
        tables.write_table(out / "attn.scp", places)
        tables.write_table(out / "not_mapped", not_mapped)
        write_system(out, system, settings, inputs)
    log.info("%s: %d utterances mapped, %d not aligned", out, len(weights) - len(not_mapped), len(not_mapped))


def _has(spans: Alignment, utt: str) -> bool:
    return any(tier.get(utt) for tier in spans.tiers.values())


def read_attention(folders: Sequence[Path], num_frames: Mapping[str, int]) -> dict[str, Floats]:
    """The attention of all utterances in ``<folder>/attn.scp``, (T,) each.

    Raises:
        DataError: an unknown utterance; attention of another length, negative, or that does not sum to 1.
    """
    weights: dict[str, Floats] = {}
    problems: list[str] = []
    for folder in folders:
        reader = tables.ArkReader(folder / "attn.scp", made_by="stage 5")
        for utt in reader.places:
            try:
                if utt not in num_frames:
                    raise DataError(
                        f"{reader.path}: {utt} is not in utt2num_frames; decode and align the same data"
                    )
                vector = reader.read(utt, num_frames[utt])
                total = float(vector.sum(dtype=np.float64))
                if vector.ndim != 1 or vector.min() < 0 or abs(total - 1) > SUM_TOLERANCE:
                    raise DataError(
                        f"{reader.path}: {utt}: attention must be weights of 0 or more that sum to 1, these "
                        f"sum to {total:.6g}; run stage 5 again"
                    )
                weights[utt] = vector
            except DataError as error:
                problems.append(str(error))
        reader.close()
    if problems:
        raise all_of(problems)
    return weights


def _labels(system: System, data: Path) -> dict[str, tuple[str, str, str, str]]:
    """Speaker, reference, hypothesis and right or wrong of each utterance."""
    speakers = tables.read_table(data / "utt2spk", made_by="stage 0")
    references = read_utt2emo(data / "utt2emo", system.emotions)
    if strange := sorted(system.posteriors.keys() - references.keys()):
        raise DataError(
            f"{data / 'utt2emo'}: has no {strange[0]}, which {system.name} decoded; name its data"
        )
    labels = {}
    for utt, posterior in system.posteriors.items():
        hyp = system.emotions[int(decide(posterior))]
        labels[utt] = (speakers[utt], references[utt], hyp, "right" if hyp == references[utt] else "wrong")
    return labels


def _rows(
    utt: str,
    labels: tuple[str, str, str, str],
    weights: Floats,
    spans: Sequence[Span],
    kind_of: Callable[[str], str],
) -> Iterator[Attended]:
    """The rows of one utterance; the last is for the frames that no segment has, if any."""
    for span, values in zip(spans, measure(weights, spans), strict=True):
        yield Attended(utt, *labels, kind_of(span.symbol), span.symbol, span.first, span.num, *values)
    frames, mass, peak = rest(weights, spans)
    if frames:
        total = len(weights)
        yield Attended(
            utt, *labels, "unaligned", REST, -1, frames, mass, mass / frames * total, peak * total, math.nan
        )
