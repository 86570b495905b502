"""The extractor ``pretrained``: frames of a pretrained encoder, such as Whisper, wav2vec 2.0 or WavLM.

Shapes: N samples, T frames, H values of a layer's output, L layers that are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from ser.errors import ConfigError, DataError, UsageError
from ser.feats.base import Floats, Layout, Timing
from ser.feats.encoder_files import EncoderFiles, Front, find_files, library_version, read_front
from ser.ranges import Range

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording
    from ser.feats.encoder import Encoder


Number = Annotated[int, Range(0, 1000)]  # of a layer


@dataclass(frozen=True)
class PretrainedSettings:
    """Which encoder, and which of its layers."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME
    model: str  # a name of the hub, or a folder, written with a leading / or ./
    revision: str | None  # of the hub: branch, tag or commit; null: the main branch
    # a layer, a list of them, or all: side by side; 0 is what goes into the first layer
    layers: Literal["all"] | Number | tuple[Number, ...]
    padding: Literal["none", "model"]  # model: Whisper's input is padded to 30 s, as it was trained
    chunk_s: Annotated[float, Range(above=0, most=600)]  # longer recordings are encoded in pieces
    overlap_s: Annotated[float, Range(0, 60)]  # of a piece on either side that only gives context
    dtype: Literal["float32", "bfloat16", "float16"]  # of weights and arithmetic
    device: Literal["auto", "cpu", "cuda"]  # auto: a GPU where there is one
    weights_sha256: str | None = None  # of the weights; may be left out: whichever are there
    config_sha256: str | None = None  # of what the two other files say; may be left out


