"""Recordings in, a table out: what ``ser predict`` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ser.data.corpus import ChannelChoice
from ser.errors import DataError, UsageError, plural
from ser.predict import model as models
from ser.predict.model import Model
from ser.predict.names import DEFAULT, split_words
from ser.predict.pieces import Pieces
from ser.predict.result_tables import TableFormat, open_results
from ser.predict.segments import SegmentRule
from ser.predict.sources import Source, find_sources, standard_input
from ser.predict.speakers import SpeakerOf, with_speakers
from ser.predict.tracking import on_chunks
from ser.predict.views import ViewOptions, Views, facts_of

log = logging.getLogger("ser")

_NORMS = {
    "none": "none",
    "utterance": "by the statistics of each piece itself",
    "global": "by the statistics of what the model was trained on",
    "speaker": "by the statistics of all that each speaker says",
}


@dataclass(frozen=True)
class Options:
    """What is asked for besides the recordings.

    Attributes:
        out: the table; None: standard output.
        format: of the table.
        segments: how recordings are cut.
        channel: of recordings with several, as ``audio.channel`` of a corpus.
        speakers: a table of who speaks.
        speaker_of: what has a speaker of its own.
        strict: stop at the first recording that cannot be used.
        views: tracks, figures and a page.
    """

    out: Path | None = None
    format: TableFormat = "tsv"
    segments: SegmentRule = SegmentRule()
    channel: ChannelChoice = None
    speakers: Path | None = None
    speaker_of: SpeakerOf | None = None
    strict: bool = False
    views: ViewOptions = ViewOptions()


def parse_channel(text: str | None) -> ChannelChoice:
    """A channel from 0, several (``1,0``: the first of them that there is), ``mix``, or None for mono alone.

    Raises:
        UsageError: it is something else.

    >>> parse_channel("1,0"), parse_channel("2"), parse_channel("mix")
    ((1, 0), 2, 'mix')
    """
    if text is None or text == "mix":
        return text  # type: ignore[return-value]
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        raise UsageError(f"--channel must be a number from 0, several such as 1,0, or mix, got {text[:20]}")
    numbers = tuple(map(int, parts))
    return numbers[0] if len(numbers) == 1 else numbers


def predict_recordings(
    words: Sequence[str], options: Options, *, use_gpu: str = "auto", allow: Sequence[str] = ()
) -> None:
    """Write what a model says of recordings.

    Args:
        words: the model's name or path, or none, then the recordings, see
            :func:`ser.predict.sources.find_sources`.
        options: everything else.
        use_gpu: auto, yes or no.
        allow: code outside ``ser`` that the model may name.

    Raises:
        UsageError: the command line does not say all that is needed.
        CheckpointError: there is no usable model.
        DataError: recordings could not be used; without ``options.strict`` all others are in the table.
    """
    name, inputs, is_default = split_words(words)
    model = models.load(name, allow, use_gpu)
    if is_default:
        tell_default(model)
    if not inputs:
        raise UsageError(f"name recordings behind the model {name}: files, folders, a table, or -")
    with standard_input(inputs) as stdin:
        sources = _normalised(model, name, find_sources(inputs, stdin), options)
        pieces = Pieces(
            sources,
            options.segments,
            rate_hz=model.sampling_rate_hz,
            channel=options.channel,
            least_samples=model.least_samples,
            strict=options.strict,
        )
        _write(model, name, pieces, options)
    if pieces.failures:
        failed, total = len(pieces.failures), len({source.name for source in sources})
        rest = "what could be is in the table" if failed < total else "the table has none"
        raise DataError(f"{failed} of {plural(total, 'recording')} could not be used, as said above; {rest}")


def tell_default(model: Model) -> None:
    """Say that no model was named, and what the one that is taken cannot."""
    log.warning("no model was named, %s is taken, which comes with ser: %s", DEFAULT, " ".join(model.limits))


def _normalised(model: Model, name: str, sources: list[Source], options: Options) -> list[Source]:
    """Sources with their speakers if the model needs them; says by what features are normalised."""
    if model.needs_speakers:
        return with_speakers(sources, options.speakers, options.speaker_of, name)
    given = {"--speakers": options.speakers, "--speaker-of": options.speaker_of}
    for option in (option for option, value in given.items() if value is not None):
        log.warning("%s is not used: the model does not ask who speaks", option)
    log.info("normalisation: %s", _NORMS[model.norm])
    return sources


def _write(model: Model, name: str, pieces: Pieces, options: Options) -> None:
    views = _views(model, name, options)
    speakers = None
    with ExitStack() as stack:
        if model.needs_speakers:
            stack.enter_context(model.features_kept())
            speakers = model.speakers(pieces.read("statistics of speakers"), pieces.failed)
        watched = views.watch(pieces.read("predictions"))
        results = model.results(watched, speakers, options.views.settings, pieces.failed)
        write = stack.enter_context(open_results(options.out, options.format, model.emotions))
        for result in views.show(results):
            write(result)


def _views(model: Model, name: str, options: Options) -> Views:
    """What is made besides the table; says what a track is."""
    settings = options.views.settings
    track = "" if settings is None else settings.describe(on_chunks(model))
    if track:
        log.info("track: %s", track)
    facts = facts_of(model.emotions, _NORMS[model.norm], track, options.views.smooth_s)
    facts["sure"] = "the posterior" if model.trained.calibration is None else "the calibrated posterior"
    limits = [*model.limits, *model.notes]
    return Views(options.views, model.sampling_rate_hz, name, facts, limits)
