"""Feature sets and speech activity of samples, as stage 1 makes them of recordings.

Shapes: N samples, T frames, F values of a frame (or of a recording's one vector).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ser import config, reading
from ser.data.tables import archived
from ser.errors import ConfigError, DataError
from ser.feats.base import Extractor, Floats, Timing
from ser.feats.extract import compute
from ser.feats.sets import EXTRACTOR, FeatureSet, parse_set
from ser.feats.speech import Bools, in_frames
from ser.feats.vad import VadConfig, decide

ANY_RATE_HZ = 16000  # of a system that reads no features
_REMEDY = "train the model again"
VAD_SOURCE = "made"  # the key of vad.yaml with the settings of the set that is looked at


class Made(NamedTuple):
    """What was made of one recording."""

    values: dict[str, Floats]  # feature set -> (T, F), or (F,)
    speech: Bools | None  # (T,) in frames of :attr:`FrontEnd.main`; None where nobody asks for it


class FrontEnd:
    """Makes the feature sets that a model reads, and finds speech, with the settings of its training.

    Attributes:
        sets: the feature sets by name.
        dims: feature set -> F.
        sampling_rate_hz: of the samples.
        least_samples: the fewest that features can be made of.
        main: timing of the frames that speech activity is in; None where nobody asks for it.
    """

    def __init__(
        self,
        sets: Mapping[str, Mapping[str, Any]],
        vad: Mapping[str, Any] | None,
        main: Mapping[str, Any] | None,
        source: str,
        use_gpu: str = "auto",
    ) -> None:
        """Import what makes the features.

        Args:
            sets: feature set -> its settings, as a data folder has them.
            vad: those of speech activity, as ``vad.yaml`` has them; None where nobody asks for it.
            main: those of the set in whose frames it is, as ``feats.yaml`` has them; None: the first of
                ``sets``.
            source: where they stood, for messages.
            use_gpu: auto, yes or no; for networks that make features.

        Raises:
            ConfigError: settings that cannot be used.
        """
        self._vad: VadConfig | None = None
        self.main: Timing | None = None
        with reading.guarded(source, _REMEDY, ConfigError, what="does not say how its features are made"):
            self.sets = {name: parse_set(name, tree, source) for name, tree in sets.items()}
            self._used: list[FeatureSet] = list(self.sets.values())
            if vad is not None:
                self._read_vad(vad, main, source)
            rates = {each.audio.sampling_rate_hz for each in self._used}
            if len(rates) > 1:
                raise reading.BadFileError(f"reads features of samples at {rates} Hz")
        self._extractors: list[Extractor] = [each.make(use_gpu) for each in self._used]
        for each, extractor in zip(self._used, self._extractors, strict=True):
            if each.timing != extractor.timing:
                raise ConfigError(
                    f"{source}: the frames of its features {each.name} are at other times than it says; "
                    f"{_REMEDY}"
                )
        self.dims = {name: each.dim for name, each in zip(self.sets, self._extractors, strict=False)}
        self.sampling_rate_hz = rates.pop() if rates else ANY_RATE_HZ
        self.least_samples = max((getattr(each, "min_samples", 1) for each in self._extractors), default=1)

    def _read_vad(self, vad: Mapping[str, Any], main: Mapping[str, Any] | None, source: str) -> None:
        rules = {key: value for key, value in vad.items() if key != VAD_SOURCE}
        self._vad = config.build(VadConfig, rules, f"{source}: vad")
        rest = {key: value for key, value in (main or {}).items() if key != "set"}
        self._main = self._used[0] if main is None else parse_set(str(main.get("set")), rest, source)
        self._source = parse_set(self._vad.set, vad.get(VAD_SOURCE, {}), f"{source}: vad")
        if self._main.timing is None or self._source.timing is None:
            raise reading.BadFileError("finds speech in features without frames")
        self.main = self._main.timing
        self._used += [each for each in (self._main, self._source) if each not in self._used]

    def versions(self) -> dict[str, dict[str, str]]:
        """Libraries that the values depend on: feature set -> library -> its version here."""
        pairs = zip(self._used, self._extractors, strict=True)
        return {each.name: dict(extractor.versions) for each, extractor in pairs}

    def make(self, samples: Floats, key: str, place: str) -> Made:
        """Make the features of a recording.

        Args:
            samples: one channel in [-1, 1], (N,), at :attr:`sampling_rate_hz`.
            key: seeds noise, if there is any.
            place: the recording, for messages.

        Raises:
            DataError: too short, NaN or infinite samples, or an extractor cannot use it.
        """
        if len(samples) < self.least_samples:
            has_ms, least_ms = (1000 * n / self.sampling_rate_hz for n in (len(samples), self.least_samples))
            raise DataError(
                f"{place}: is too short, {has_ms:.4g} ms; the model takes {least_ms:.4g} ms or more, "
                "leave it out"
            )
        if not np.isfinite(samples).all():
            count = np.count_nonzero(~np.isfinite(samples))
            raise DataError(
                f"{place}: {count} of {len(samples)} samples are NaN or infinite; replace it, or leave it out"
            )
        made = [
            archived(compute(samples, extractor, key, place), each.compress)
            for each, extractor in zip(self._used, self._extractors, strict=True)
        ]
        values = dict(zip(self.sets, made, strict=False))
        if self._vad is None or self.main is None or self._source.timing is None:
            return Made(values, None)
        high = decide(made[self._used.index(self._source)][:, 0], self._vad)
        num_frames = len(made[self._used.index(self._main)])
        return Made(values, in_frames(high, self._source.timing, num_frames, self.main))


def extractor_names(sets: Iterable[Any]) -> list[str]:
    """The code that feature sets are made with, of settings as a data folder has them."""
    settings = [tree.get("settings") for tree in sets if isinstance(tree, Mapping)]
    names = [each.get(EXTRACTOR) for each in settings if isinstance(each, Mapping)]
    return [name for name in names if isinstance(name, str)]
