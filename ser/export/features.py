"""Features of samples as layers of a network: the filterbank, log energies and speech activity.

They give the numbers of :mod:`ser.feats`, of batches of recordings of any lengths.

Shapes: B recordings, N samples, T frames, F filters, S lines of a spectrum, L samples of a frame.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ser.feats import energy, fbank
from ser.feats.base import INT16_SCALE, Timing
from ser.feats.energy import EnergySettings
from ser.feats.fbank import FbankSettings
from ser.feats.vad import NEPERS_PER_DB, VadConfig

SMALLEST = float(torch.finfo(torch.float32).eps)


def up_to(total: Any) -> Tensor:
    """0, 1, ... below a number, which may be a tensor: (1, total)."""
    numbers: Tensor = torch.arange(total)
    return numbers.unsqueeze(0)


class Filterbank(nn.Module):
    """Log-Mel energies, :func:`ser.feats.fbank.log_mel` without noise."""

    lines: Tensor
    filters: Tensor

    def __init__(self, settings: FbankSettings) -> None:
        """The frames are one convolution over the samples."""
        super().__init__()
        assert settings.dither == 0
        self.length, self.shift = settings.length_samples, settings.shift_samples
        self.snip_edges, self.use_power = settings.snip_edges, settings.use_power
        self.remove_dc_offset = settings.remove_dc_offset
        lines, filters = fbank.as_matrices(settings)
        self.register_buffer("lines", torch.from_numpy(lines.T.copy()).float().unsqueeze(1))  # (2 S, 1, L)
        self.register_buffer("filters", torch.from_numpy(filters))  # (S, F)

    def forward(self, samples: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, N) in [-1, 1] and true lengths (B,) to energies (B, T, F) and frames (B,)."""
        if self.remove_dc_offset:  # that of each frame is in the convolution; without a large one it is exact
            inside = up_to(samples.shape[1]) < num_samples.unsqueeze(1)
            offset = (samples * inside).sum(dim=1, keepdim=True) / num_samples.unsqueeze(1)
            samples = samples - offset
        if self.snip_edges:
            num_frames = 1 + (num_samples - self.length) // self.shift
        else:
            num_frames = (num_samples + self.shift // 2) // self.shift
            samples = self._mirrored(samples, num_samples, num_frames)
        spectrum = nn.functional.conv1d(samples.unsqueeze(1), self.lines, stride=self.shift)  # (B, 2 S, T)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = real * real + imaginary * imaginary  # (B, S, T)
        values = power if self.use_power else power.sqrt()
        energies = torch.matmul(values.transpose(1, 2), self.filters)  # (B, T, F)
        return energies.clamp(min=SMALLEST).log(), num_frames

    def _mirrored(self, samples: Tensor, num_samples: Tensor, num_frames: Tensor) -> Tensor:
        """The samples that the frames of each recording see, which goes on mirrored beyond both ends."""
        total = (num_frames.max() - 1) * self.shift + self.length
        start = self.shift // 2 - self.length // 2
        span = 2 * num_samples.unsqueeze(1)  # (B, 1)
        place = (up_to(total) + start + self.length * span) % span  # (B, N), none negative before
        return samples.gather(1, torch.minimum(place, span - 1 - place))


class SpeechActivity(nn.Module):
    """Which frames of the main set have speech: :mod:`ser.feats.vad` on :mod:`ser.feats.energy`."""

    ones: Tensor

    def __init__(
        self, settings: VadConfig, frames: EnergySettings, rate_hz: int, source: Timing, main: Timing
    ) -> None:
        """``source`` is the timing of the energies, ``main`` that of the main set."""
        super().__init__()
        self.settings, self.remove_dc_offset = settings, frames.remove_dc_offset
        self.length = int(rate_hz * 0.001 * frames.frame_length_ms)
        self.shift = int(rate_hz * 0.001 * frames.frame_shift_ms)
        # frame 0 of the main set, and the way to the next, in frames of energies
        self.first = (main.middle_s - source.middle_s) / source.shift_s
        self.step = main.shift_s / source.shift_s
        self.register_buffer("ones", torch.ones(1, 1, self.length))

    def forward(self, samples: Tensor, num_samples: Tensor, frames: Tensor) -> Tensor:
        """Of the frames that ``frames`` (B, T, F) has: speech, (B, T), also behind the ends."""
        total = 1 + (num_samples.unsqueeze(1) - self.length) // self.shift  # (B, 1)
        x = samples.unsqueeze(1) * INT16_SCALE
        energies = nn.functional.conv1d(x * x, self.ones, stride=self.shift).squeeze(1)  # (B, S)
        if self.remove_dc_offset:
            sums = nn.functional.conv1d(x, self.ones, stride=self.shift).squeeze(1)
            energies = energies - sums * sums / self.length
        values = energies.clamp(min=energy.SMALLEST).log().double()  # (B, S)
        place = torch.arange(values.shape[1], device=values.device).unsqueeze(0)  # (1, S)
        speech = self._decide(values, place, place < total)
        number = torch.arange(frames.shape[1], device=values.device).double()  # (T,)
        nearest = (((self.first + number * self.step) * 1e6).round() / 1e6 + 0.5).floor().long()
        nearest = torch.minimum(nearest.clamp(min=0).unsqueeze(0), total - 1)  # (B, T)
        return speech.long().gather(1, nearest) > 0

    def _decide(self, values: Tensor, place: Tensor, inside: Tensor) -> Tensor:
        """Speech of frames of energies, (B, S); see :func:`ser.feats.vad.decide`."""
        count = inside.sum(dim=1, keepdim=True)
        high = inside
        if self.settings.vad_energy_threshold is not None:
            mean = (values * inside).sum(dim=1, keepdim=True) / count
            bound = self.settings.vad_energy_threshold + self.settings.vad_energy_mean_scale * mean
            high = high & (values > bound)
        if self.settings.below_loudest_db is not None:
            loudest = values.masked_fill(~inside, -1e30).amax(dim=1, keepdim=True)
            high = high & (values >= loudest - self.settings.below_loudest_db * float(NEPERS_PER_DB))
        around = self.settings.vad_frames_context
        counts = nn.functional.pad(high.long().cumsum(dim=1), (1, 0))  # (B, S + 1)
        begins = (place - around).clamp(min=0).expand_as(values)
        ends = torch.minimum(place + around + 1, count)  # (B, S)
        number = counts.gather(1, ends) - counts.gather(1, torch.minimum(begins, ends))
        return number.double() >= self.settings.vad_proportion_threshold * (ends - begins).double()
