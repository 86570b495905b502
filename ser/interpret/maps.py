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

from ser.align.features import read_used_set, write_used_set
from ser.align.frames import MADE_BY, Alignment, read_alignment, set_files
from ser.align.sources import NOT_ALIGNED
from ser.data import files, tables
from ser.data.alignment import Span
from ser.data.datadir import MAIN
from ser.data.labels import read_utt2emo
from ser.data.phones import PhoneSet
from ser.data.tsv import write_tsv
from ser.errors import DataError, all_of
from ser.scoring.metrics import decide
from ser.scoring.posteriors import Posteriors, input_files, pool, read_posteriors, write_posteriors

log = logging.getLogger("ser")
Floats = npt.NDArray[np.floating]

SUM_TOLERANCE = 1e-4
UNCOVERED = "-"  # the symbol of the frames that no segment has


class Attended(NamedTuple):
    """A phone or word of an utterance and its attention: a row of ``phone_attn.tsv`` or ``word_attn.tsv``."""

    utt: str
    speaker: str
    emotion: str  # reference
    hyp: str
    decision: str  # right or wrong
    kind: str  # vowel consonant silence filler, word silence filler; unaligned: frames of no segment
    symbol: str
    first: int  # frame; -1 for frames of no segment
    frames: int
    mass: float  # sum of its weights
    relative: float  # mass a frame, against uniform: mass / frames * T
    peak: float  # its highest weight, against uniform: max a_t * T
    position: float  # of its middle in the utterance, 0 .. 1; NaN for frames of no segment


def measure(weights: Floats, spans: Sequence[Span]) -> list[tuple[float, float, float, float]]:
    """Mass, relative mass, peak and position of spans.

    Args:
        weights: (T,), sum 1.
        spans: within 0 .. T - 1, no frame in two.

    >>> measure(np.array([0.5, 0.25, 0.25, 0.0]), [Span("AY", 0, 2), Span("D", 3, 1)])
    [(0.75, 1.5, 2.0, 0.25), (0.0, 0.0, 0.0, 0.875)]
    """
    total = len(weights)
    measures = []
    for span in spans:
        covered = weights[span.first : span.end].astype(np.float64)
        mass = float(covered.sum())
        middle = (span.first + span.num / 2) / total
        measures.append((mass, mass / span.num * total, float(covered.max()) * total, middle))
    return measures


def uncovered_frames(weights: Floats, spans: Sequence[Span]) -> tuple[int, float, float]:
    """Number, mass and highest weight of the frames that no span has."""
    free = np.ones(len(weights), dtype=bool)
    for span in spans:
        free[span.first : span.end] = False
    uncovered = weights[free].astype(np.float64)
    return int(free.sum()), float(uncovered.sum()), float(uncovered.max(initial=0.0))


