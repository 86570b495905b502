"""Frames that a system reads, and their normalisation, as layers: what :mod:`ser.feats.subset` does.

Shapes: B utterances, T frames, F values of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ser.feats import cmvn
from ser.feats.speech import SpeechUse


def is_frame(frames: Tensor, num_frames: Tensor) -> Tensor:
    """Whether a frame of a padded batch (B, T, ...) is one: (B, T), given true lengths (B,)."""
    return torch.arange(frames.shape[1], device=frames.device) < num_frames.unsqueeze(1)


def speech_or_all(speech: Tensor, real: Tensor) -> Tensor:
    """``speech`` (B, T), or all real frames of utterances that have none."""
    speech = speech & real
    return speech | (real & (speech.sum(dim=1, keepdim=True) == 0))


class Kept(nn.Module):
    """Which frames are read, given which have speech; see :func:`ser.feats.speech.kept_frames`."""

    def __init__(self, use: str, margin: int) -> None:
        """``margin`` in frames."""
        super().__init__()
        self.use, self.margin = use, margin

    def forward(self, speech: Tensor, real: Tensor) -> Tensor:
        """``speech`` of :func:`speech_or_all`, (B, T), to those that are read, (B, T)."""
        if self.use == "none":
            return real
        place = torch.arange(speech.shape[1], device=speech.device).unsqueeze(0)  # (1, T)
        if self.use == "trim":
            counts = speech.long().cumsum(dim=1)
            first = (counts == 0).sum(dim=1, keepdim=True)
            last = (counts < counts[:, -1:]).sum(dim=1, keepdim=True)
            return real & (place >= first - self.margin) & (place <= last + self.margin)
        counts = nn.functional.pad(speech.long().cumsum(dim=1), (1, 0))  # (B, T + 1)
        ends = (place + self.margin + 1).clamp(max=speech.shape[1]).expand_as(speech)
        begins = (place - self.margin).clamp(min=0).expand_as(speech)
        return real & (counts.gather(1, ends) > counts.gather(1, begins))


def taken(values: Tensor, kept: Tensor, places: Tensor) -> Tensor:
    """The kept frames of ``values`` (B, T, F) side by side, zeros behind them.

    Args:
        values: (B, T, F).
        kept: (B, T).
        places: the number of each frame among those that are kept, (B, T).
    """
    behind = kept.shape[1]  # where those go that are not kept
    target = torch.where(kept, places, torch.full_like(places, behind))
    target = target.unsqueeze(-1).expand_as(values)
    room = torch.zeros_like(nn.functional.pad(values, (0, 0, 0, 1)))  # (B, T + 1, F)
    return room.scatter(1, target, values)[:, :behind]


class Normalise(nn.Module):
    """A feature set as a system reads it, of frames (or vectors) as they were made."""

    shift: Tensor
    scale: Tensor

    def __init__(self, norm: str, use: SpeechUse, stats: npt.NDArray[np.float64] | None) -> None:
        """``stats`` (2, F + 1) are those of the training subset, for ``norm="global"``."""
        super().__init__()
        self.norm, self.level, self.together = norm, use.level, use.cmvn.values == "together"
        if norm == "global":
            assert stats is not None
            mean, std = cmvn.mean_and_std(cmvn.over_values(stats) if self.together else stats)
            self.register_buffer("shift", torch.from_numpy(mean.astype(np.float32)))
            self.register_buffer("scale", torch.from_numpy((1.0 / std).astype(np.float32)))

    def forward(self, values: Tensor, counted: Tensor | None, given: Sequence[Tensor]) -> Tensor:
        """Normalised values.

        Args:
            values: (B, T, F), or (B, F) of a set of one vector an utterance.
            counted: frames that statistics are of, (B, T); None of vectors.
            given: of the level by speaker, (B,), then of a normalisation by speaker mean and standard
                deviation, (B, F) each; those that the model asks for.
        """
        rest = list(given)
        if self.level == "speaker" and counted is not None:
            values = values - rest.pop(0)[:, None, None]
        if self.level == "utterance" and counted is not None:
            values = values - _mean(values, counted).mean(dim=1).float()[:, None, None]
        if self.norm == "global":
            return (values - self.shift) * self.scale
        if self.norm == "speaker":
            mean, std = rest
            if counted is not None:
                mean, std = mean.unsqueeze(1), std.unsqueeze(1)
            return (values - mean) / std
        if self.norm == "utterance":
            assert counted is not None
            own = _mean(values, counted)  # (B, F), float64
            square = _mean(values.double() ** 2, counted)
            if self.together:
                own, square = own.mean(dim=1, keepdim=True), square.mean(dim=1, keepdim=True)  # (B, 1)
            std = (square - own * own).clamp(min=cmvn.VARIANCE_FLOOR).sqrt()
            return ((values - own.unsqueeze(1)) / std.unsqueeze(1)).float()
        return values


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """The mean over the counted frames (B, T) of values (B, T, F): (B, F), float64."""
    total = (values.double() * counted.unsqueeze(-1)).sum(dim=1)
    return total / counted.sum(dim=1, keepdim=True)