class Pretrained:
    """Outputs of an encoder's layers; the encoder is loaded by the first :meth:`compute`."""

    Settings: ClassVar[type[Any]] = PretrainedSettings
    in_blocks: ClassVar[bool] = True  # takes a long recording from its file, piece by piece

    def __init__(self, settings: PretrainedSettings, sampling_rate_hz: int) -> None:
        """``sampling_rate_hz`` must be the model's.

        Raises:
            DataError: the model's files are not there, or cannot be used.
            ConfigError: they are not those that the settings say.
            ValueError: settings that do not fit the model.
        """
        self._settings = settings
        self._files = find_files(settings.model, settings.revision, settings.weights_sha256)
        self._front = read_front(self._files)
        _check_digests(settings, self._files)
        self.layers = _wanted_layers(settings, self._front, self._files.name)
        if self._front.rate_hz != sampling_rate_hz:
            raise ValueError(
                f"{self._files.name} takes recordings at {self._front.rate_hz} Hz, audio.sampling_rate_hz is "
                f"{sampling_rate_hz}: set that to {self._front.rate_hz} and audio.resample to convert"
            )
        if settings.padding == "model" and self._front.max_frames is None:
            raise ValueError(f"padding must be none for {self._files.name}, which takes any length")
        self._chunk, self._overlap = _chunk_frames(settings, self._front, self._files.name)

    @property
    def dim(self) -> int:
        """Values of a frame, L * H."""
        return len(self.layers) * self._front.dim

    @property
    def compress(self) -> Literal["none", "CM2"]:
        """Several layers are kept in two bytes a value, Kaldi's counterpart of half precision."""
        return "none" if len(self.layers) == 1 else "CM2"

    @property
    def layout(self) -> Layout:
        """The layers, whose values have no order."""
        return Layout(self.layers, ordered=False)

    @property
    def timing(self) -> Timing:
        """Of the frames, from the convolutions that the model begins with."""
        return self._front.timing

    @property
    def min_samples(self) -> int:
        """What makes a frame."""
        return self._front.min_samples

    @property
    def versions(self) -> dict[str, str]:
        """The library's.

        Raises:
            UsageError: it is not installed.
        """
        return {"transformers": library_version()}

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings as they are kept: which weights, not where they lay or what computed them."""
        return {
            **asdict(self._settings),
            "model": self._files.name,
            "revision": self._files.revision,
            "layers": list(self.layers),
            "device": "auto",
            "weights_sha256": self._files.weights_sha256(),
            "config_sha256": self._files.config_sha256(),
        }

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """Outputs of the layers side by side, (T, L * H).

        Raises:
            UsageError: transformers or the GPU that is asked for cannot be used.
            DataError: the recording is too short for a frame.
        """
        total = self._front.num_frames(len(samples))
        if total == 0:
            raise DataError(
                f"has {len(samples)} samples, fewer than the {self.min_samples} of a frame; leave it out "
                "where the corpus is prepared"
            )
        features: Floats = np.empty((total, self.dim), np.float32)
        for first, start, end in self._pieces(total):
            stop = min(start + self._chunk, total)
            last = (
                len(samples)
                if stop == total
                else start * self._front.shift + self._front.num_samples(stop - start)
            )
            values = self._encoder.hidden(samples[start * self._front.shift : last])
            if len(values) != stop - start:
                raise UsageError(
                    f"{self._files.name} gave {len(values)} frames where its files promise {stop - start}; "
                    "it cannot be used"
                )
            features[first:end] = values[first - start : end - start]
        return features

    def _pieces(self, total: int) -> Iterator[tuple[int, int, int]]:
        """Of each piece: the first frame that is kept, its own first frame, the end of what is kept."""
        starts = [0]
        while starts[-1] + self._chunk < total:
            starts.append(min(starts[-1] + self._chunk - 2 * self._overlap, total - self._chunk))
        kept = [0, *(start + self._overlap for start in starts[1:]), total]
        yield from zip(kept[:-1], starts, kept[1:], strict=True)

    @cached_property
    def _encoder(self) -> Encoder:
        from ser.feats.encoder import Encoder

        settings = self._settings
        return Encoder(
            self._files,
            self._front,
            self.layers,
            settings.dtype,
            settings.device,
            pad=settings.padding == "model",
        )


def _check_digests(settings: PretrainedSettings, files: EncoderFiles) -> None:
    """Refuse other weights, or another configuration, than the settings say."""
    for what, said, has in (
        ("weights", settings.weights_sha256, files.weights_sha256),
        ("config", settings.config_sha256, files.config_sha256),
    ):
        if said is not None and (found := has()) != said:
            raise ConfigError(
                f"{files.folder}: its {what} have the sha256 {found[:16]}, expected {said[:16]} of "
                f"{files.name}; name the folder of the model that the features were made with"
            )


def _wanted_layers(settings: PretrainedSettings, front: Front, name: str) -> tuple[int, ...]:
    """Numbers of layers, rising."""
    asked = settings.layers
    if asked == "all":
        return tuple(range(front.num_layers + 1))
    layers = (asked,) if isinstance(asked, int) else asked
    if not layers or list(layers) != sorted(set(layers)):
        raise ValueError(f"layers must be a rising list of layers, got {list(layers)}")
    if not 0 <= layers[0] <= layers[-1] <= front.num_layers:
        raise ValueError(
            f"layers must be 0 to {front.num_layers}, which is what {name} has, got {list(layers)}"
        )
    return layers


def _chunk_frames(settings: PretrainedSettings, front: Front, name: str) -> tuple[int, int]:
    """Frames of a piece, and of its context on either side."""
    chunk, overlap = (
        round(seconds * front.rate_hz / front.shift) for seconds in (settings.chunk_s, settings.overlap_s)
    )
    if front.max_frames is not None and chunk > front.max_frames:
        longest_s = front.max_frames * front.shift / front.rate_hz
        raise ValueError(f"chunk_s must be {longest_s:g} or less for {name}, got {settings.chunk_s:g}")
    if chunk <= 2 * overlap:
        raise ValueError(
            f"chunk_s must be more than twice overlap_s, got {settings.chunk_s:g} and {settings.overlap_s:g}"
        )
    return chunk, overlap
