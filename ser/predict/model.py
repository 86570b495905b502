"""A trained model in use: from pieces of recordings to posteriors, by the code of the recipe's stages.

Features are made as in stage 1, normalised and classified as in stage 5; what differs is that they stay in
memory, a batch of pieces at a time.  How pieces fall into batches changes nothing but last digits.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ser.data.corpus import ChannelChoice
from ser.data.normalisation import LEAST_UTTERANCES, LITTLE_S
from ser.errors import CheckpointError, DataError, UsageError, examples, plural
from ser.feats.front_end import Made
from ser.feats.level import added
from ser.feats.memory_subset import MemorySubset
from ser.feats.subset import Subset
from ser.learn.decoding import decisions, pooled_sums
from ser.learn.models import VERSIONS, TrainedModel, check_audio_alone, load_model
from ser.learn.packages import LIMITS
from ser.predict.batches import Failed, Preparation, Prepared, Sums, fail
from ser.predict.kept import KeptFeatures
from ser.predict.names import find_model
from ser.predict.recording import Audio, whole_piece
from ser.predict.result import Doubles, Piece, Result
from ser.predict.track import TrackSettings
from ser.predict.tracking import Tracker
from ser.systems.base import Decision, Estimator

log = logging.getLogger("ser")

SOMEBODY = "somebody"  # who speaks in a single recording, where nobody says


@dataclass(frozen=True)
class Speakers:
    """Statistics over all that each speaker says; sums alone, none of the audio.

    Attributes:
        sums: feature set (of an estimator: "") -> speaker -> sums.
        seconds: speaker -> audio, in seconds.
        pieces: speaker -> how many pieces that was.
    """

    sums: Sums
    seconds: Mapping[str, float]
    pieces: Mapping[str, int]

    def little(self, name: str, *, vectors: bool) -> str:
        """That a speaker says too little for statistics; nothing if it may do.

        Args:
            name: the speaker.
            vectors: statistics are of one vector a piece.
        """
        if vectors and self.pieces[name] < LEAST_UTTERANCES:
            return f"statistics of {plural(self.pieces[name], 'piece')}, fewer than {LEAST_UTTERANCES}"
        if self.seconds[name] < LITTLE_S:
            return f"statistics of {self.seconds[name]:.1f} s, less than {LITTLE_S:g} s"
        return ""


@dataclass(frozen=True)
class Classified:
    """A piece as a model sees it, for whoever looks closer, such as at emotion over time.

    Attributes:
        piece: that.
        made: its features, as they were made.
        subset: has its normalised features, and those of other pieces.
        decision: what the model says; ``index`` is the piece's place in ``subset``.
    """

    piece: Piece
    made: Made
    subset: MemorySubset
    decision: Decision


class Model:
    """A trained model in use.

    Attributes:
        trained: the model folder that was read.
        emotions: the classes, in the order of posteriors.
        norm: how features are normalised: none, utterance, speaker or global.
        needs_speakers: whether it takes statistics over all that a speaker says.
        sampling_rate_hz: of the samples that it takes.
        least_samples: the fewest that it takes.
        notes: what must be known of all that it says.
        limits: what its maker says it cannot; nothing of a model folder.
    """

    def __init__(self, trained: TrainedModel, allow: Sequence[str] = (), use_gpu: str = "auto") -> None:
        """Make ready what makes the features.

        Args:
            trained: the model.
            allow: code outside ``ser`` that makes its features.
            use_gpu: auto, yes or no; for networks.

        Raises:
            CheckpointError: it cannot be used, reads more than recordings, or names code that is not allowed.
            UsageError: what makes its features is not installed.
        """
        check_audio_alone(trained)
        self.trained, self._use_gpu = trained, use_gpu
        self.emotions, self.norm = trained.emotions, str(trained.norm)
        self._preparation = Preparation(trained, allow, use_gpu)
        front_end = self._preparation.front_end
        self.sampling_rate_hz, self.least_samples = front_end.sampling_rate_hz, front_end.least_samples
        self.needs_speakers = "speaker" in (self.norm, self._preparation.speech.level)
        system = trained.system
        if isinstance(system, Estimator) and self.needs_speakers and system.speaker_stats is None:
            raise CheckpointError(
                f"{trained.folder}: its system normalises by speaker, but has no speaker_stats to "
                "say which statistics it takes; ser/systems/base.py says what it needs"
            )
        main = next(iter(front_end.sets.values()), None)
        self._timing = None if main is None else main.timing
        self._pools = getattr(trained.settings, "by_speaker", False)  # what it pools is normalised, too
        self._vectors = isinstance(system, Estimator) or self._timing is None or self._pools  # statistics of
        self.notes = self._version_notes()
        limits = trained.facts.get(LIMITS)
        self.limits = tuple(str(limit) for limit in limits) if isinstance(limits, list) else ()

    def _version_notes(self) -> tuple[str, ...]:
        """Say which libraries make the features in another version than in training."""
        known = self.trained.facts.get(VERSIONS)
        notes: list[str] = []
        for name, here in self._preparation.front_end.versions().items():
            before = known.get(name) if isinstance(known, dict) else None
            if not isinstance(before, dict):
                continue  # of a model that does not say
            notes += [
                f"features {name} are made with {library} {version}, in training with "
                f"{before.get(library, 'none')}; posteriors may differ"
                for library, version in here.items()
                if before.get(library) != version
            ]
        for note in notes:
            log.warning("%s: %s", self.trained.folder, note)
        return tuple(notes)

    @contextmanager
    def features_kept(self) -> Iterator[None]:
        """Keep features in a temporary file while the block runs: pieces that come again need none made.

        For :meth:`speakers` and :meth:`results` of the same pieces, which source and times must tell apart.
        """
        with tempfile.TemporaryFile(prefix="ser-") as stream:
            self._preparation.kept = KeptFeatures(stream)
            try:
                yield
            finally:
                self._preparation.kept = None

    def speakers(
        self, pieces: Iterable[Piece], failed: Failed | None = None, *, warn: bool = True
    ) -> Speakers:
        """Statistics over all that each speaker says, in one pass; warns of speakers who say little.

        Args:
            pieces: all of each speaker's.
            failed: told of a piece that cannot be used, which is passed over; None raises it.
            warn: of speakers who say little; notes of results say so anyway.

        Raises:
            DataError: a piece cannot be used, or its speaker is not known.
        """
        if self._pools and self._preparation.kept is None:
            with self.features_kept():  # they are gone through twice
                return self.speakers(pieces, failed, warn=warn)
        sums: dict[str, dict[str, Doubles]] = {}
        seconds: dict[str, float] = {}
        count: dict[str, int] = {}
        seen: list[Piece] = []  # without their samples
        for batch in self._preparation.batches(pieces, self._check_speaker, failed):
            if self.needs_speakers:
                _add(sums, self._preparation.sums(batch))
            for piece, _ in batch:
                seconds[piece.speaker] = seconds.get(piece.speaker, 0.0) + piece.end_s - piece.start_s
                count[piece.speaker] = count.get(piece.speaker, 0) + 1
                if self._pools:
                    seen.append(replace(piece, samples=piece.samples[:0]))
        for batch in self._preparation.batches(seen, self._check_speaker, None):
            self._add_pooled(sums, batch, failed)
        speakers = Speakers(sums, seconds, count)
        texts = {name: speakers.little(name, vectors=self._vectors) for name in seconds}
        little = [f"{name}: {text}" for name, text in texts.items() if text and self.needs_speakers]
        if little and warn:
            log.warning(
                "normalisation: %s of %s too little to be normalised by (%s)",
                len(little),
                f"{plural(len(seconds), 'speaker')} {'says' if len(little) == 1 else 'say'}",
                "; ".join(little[:3]),
            )
        return speakers

    def _add_pooled(
        self, sums: dict[str, dict[str, Doubles]], batch: Sequence[Prepared], failed: Failed | None
    ) -> None:
        """Add what the network pools from a batch, as "", to the sums; piece by piece where that fails."""
        try:
            pooled = pooled_sums(self.trained, self._preparation.subset(batch, sums), self._use_gpu)
        except DataError as error:
            if len(batch) == 1:
                fail(batch[0].piece, error, failed)
                return
            for each in batch:
                self._add_pooled(sums, [each], failed)
            return
        _add(sums, {"": pooled})

    def results(
        self,
        pieces: Iterable[Piece],
        speakers: Speakers | None = None,
        track: TrackSettings | None = None,
        failed: Failed | None = None,
    ) -> Iterator[Result]:
        """What the model says of pieces, in their order, as they come; a batch of them is in memory.

        Args:
            pieces: taken one by one, as far as a batch needs.
            speakers: what :meth:`speakers` gave of all that their speakers say, of a model that needs it.
            track: how the emotion over time of each piece is made; None: it is not.
            failed: told of a piece that cannot be used, which is passed over; None raises it.

        Raises:
            UsageError: the model needs statistics of speakers, and there are none.
            DataError: a piece cannot be used, or nothing is known of its speaker.
        """
        if self.needs_speakers and speakers is None:
            raise UsageError(
                f"{self.trained.folder}: normalises by the statistics of each speaker, which are not given; "
                "take them of all pieces with model.speakers(pieces), and hand them to model.results"
            )
        tracker = None if track is None else Tracker(self, track, speakers)
        return self._results(pieces, speakers, tracker, failed)

    def _results(
        self,
        pieces: Iterable[Piece],
        speakers: Speakers | None,
        tracker: Tracker | None,
        failed: Failed | None,
    ) -> Iterator[Result]:
        def check(piece: Piece) -> None:
            self._check_speaker(piece, speakers)

        for batch in self._preparation.batches(pieces, check, failed):
            for seen in self._classify(batch, speakers, failed):
                yield self._result(seen, speakers, tracker)

    def _check_speaker(self, piece: Piece, speakers: Speakers | None = None) -> None:
        if not self.needs_speakers:
            return
        if not piece.speaker:
            raise DataError(
                f"{piece.source}: who speaks is not known, and the model normalises by speaker; name "
                "the speaker"
            )
        if speakers is not None and piece.speaker not in speakers.seconds:
            raise DataError(
                f"{piece.source}: there are no statistics of its speaker {piece.speaker} (but of "
                f"{examples(sorted(speakers.seconds))}); take them of all pieces"
            )

    def _classify(
        self, batch: Sequence[Prepared], speakers: Speakers | None, failed: Failed | None
    ) -> Iterator[Classified]:
        """Decide on a batch; where that fails, piece by piece, so that it fails for those that it must."""
        sums = speakers.sums if speakers is not None and self.needs_speakers else None
        subset = self._preparation.subset(batch, sums)
        try:
            decided = self.decide(subset)
        except DataError as error:
            if len(batch) == 1:
                fail(batch[0].piece, error, failed)
                return
            for each in batch:
                yield from self._classify([each], speakers, failed)
            return
        for decision in decided:
            yield Classified(*batch[decision.index], subset, decision)

    def decide(self, subset: Subset) -> list[Decision]:
        """What the model says of utterances whose features are made and normalised.

        Raises:
            DataError: the memory is too small.
        """
        return list(decisions(self.trained, subset, self._use_gpu))

    def _result(self, seen: Classified, speakers: Speakers | None, tracker: Tracker | None) -> Result:
        piece, decision, calibration = seen.piece, seen.decision, self.trained.calibration
        posterior = decision.padded if decision.posterior is None else decision.posterior
        assert posterior is not None
        return Result(
            piece.source,
            piece.speaker,
            piece.start_s,
            piece.end_s,
            self.emotions,
            posterior,
            calibrated=None if calibration is None else calibration.apply(posterior),
            attention=decision.attention,
            timing=self._timing,
            track=None if tracker is None else tracker(seen),
            notes=tuple(self._notes_of(seen, speakers)),
        )

    def _notes_of(self, seen: Classified, speakers: Speakers | None) -> Iterator[str]:
        yield from seen.piece.notes
        if seen.decision.posterior is None:
            yield f"shorter than the context, padded ({seen.decision.reason})"
        if seen.made.speech is not None and not seen.made.speech.any():
            yield "no speech found, all frames are read"
        if self.needs_speakers and speakers is not None:
            little = speakers.little(seen.piece.speaker, vectors=self._vectors)
            if little:
                yield little

    def predict(
        self,
        audio: Audio,
        *,
        channel: ChannelChoice = None,
        speaker: str = "",
        speakers: Speakers | None = None,
        track: TrackSettings | None = None,
    ) -> Result:
        """What the model says of one recording, taken as a whole.

        Args:
            audio: a file, or samples in [-1, 1], (N,) or (N, channels), and their sampling rate in Hz.
            channel: of a recording with several, as ``audio.channel`` of a corpus: a number from 0, several
                of which the first that there is, or "mix"; None: the only one.
            speaker: who speaks.
            speakers: statistics over all that speakers say, of a model that needs them; None takes those of
                this recording.
            track: how the emotion over time is made; None: it is not.

        Raises:
            DataError: the recording cannot be used.
        """
        piece = whole_piece(
            audio,
            target_hz=self.sampling_rate_hz,
            least_samples=self.least_samples,
            channel=channel,
            speaker=speaker or SOMEBODY,
        )
        if self.needs_speakers and speakers is None:
            speakers = self.speakers([piece])
        return replace(next(self.results([piece], speakers, track)), speaker=speaker)


def _add(sums: dict[str, dict[str, Doubles]], more: Sums) -> None:
    """Add the sums of other pieces."""
    for name, own in more.items():
        sums[name] = added([*sums.get(name, {}).items(), *own.items()])


def load(name_or_path: str | Path, allow: Sequence[str] = (), use_gpu: str = "auto") -> Model:
    """A trained model, ready to use.

    Args:
        name_or_path: what :func:`ser.predict.names.find_model` knows.
        allow: code outside ``ser`` that the model may name, which is then imported.
        use_gpu: auto, yes or no; for networks.

    Raises:
        CheckpointError: there is no usable model, or it names code that is not allowed.
    """
    return Model(load_model(find_model(name_or_path), allow), allow, use_gpu)