def map_attention(alignment: Path, data: Path, decoded: Sequence[Path], out: Path, phones: PhoneSet) -> None:
    """Write the attention of one system over phones and words.

    Args:
        alignment: folder of :func:`ser.align.frames.make_alignment`, in the frames that have the attention.
        data: the data folder that it was made for (``data/all``).
        decoded: decode folders with ``post`` and ``attn.scp``, one a fold; no utterance in two.
        out: folder to fill: ``phone_attn.tsv`` and ``word_attn.tsv``, one for each tier of the alignment;
            ``attn.scp``, ``post``, ``emotions.txt`` of all folds; ``feats.yaml``, the feature set;
            ``not_mapped``, the utterances not aligned.
        phones: the phone set.

    Raises:
        DataError: tables that cannot be used; attention of another length than the utterance or that does not
            sum to 1; a phone that is not in the phone set; no utterance that has both.
    """
    inputs = _inputs(alignment, data, decoded)
    settings = {"phones": phones.kinds, "words": [*phones.silence_words, *phones.filler_words]}
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return
    spans = read_alignment(alignment, data)
    output = pool([read_posteriors(folder) for folder in decoded])
    weights = read_attention(decoded, spans.num_frames)
    labels = _labels(output, data)
    phones.check((span.symbol for utt in spans.phones.values() for span in utt), alignment)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        not_mapped = {utt: spans.not_aligned.get(utt, "no phones") for utt in weights if not _has(spans, utt)}
        if len(not_mapped) == len(weights):
            raise DataError(
                f"{alignment}: has none of the {len(weights)} decoded utterances; align this data"
            )
        outputs = [out / name for name in ("attn.scp", "not_mapped", MAIN)]
        for tier, kind_of in (("phone", phones.kind), ("word", phones.word_kind)):
            if tier not in spans.tiers:
                (out / f"{tier}_attn.tsv").unlink(missing_ok=True)
                continue
            rows = [
                row
                for utt in sorted(weights.keys() & spans.tiers[tier].keys())
                for row in _rows(utt, labels[utt], weights[utt], spans.tiers[tier][utt], kind_of)
            ]
            outputs.append(out / f"{tier}_attn.tsv")
            write_tsv(outputs[-1], Attended, rows)
        places = [tables.read_table(folder / "attn.scp") for folder in decoded]
        tables.write_table(out / "attn.scp", {utt: place for table in places for utt, place in table.items()})
        tables.write_table(out / "not_mapped", not_mapped)
        write_used_set(out, spans.feature_set)
        write_posteriors(out, output, settings, inputs, outputs)
    log.info("%s: %d utterances mapped, %d not aligned", out, len(weights) - len(not_mapped), len(not_mapped))


def _inputs(alignment: Path, data: Path, decoded: Sequence[Path]) -> dict[str, Path]:
    """What a map is made from: name -> path; all of them exist."""
    inputs = input_files({str(number): folder for number, folder in enumerate(decoded)})
    inputs |= {f"{number}/attn": folder / "attn.ark" for number, folder in enumerate(decoded)}
    made = [*sorted(alignment.glob("*.frames")), alignment / NOT_ALIGNED]
    inputs |= {path.name: path for path in made}
    inputs |= {name: data / name for name in ("utt2emo", "utt2spk")}
    if missing := [path for path in inputs.values() if not path.exists()]:
        is_attention = missing[0].name == "attn.ark"
        made_by = "stage 5, of a system with attention" if is_attention else "the stage that makes it"
        raise DataError(f"{missing[0]}: no such file; run {made_by}")
    return inputs | set_files(data, read_used_set(alignment, f"{MADE_BY} again").name)


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
                weights[utt] = _read_weights(reader, utt, num_frames)
            except DataError as error:
                problems.append(str(error))
        reader.close()
    if problems:
        raise all_of(problems)
    return weights


def _read_weights(reader: tables.ArkReader, utt: str, num_frames: Mapping[str, int]) -> Floats:
    """The attention of one utterance, (T,)."""
    if utt not in num_frames:
        raise DataError(f"{reader.path}: {utt} is not in utt2num_frames; decode and align the same data")
    vector = reader.read(utt, num_frames[utt])
    total = float(vector.sum(dtype=np.float64))
    if vector.ndim != 1 or vector.min() < 0 or abs(total - 1) > SUM_TOLERANCE:
        raise DataError(
            f"{reader.path}: {utt}: attention must be weights of 0 or more that sum to 1, these sum to "
            f"{total:.6g}; run stage 5 again"
        )
    return vector


def _labels(output: Posteriors, data: Path) -> dict[str, tuple[str, str, str, str]]:
    """Speaker, reference, hypothesis and right or wrong of each utterance."""
    speakers = tables.read_table(data / "utt2spk", made_by="stage 0")
    references = read_utt2emo(data / "utt2emo", output.emotions)
    if unknown := sorted(output.posteriors.keys() - references.keys()):
        raise DataError(
            f"{data / 'utt2emo'}: has no {unknown[0]}, which {output.name} decoded; name its data"
        )
    labels = {}
    for utt, posterior in output.posteriors.items():
        hyp = output.emotions[int(decide(posterior))]
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
    frames, mass, peak = uncovered_frames(weights, spans)
    if frames:
        total = len(weights)
        values = (mass, mass / frames * total, peak * total, math.nan)
        yield Attended(utt, *labels, "unaligned", UNCOVERED, -1, frames, *values)
