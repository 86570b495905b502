"""Pieces of recordings, read and cut as they are asked for; what cannot be used is told, and passed over.

Shapes: N samples.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from ser.cli import progress
from ser.data.corpus import ChannelChoice, channels_of
from ser.data.unfit import SILENT_DBFS
from ser.errors import DataError, plural
from ser.feats.audio import LongRecording, resample, stream_samples
from ser.feats.base import Floats
from ser.predict.result import Piece
from ser.predict.segments import WHOLE_S, SegmentRule, Span
from ser.predict.sources import STDIN, Source

log = logging.getLogger("ser")

_REMEDY = "replace it, or leave it out"


class Pieces:
    """The pieces of sources at a model's rate, which may be gone through several times.

    Attributes:
        failures: name of a source -> what is wrong with it, of those that were found not to be usable.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        rule: SegmentRule,
        *,
        rate_hz: int,
        channel: ChannelChoice = None,
        least_samples: int = 1,
        strict: bool = False,
    ) -> None:
        """Nothing is read yet.

        Args:
            sources: in the order of their pieces.
            rule: how they are cut.
            rate_hz: of the pieces.
            channel: which of a recording's is taken, as ``audio.channel`` of a corpus.
            least_samples: what the model takes at least, at ``rate_hz``.
            strict: raise what is wrong with a source, instead of passing it over.
        """
        self.sources, self.rule, self.rate_hz = sources, rule, rate_hz
        self.channel, self.least_samples, self.strict = channel, least_samples, strict
        self.failures: dict[str, str] = {}
        self._spans: dict[int, list[Span]] = {}  # of sources that were looked at
        self._lower: dict[str, int] = {}  # sources with a lower rate -> that
        self._by_name = {source.name: source for source in sources}
        self._told: set[str] = set()
        self._is_summed_up = False

    def read(self, what: str) -> Iterator[Piece]:
        """All pieces, in the order of the sources and of time; ``what`` names the progress that is shown.

        Raises:
            DataError: a source cannot be used, and ``strict``.
        """
        is_one = len(self.sources) == 1  # then its pieces are counted, and else recordings
        sources = self.sources if is_one else progress(self.sources, what, len(self.sources))
        for index, source in enumerate(sources):
            try:
                yield from self._read(index, source, what if is_one else "")
            except DataError as error:
                self._fail(source, error)
        self._sum_up()

    def _read(self, index: int, source: Source, what: str) -> Iterator[Piece]:
        with stream_samples(source.recording, self._channels) as recording:
            if index not in self._spans:
                self._spans[index] = self.rule.spans(recording)
                recording.rewind()
            spans = self._spans[index]
            if not spans:
                raise DataError("has no speech; --segments whole takes all of it")
            if recording.rate_hz < self.rate_hz:
                self._lower[source.name] = recording.rate_hz
            for span in progress(spans, what, len(spans)) if what else spans:
                yield self._piece(source, recording, span, is_only=len(spans) == 1)

    def _channels(self, number: int) -> list[int]:
        try:
            return channels_of(self.channel, number)
        except ValueError as error:
            what = str(error).partition(";")[0]
            remedy = f"--channel mix takes the mean of all, --channel 0{', 1, ...' if number > 1 else ''} one"
            raise DataError(f"{what}; {remedy}") from error

    def _piece(self, source: Source, recording: LongRecording, span: Span, *, is_only: bool) -> Piece:
        samples = recording[span[0] : span[1]].copy()  # a view would keep all that is held
        if is_only and samples.min() == samples.max():
            raise DataError("is silent, all of its samples are the same; check the channel (--channel)")
        return make_piece(
            samples,
            recording.rate_hz,
            target_hz=self.rate_hz,
            least_samples=self.least_samples,
            source=source.name,
            speaker=source.speaker,
            first=recording.first + span[0],
        )

    def failed(self, piece: Piece, error: DataError) -> None:
        """Tell once what the model says against a piece.

        Raises:
            DataError: that, if ``strict``.
        """
        self._fail(self._by_name[piece.source], error)

    def _fail(self, source: Source, error: DataError) -> None:
        """Tell once what is wrong with a source, under the name that it was given."""
        message = str(error)
        name = "standard input" if source.name == STDIN else source.name
        for own in (str(source.recording.path), source.name):
            message = message.removeprefix(own)
        text = f"{name}{'' if message[:1] in (':', ' ') else ': '}{message}"
        text = remedied(text, "--")
        if self.strict:
            raise DataError(text) from error
        if text not in self._told:
            log.warning("%s", text)
        self._told.add(text)
        self.failures.setdefault(source.name, text)

    def _sum_up(self) -> None:
        """Say once how recordings were cut, and which have a lower rate."""
        if self._is_summed_up:
            return
        self._is_summed_up = True
        cut = [index for index, spans in self._spans.items() if len(spans) > 1]
        if cut:
            number = sum(len(self._spans[index]) for index in cut)
            how = {"windows": f"windows of {self.rule.window_s:g} s"}.get(self.rule.kind, "speech activity")
            why = f" (longer than {WHOLE_S:g} s)" if self.rule.kind == "auto" else ""
            log.info("%s%s cut by %s into %d pieces", plural(len(cut), "recording"), why, how, number)
        if self._lower:
            name, rate = next(iter(self._lower.items()))
            log.warning(
                "%d of %s sampled below the model's %d Hz (%s: %d Hz), so higher sounds are missing",
                len(self._lower), plural(len(self.sources), "recording"), self.rate_hz, name, rate,
            )  # fmt: skip


