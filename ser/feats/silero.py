"""The extractor ``silero``: the probability of speech that Silero VAD, a small recurrent network, gives.

Its weights are in the package; nothing is fetched.  N are the samples of a recording, T its frames.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ser.errors import UsageError
from ser.feats.base import Floats, Timing

if TYPE_CHECKING:
    from ser.feats.audio import LongRecording

FRAME_SAMPLES = {8000: 256, 16000: 512}  # sampling rate in Hz -> samples of a frame, 32 ms
_INSTALL = "install it with: utils/install.sh --extra vad"


@dataclass(frozen=True)
class SileroSettings:
    """The network has no settings."""

    extractor: str  # the code: a word of ser/feats, or my_package.my_module:NAME


class Silero:
    """One value a frame of 32 ms; the network is loaded by the first :meth:`compute`."""

    Settings: ClassVar[type[Any]] = SileroSettings
    in_blocks: ClassVar[bool] = True  # takes a long recording from its file, frame by frame
    dim: ClassVar[int] = 1

    def __init__(self, settings: SileroSettings, sampling_rate_hz: int) -> None:  # noqa: ARG002  (a contract's)
        """``sampling_rate_hz`` is one that the network knows.

        Raises:
            ValueError: it is not.
        """
        if sampling_rate_hz not in FRAME_SAMPLES:
            raise ValueError(
                "Silero VAD takes recordings at 8000 or 16000 Hz, audio.sampling_rate_hz is "
                f"{sampling_rate_hz}"
            )
        self._rate_hz, self._length = sampling_rate_hz, FRAME_SAMPLES[sampling_rate_hz]
        self.timing = Timing(self._length / sampling_rate_hz, self._length / 2 / sampling_rate_hz)

    @property
    def versions(self) -> dict[str, str]:
        """Silero VAD's.

        Raises:
            UsageError: it is not installed.
        """
        try:
            return {"silero-vad": version("silero-vad")}
        except PackageNotFoundError as error:
            raise UsageError(f"the Python package silero-vad is missing; {_INSTALL}") from error

    def compute(self, samples: Floats | LongRecording, key: str) -> Floats:  # noqa: ARG002  (part of the contract)
        """Probabilities, (T, 1), 0..1; the end is padded with zeros to a whole frame.

        Raises:
            UsageError: the package cannot be loaded.
        """
        import torch

        total = -(-len(samples) // self._length)
        probabilities: Floats = np.empty((total, 1), np.float32)
        self._network.reset_states()
        with torch.inference_mode():
            for number in range(total):
                begin = number * self._length
                end = min(begin + self._length, len(samples))
                frame = torch.zeros(1, self._length)
                frame[0, : end - begin] = torch.from_numpy(np.array(samples[begin:end], np.float32))
                probabilities[number, 0] = float(self._network(frame, self._rate_hz))
        return probabilities

    @cached_property
    def _network(self) -> Any:
        import torch

        num_threads = torch.get_num_threads()
        try:
            import silero_vad
        except ImportError as error:
            raise UsageError(
                f"the Python package silero-vad cannot be loaded ({error}); {_INSTALL}"
            ) from error
        with warnings.catch_warnings():  # torch's, of the package's way to keep its network
            warnings.filterwarnings("ignore", message=".*torch.jit.load", category=DeprecationWarning)
            network = silero_vad.load_silero_vad()
        torch.set_num_threads(num_threads)  # which the package sets to 1
        return network
