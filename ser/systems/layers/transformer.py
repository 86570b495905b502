"""A Transformer layer of an encoder of speech."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerLayer(nn.Module):
    """Self-attention and two linear layers, each added to what it reads (Vaswani et al. 2017).

    It is the layer of Whisper and of large wav2vec 2.0 with ``norm_first``, and of base wav2vec 2.0, HuBERT
    and data2vec without.
    """

    def __init__(
        self, num_values: int, heads: int, feedforward: int, dropout: float, *, norm_first: bool
    ) -> None:
        """Make the layer.

        Args:
            num_values: H, a multiple of ``heads``.
            heads: of the attention.
            feedforward: values between the two linear layers.
            dropout: share of the weights of the attention and of the values dropped in training.
            norm_first: normalise what each of the two reads, not what they have been added up to.
        """
        super().__init__()
        self.heads, self.norm_first = heads, norm_first
        self.project = nn.Linear(num_values, 3 * num_values)  # queries, keys, values
        self.join = nn.Linear(num_values, num_values)
        self.norm1, self.norm2 = nn.LayerNorm(num_values), nn.LayerNorm(num_values)
        self.linear1 = nn.Linear(num_values, feedforward)
        self.linear2 = nn.Linear(feedforward, num_values)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Values of frames (B, T, H), of which those are attended to that are ``real``, (B, T) bool."""
        if self.norm_first:
            x = x + self._attend(self.norm1(x), real)
            return x + self._feed(self.norm2(x))
        x = self.norm1(x + self._attend(x, real))
        given: Tensor = self.norm2(x + self._feed(x))
        return given

    def _attend(self, x: Tensor, real: Tensor) -> Tensor:
        shape = (*x.shape[:2], 3, self.heads, -1)
        q, k, v = self.project(x).view(shape).permute(2, 0, 3, 1, 4)  # (B, heads, T, H / heads) each
        drop = self.dropout.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None], dropout_p=drop)
        given: Tensor = self.dropout(self.join(y.transpose(1, 2).flatten(2)))
        return given

    def _feed(self, x: Tensor) -> Tensor:
        given: Tensor = self.dropout(self.linear2(self.dropout(F.gelu(self.linear1(x)))))
        return given
