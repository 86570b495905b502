"""Normalisation of what is pooled over time, by speaker."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser.systems.base import Doubles, Inputs

EPSILON = 1e-4  # added to a variance: a value that does not vary becomes 0, not noise
PRIOR_UTTERANCES = 4.0  # what a speaker's statistics are mixed with counts as many utterances
_LEAST_SHARE = 0.01  # of a batch in the running statistics


def speaker_norm(network: nn.Module) -> SpeakerNorm | None:
    """The layer of a network that normalises by speaker; None of others."""
    return next((module for module in network.modules() if isinstance(module, SpeakerNorm)), None)


class SpeakerNorm(nn.Module):
    """Pooled vectors with mean 0 and variance 1 over the utterances (or chunks) of each speaker.

    Normalised features have that over a speaker's frames, which says nothing of how far what is pooled of
    them moves from one utterance of the speaker to the next.

    In training mean and variance are those of the speaker's items in the batch, so batches are made of one
    speaker each.  In decoding they are of all that the speaker says, ``inputs.pooled``, mixed with a prior:
    ``mean`` and ``variance`` within a training speaker, (H,) each, running means over the batches.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, num_values: int) -> None:
        """``num_values`` is H."""
        super().__init__()
        self.num_values = num_values
        self.register_buffer("mean", torch.zeros(num_values))
        self.register_buffer("variance", torch.ones(num_values))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, vectors: Tensor, inputs: Inputs) -> Tensor:
        """Normalise a batch.

        Args:
            vectors: (B, H).
            inputs: what they were pooled from; ``speakers`` of it are not needed where ``pooled`` is given,
                and without both the batch is of one speaker.

        Returns:
            (B, H).
        """
        if inputs.pooled is not None:
            mean, deviation = inputs.pooled.unbind(dim=1)  # (B, H) each
            return (vectors - mean) / deviation
        vectors, speakers = vectors.to(torch.promote_types(vectors.dtype, torch.float32)), inputs.speakers
        if speakers is None:
            speakers = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
        same = (speakers.unsqueeze(0) == speakers.unsqueeze(1)).to(vectors.dtype)  # (B, B)
        share = same / same.sum(dim=1, keepdim=True)
        centred = vectors - share @ vectors
        variance = share @ centred.square()  # (B, H)
        if self.training:
            self._follow(vectors.detach(), variance.detach())
        return centred / (variance + EPSILON).sqrt()

    def _follow(self, vectors: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch, (B, H) each."""
        self.batches += 1
        share = (1.0 / self.batches).clamp(min=_LEAST_SHARE)
        self.mean += share * (vectors.mean(dim=0) - self.mean)
        self.variance += share * (variance.mean(dim=0) - self.variance)

    def scales(self, sums: Doubles) -> Tensor:
        """Mean and deviation for decoding, (2, H), from all that a speaker says.

        The less that is, the more the prior counts: as ``PRIOR_UTTERANCES`` utterances.

        Args:
            sums: (2, H + 1), over the pooled vectors: row 0 their sum, then their number; row 1 the sum of
                their squares, then the number of utterances.
        """
        total = torch.from_numpy(sums)
        prior = PRIOR_UTTERANCES / (PRIOR_UTTERANCES + total[1, -1])
        mean, variance = self.mean.double().cpu(), self.variance.double().cpu()
        moments = torch.stack([mean, variance + mean.square()])
        mixed = (1 - prior) * total[:, :-1] / total[0, -1] + prior * moments
        spread = (mixed[1] - mixed[0].square()).clamp(min=0.0)
        return torch.stack([mixed[0], (spread + EPSILON).sqrt()]).float()