def remedied(message: str, mark: str) -> str:
    """What is wrong with a recording, and what its user can do: the recipe's remedies are of no use to him.

    Args:
        message: ends with a remedy, behind a semicolon.
        mark: in remedies that stay.

    >>> remedied("x.wav: no such file; run stage 0 again", "--")
    'x.wav: no such file; replace it, or leave it out'
    """
    what, _, remedy = message.rpartition("; ")
    return f"{what}; {remedy if mark in remedy else _REMEDY}"


def make_piece(
    samples: Floats,
    rate_hz: int,
    *,
    target_hz: int,
    least_samples: int,
    source: str,
    speaker: str,
    first: int = 0,
) -> Piece:
    """What is classified as one, at a model's rate; its notes say what its samples lack.

    Args:
        samples: one channel in [-1, 1], (N,), N > 0.
        rate_hz: theirs.
        target_hz: the model's.
        least_samples: what the model takes at least, at its rate.
        source: what the recording is called.
        speaker: who speaks.
        first: the recording's sample that is the first of these.

    Raises:
        DataError: it is too short; goes without the recording's name.
    """
    converted = resample(samples, rate_hz, target_hz)
    if len(converted) < least_samples:
        raise DataError(
            f"is too short, {1000 * len(samples) / rate_hz:.4g} ms, the model takes "
            f"{1000 * least_samples / target_hz:g} ms; {_REMEDY}"
        )
    notes = [f"sampled at {rate_hz} Hz"] if rate_hz < target_hz else []
    level = rms_dbfs(converted)
    if level < SILENT_DBFS:
        notes.append(f"silent ({level:.0f} dBFS)")
    begin_s, end_s = first / rate_hz, (first + len(samples)) / rate_hz
    return Piece(source, speaker, begin_s, end_s, converted, tuple(notes))


def rms_dbfs(samples: Floats) -> float:
    """The level of samples (N,) without their mean, in dB below full scale; -inf if all are the same.

    >>> round(rms_dbfs(np.tile(np.array([0.6, 0.4], np.float32), 50)), 1), rms_dbfs(np.ones(9, np.float32))
    (-20.0, -inf)
    """
    if samples.min() == samples.max():
        return -np.inf
    return float(20 * np.log10(np.std(samples, dtype=np.float64)))
