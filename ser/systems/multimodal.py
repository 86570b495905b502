"""Audio and transcripts, fused by attention over the modalities, in the context of their dialogue.

After Lian, Tao, Liu & Huang, "Conversational emotion analysis via attention mechanisms" (Interspeech 2019),
reference [44] of the paper.  Its abstract is what is known: the four building blocks below.  All sizes, and
how each block is made, are guesses, marked (open) in conf/multimodal.yaml.

Beside the legend of :mod:`ser.systems.base`: M modalities, W words, E values of a word, D dialogues, U
utterances of the longest dialogue.  B utterances are those of D dialogues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser.cli import log
from ser.data.turns import FIRST_WORD, NO_WORD
from ser.data.word_vectors import read_word_vectors
from ser.errors import ConfigError
from ser.ranges import Range
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.layers.blstm import Blstm
from ser.systems.settings import Dropout, InputSettings, NetworkSettings

WORD_RANGE = 0.25  # of the values that a word's vector begins with (Kim 2014)


@dataclass(frozen=True)
class Functionals(InputSettings):
    """Feature sets of one vector an utterance; none where there is text."""

    may_be_none: ClassVar[bool] = True


@dataclass(frozen=True)
class TextSettings:
    """How transcripts are read, see :class:`TextEncoder`."""

    min_count: Annotated[int, Range(1, 100000)]  # words that training says less often are unknown
    embedding: Annotated[int, Range(1, 4096)]  # values of a word's vector
    vectors: str | None  # a file in GloVe's text format that they begin with; null: they begin at random
    rate: Annotated[float, Range(0, 1)]  # of these vectors, times optim.lr; 0: they stay as they begin
    kernels: tuple[Annotated[int, Range(1, 64)], ...]  # words that each convolution sees
    channels: Annotated[int, Range(1, 4096)]  # of each convolution


@dataclass(frozen=True)
class ModelSettings:
    """Sizes of the network, see :class:`Multimodal`."""

    dim: Annotated[int, Range(1, 4096)]  # values of a modality, and GRU units per direction
    heads: Annotated[int, Range(1, 64)]  # of the self-attention over utterances, a divisor of 2 * dim
    # speakers of a dialogue that are told apart, in the order in which they first speak; the last is also all
    # further ones
    roles: Annotated[int, Range(1, 64)]
    role_values: Annotated[int, Range(0, 4096)]  # of the embedding of who speaks; 0: that is not read
    dropout: Dropout  # share dropped in training, of the modalities, and behind each layer of the context
    # share of the utterances of which training reads one modality alone, drawn; where there are two
    modality_dropout: Dropout


@dataclass(frozen=True)
class MultimodalSettings(NetworkSettings):
    """conf/multimodal.yaml."""

    features: Functionals
    text: TextSettings | None  # null: no transcripts
    unit: Literal["dialogue", "utterance"]  # utterance: each by itself, without context and roles
    model: ModelSettings

    def __post_init__(self) -> None:
        """Refuse a system that reads nothing, and heads that do not part the values."""
        if not self.features.sets and self.text is None:
            raise ValueError("features.sets must name a feature set where text is null")
        if self.features.copies:
            raise ValueError("features.copies is for what is read of utterances by themselves; leave it out")
        if self.text is not None and not self.text.kernels:
            raise ValueError("text.kernels must name at least one")
        if 2 * self.model.dim % self.model.heads:
            raise ValueError(
                f"model.heads must divide 2 * model.dim, {2 * self.model.dim}, got {self.model.heads}"
            )


class TextEncoder(nn.Module):
    """Vectors of words, convolutions over them, the maximum over the utterance (Kim 2014).

    Each convolution looks at some words from each one on; behind the last word there are zeros.  An utterance
    without words is all zeros.
    """

    def __init__(self, num_words: int, embedding: int, kernels: Sequence[int], channels: int) -> None:
        """``num_words`` are those of the vocabulary; the unknown one has a vector of its own."""
        super().__init__()
        self.embedding = nn.Embedding(FIRST_WORD + num_words, embedding, padding_idx=NO_WORD)
        nn.init.uniform_(self.embedding.weight, -WORD_RANGE, WORD_RANGE)
        self.embedding.weight.data[NO_WORD] = 0.0
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, channels, size) for size in kernels)
        self.kernels, self.dim = tuple(kernels), channels * len(kernels)

    def forward(self, words: Tensor) -> Tensor:
        """Numbers of words, (B, W), to (B, dim)."""
        x = self.embedding(words).transpose(1, 2)  # (B, E, W)
        behind = (words == NO_WORD).unsqueeze(1)  # (B, 1, W)
        maxima = []
        for size, convolution in zip(self.kernels, self.convolutions, strict=True):
            y = convolution(F.pad(x, (0, size - 1))).relu()  # (B, C, W)
            maxima.append(y.masked_fill(behind, 0.0).amax(dim=2))  # (B, C)
        return torch.cat(maxima, dim=1)


class ModalityAttention(nn.Module):
    """Weights of modalities (AT-Fusion, Poria et al. 2017).

    With B the modalities side by side, (H, M)::

        P = tanh(W_F B)
        alpha = softmax(w^T P)     over the modalities that are there
        f = B alpha^T
    """

    def __init__(self, dim: int) -> None:
        """``dim`` is H."""
        super().__init__()
        self.projection = nn.Linear(dim, dim, bias=False)  # W_F
        self.score = nn.Linear(dim, 1, bias=False)  # w

    def forward(self, b: Tensor, there: Tensor) -> Tensor:
        """Modalities, (B, M, H), of which those count that are ``there``, (B, M), at least one: (B, H)."""
        scores = self.score(self.projection(b).tanh()).squeeze(-1)  # (B, M)
        alpha = scores.masked_fill(~there, -torch.inf).softmax(dim=1)  # (B, M)
        return torch.bmm(alpha.unsqueeze(1), b).squeeze(1)


class DialogueContext(nn.Module):
    """A bidirectional GRU over the utterances of a dialogue, and self-attention over what it gives.

    Scaled dot products; what an utterance gathers is added to its own.  Nothing passes between dialogues.
    """

    def __init__(self, input_dim: int, dim: int, heads: int, dropout: float) -> None:
        """``dim`` units per direction."""
        super().__init__()
        self.gru = Blstm(input_dim, dim, 1, dropout, cell=nn.GRU)
        self.attention = nn.MultiheadAttention(2 * dim, heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, f: Tensor, lengths: Tensor) -> Tensor:
        """Utterances (B, H) of dialogues, one after another, with their numbers (D,): (B, 2 dim)."""
        step = torch.arange(int(lengths.max()), device=f.device)
        real = step < lengths.unsqueeze(1)  # (D, U)
        x = f.new_zeros(*real.shape, f.shape[1])
        x[real] = f  # (D, U, H)
        h = self.gru(x, lengths)  # (D, U, 2 dim)
        gathered, _ = self.attention(h, h, h, key_padding_mask=~real, need_weights=False)
        context: Tensor = (h + self.dropout(gathered))[real]
        return context


class Multimodal(nn.Module):
    """Modalities of each utterance, fused; who speaks; the dialogue's context; a linear layer.

    ::

        a = tanh(W_a [functionals]), l = tanh(W_l [text encoder])    (dim values each)
        f = attention over (a, l); the one alone where there is one  (an utterance without transcript has a)
        f = [f; embedding of the role of who speaks]                 (with context)
        h = DialogueContext(f)                                       (with context)
        logits = W h + b
    """

    def __init__(
        self,
        *,
        num_values: int,
        words: Sequence[str],
        num_classes: int,
        context: bool,
        text: TextSettings | None,
        model: ModelSettings,
    ) -> None:
        """Make the network.

        Args:
            num_values: of the functionals, F; 0: no audio.
            words: the vocabulary.
            num_classes: K.
            context: whether utterances are read in their dialogue.
            text: of the transcripts; None: none.
            model: sizes.
        """
        super().__init__()
        dim, self.words = model.dim, tuple(words)
        self.audio = nn.Linear(num_values, dim) if num_values else None
        self.text: TextEncoder | None = None
        if text is not None:
            self.text = TextEncoder(len(words), text.embedding, text.kernels, text.channels)
            self.text_projection = nn.Linear(self.text.dim, dim)
        self.fusion = ModalityAttention(dim) if num_values and text is not None else None
        self.roles: nn.Embedding | None = None
        self.context: DialogueContext | None = None
        if context:
            if model.role_values:
                self.roles = nn.Embedding(model.roles, model.role_values)
            self.context = DialogueContext(dim + model.role_values, dim, model.heads, model.dropout)
        self.dropout, self.modality_dropout = nn.Dropout(model.dropout), model.modality_dropout
        self.classifier = nn.Linear(2 * dim if context else dim, num_classes)

    def forward(self, inputs: Inputs) -> Outputs:
        """Classify utterances.

        Args:
            inputs: feature sets of (B, F), words (B, W), dialogues (D,) and roles (B,), as far as they are
                read.

        Returns:
            logits, (B, K).
        """
        f = self._fuse(inputs)  # (B, H)
        if self.context is not None:
            assert inputs.dialogues is not None
            assert inputs.roles is not None
            if self.roles is not None:
                role = inputs.roles.clamp(max=self.roles.num_embeddings - 1)
                f = torch.cat([f, self.roles(role)], dim=1)
            f = self.context(f, inputs.dialogues)  # (B, 2 H)
        return Outputs(self.classifier(f))

    def _fuse(self, inputs: Inputs) -> Tensor:
        """The modalities in one, (B, H)."""
        modalities: list[Tensor] = []
        there: list[Tensor] = []
        if self.audio is not None:
            modalities.append(self.audio(torch.cat(list(inputs.features.values()), dim=1)).tanh())
            there.append(torch.ones(len(inputs), dtype=torch.bool, device=modalities[0].device))
        if self.text is not None:
            assert inputs.words is not None
            modalities.append(self.text_projection(self.text(inputs.words)).tanh())
            there.append((inputs.words != NO_WORD).any(dim=1))
        modalities = [self.dropout(each) for each in modalities]
        if self.fusion is None:
            return modalities[0]
        fused: Tensor = self.fusion(torch.stack(modalities, dim=1), self._some(torch.stack(there, dim=1)))
        return fused

    def _some(self, there: Tensor) -> Tensor:
        """Which modalities are read, (B, 2): in training of some utterances that have both one alone."""
        if not (self.training and self.modality_dropout):
            return there
        one = torch.rand(len(there), device=there.device) < self.modality_dropout
        audio = torch.rand(len(there), device=there.device) < 0.5
        alone = torch.stack([audio, ~audio], dim=1)
        return torch.where((one & there.all(dim=1)).unsqueeze(1), alone, there)


def build(settings: MultimodalSettings, sizes: Sizes) -> Multimodal:
    """The network of some settings."""
    return Multimodal(
        num_values=sum(sizes.features[name] for name in settings.features.sets),
        words=sizes.words,
        num_classes=sizes.num_classes,
        context=settings.unit == "dialogue",
        text=settings.text,
        model=settings.model,
    )


def begin(network: nn.Module, settings: MultimodalSettings, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a new network the user's word vectors, where there are some.

    Raises:
        ConfigError: a feature set has frames.
        DataError: the vectors cannot be used.
    """
    for name in settings.features.sets:
        if sets[name].get("timing") is not None:
            raise ConfigError(
                f"features.sets: {name} has frames, but the system reads one vector an utterance; name a set "
                "of functionals, such as mel_functionals or compare"
            )
    assert isinstance(network, Multimodal)
    if settings.text is None or settings.text.vectors is None or network.text is None:
        return
    path = Path(settings.text.vectors)
    vectors = read_word_vectors(path, frozenset(network.words), settings.text.embedding)
    log.info("%s: has %d of %d words of the training subset", path, len(vectors), len(network.words))
    weight = network.text.embedding.weight.data
    for number, word in enumerate(network.words, FIRST_WORD):
        if word in vectors:
            weight[number] = torch.from_numpy(vectors[word])


def rates(settings: MultimodalSettings) -> dict[str, float]:
    """Beginning of a parameter's name -> what ``optim.lr`` is multiplied by for it."""
    return {} if settings.text is None else {"text.embedding.": settings.text.rate}


SYSTEM = Network(MultimodalSettings, build, begin=begin, rates=rates)
