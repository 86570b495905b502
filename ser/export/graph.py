"""A trained network as one module of tensors, from samples or features of utterances to their posteriors.

It says what :meth:`ser.predict.model.Model.results` says.  All shapes of its inputs may change.

Shapes: B utterances, N samples, T frames, F values of a frame, K classes, M chunks, C frames of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ser.export.features import Filterbank, SpeechActivity, up_to
from ser.export.frames import Kept, Normalise, is_frame, speech_or_all, taken
from ser.feats.chunking import ChunkingConfig
from ser.scoring.log_linear import FLOOR
from ser.systems.base import Inputs
from ser.systems.layers.speaker_norm import speaker_norm

SAMPLES, NUM_SAMPLES, SPEECH, LEVEL = "samples", "num_samples", "speech", "level"
POOLED_MEAN, POOLED_STD = "pooled_mean", "pooled_std"  # of what the network pools, of each speaker
POSTERIOR, CALIBRATED, ATTENTION = "posterior", "calibrated", "attention"


class Reading(NamedTuple):
    """What is read of a feature set.

    Attributes:
        normalise: its normalisation.
        has_frames: whether it has frames; False: one vector an utterance.
        kept: which of its frames are read.
    """

    normalise: Normalise
    has_frames: bool
    kept: Kept


class Graph(nn.Module):
    """Utterances in, posteriors out.

    Attributes:
        inputs: the names of the arguments of :meth:`forward`, in their order.
        outputs: the names of what it gives.
        pooled_values: how many values the network pools, where it normalises them by speaker; else 0.
    """

    def __init__(
        self,
        network: nn.Module,
        unit: ChunkingConfig | str,
        readings: Mapping[str, Reading],
        *,
        front_end: Filterbank | None,
        activity: SpeechActivity | None,
        asks_speech: bool,
        over_speech: bool,
        temperature: float | None,
        has_attention: bool,
    ) -> None:
        """Put the pieces together; see :mod:`ser.export.build`."""
        super().__init__()
        self.network, self.unit = network, unit
        self.sets = list(readings)
        self.normalise = nn.ModuleList(reading.normalise for reading in readings.values())
        self.kept = nn.ModuleList(reading.kept for reading in readings.values())
        self._has_frames = [reading.has_frames for reading in readings.values()]
        self.front_end, self.activity = front_end, activity
        self._asks_speech, self._over_speech = asks_speech, over_speech
        self._temperature, self._has_attention = temperature, has_attention
        by_speaker = speaker_norm(network)
        self.pooled_values = 0 if by_speaker is None else by_speaker.num_values
        self.inputs = self._input_names(readings)
        calibrated, attention = [CALIBRATED] if temperature else [], [ATTENTION] if has_attention else []
        self.outputs = [POSTERIOR, *calibrated, *attention]

    def _input_names(self, readings: Mapping[str, Reading]) -> list[str]:
        names = [SAMPLES, NUM_SAMPLES] if self.front_end is not None else []
        for name, reading in readings.items():
            if self.front_end is None:
                names += [name, *([f"{name}_frames"] if reading.has_frames else [])]
            if reading.normalise.level == "speaker" and reading.has_frames:
                names.append(f"{name}_{LEVEL}")
            if reading.normalise.norm == "speaker":
                names += [f"{name}_mean", f"{name}_std"]
        names += [POOLED_MEAN, POOLED_STD] if self.pooled_values else []
        return names + ([SPEECH] if self._asks_speech and self.activity is None else [])

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs, of the inputs in the order of :attr:`inputs`."""
        given = dict(zip(self.inputs, tensors, strict=True))
        values, lengths = self._features(given)
        speech = self._speech(given, values[0])
        features: dict[str, Tensor] = {}
        num_frames: dict[str, Tensor] = {}
        masks: list[tuple[Tensor, Tensor, Tensor]] = []  # kept, their places, speech, of each set of frames
        for number, name in enumerate(self.sets):
            stats = [given[key] for key in (f"{name}_{LEVEL}", f"{name}_mean", f"{name}_std") if key in given]
            if not self._has_frames[number]:
                features[name] = self.normalise[number](values[number], None, stats)
                continue
            real = is_frame(values[number], lengths[number])
            spoken = real if speech is None else speech_or_all(speech, real)
            kept = self.kept[number](spoken, real)
            places = kept.long().cumsum(dim=1) - 1
            x = self.normalise[number](values[number], spoken if self._over_speech else real, stats)
            if self._is_chosen(number):
                x = taken(x, kept, places)
            features[name] = x.masked_fill(~is_frame(x, kept.sum(dim=1)).unsqueeze(-1), 0.0)
            num_frames[name] = kept.sum(dim=1)
            masks.append((kept, places, spoken))
        pooled = None
        if self.pooled_values:
            pooled = torch.stack([given[POOLED_MEAN], given[POOLED_STD]], dim=1)  # (B, 2, H)
        return self._classify(features, num_frames, masks, pooled)

    def _is_chosen(self, number: int) -> bool:
        """Whether some frames of a set are not read."""
        return str(self.kept[number].use) != "none"

    def _features(self, given: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The values of each set, and the true lengths."""
        if self.front_end is not None:
            x, lengths = self.front_end(given[SAMPLES], given[NUM_SAMPLES])
            return [x], [lengths]
        values = [given[name] for name in self.sets]
        return values, [given.get(f"{name}_frames", given[name]) for name in self.sets]

    def _speech(self, given: Mapping[str, Tensor], main: Tensor) -> Tensor | None:
        """Which frames of the main set have speech, (B, T); None if that changes nothing."""
        if not self._asks_speech:
            return None
        if self.activity is None:
            return given[SPEECH] > 0.5
        speech: Tensor = self.activity(given[SAMPLES], given[NUM_SAMPLES], main)
        return speech

    def _classify(
        self,
        features: dict[str, Tensor],
        num_frames: dict[str, Tensor],
        masks: Sequence[tuple[Tensor, Tensor, Tensor]],
        pooled: Tensor | None,
    ) -> tuple[Tensor, ...]:
        if isinstance(self.unit, ChunkingConfig):
            kept, places, spoken = masks[0]
            heard = None
            if self._is_chosen(0):
                heard = taken(spoken.unsqueeze(-1).float(), kept, places).squeeze(-1) > 0.5
            posterior = self._chunks(self.unit, features, num_frames, heard, pooled)
            return self._outputs(posterior, None)
        outputs = self.network(Inputs(features, num_frames, pooled=pooled))
        attention = outputs.attention
        if self._has_attention and self._is_chosen(0):
            kept, places, _ = masks[0]
            attention = attention.gather(1, places.clamp(min=0)) * kept
        return self._outputs(outputs.logits.double().softmax(dim=1), attention)

    def _outputs(self, posterior: Tensor, attention: Tensor | None) -> tuple[Tensor, ...]:
        values = [posterior.float()]
        if self._temperature:
            logs = posterior.clamp(min=FLOOR).log() / self._temperature
            values.append(logs.softmax(dim=1).float())
        return (*values, *([attention] if self._has_attention and attention is not None else []))

    def _chunks(
        self,
        unit: ChunkingConfig,
        features: Mapping[str, Tensor],
        num_frames: Mapping[str, Tensor],
        heard: Tensor | None,
        pooled: Tensor | None,
    ) -> Tensor:
        """Posteriors of utterances (B, K) from those of their chunks."""
        (name, x), total = next(iter(features.items())), next(iter(num_frames.values()))
        starts, lengths, real = chunks_of(unit, total)  # (B, M) each
        within = torch.minimum(torch.arange(unit.context, device=x.device), (lengths - 1).unsqueeze(-1))
        frames = starts.unsqueeze(-1) + within  # (B, M, C)
        flat = frames.flatten(1)  # (B, M * C)
        cut = x.gather(1, flat.unsqueeze(-1).expand(-1, -1, x.shape[2]))  # (B, M * C, F)
        cut = cut.reshape(-1, unit.context, x.shape[2])  # (B * M, C, F)
        num = lengths.flatten()
        if unit.fill == "zeros":
            beyond = torch.arange(unit.context, device=x.device) >= num.unsqueeze(1)
            cut = cut.masked_fill(beyond.unsqueeze(-1), 0.0)
        if heard is not None:
            inside = torch.arange(unit.context, device=x.device) < lengths.unsqueeze(-1)  # (B, M, C)
            spoken = (heard.long().gather(1, flat).reshape(frames.shape) * inside).sum(dim=2) > 0
            real = speech_or_all(spoken, real)
        if pooled is not None:
            pooled = pooled.unsqueeze(1).expand(-1, starts.shape[1], -1, -1).flatten(0, 1)  # (B * M, 2, H)
        logits = self.network(Inputs({name: cut}, {name: num}, pooled=pooled)).logits
        rows = logits.double().softmax(dim=1).reshape(starts.shape[0], -1, logits.shape[1])  # (B, M, K)
        return pool(rows, real, unit.pooling)


def chunks_of(unit: ChunkingConfig, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First frame, frames and reality of the chunks of utterances of ``total`` (B,) frames: (B, M) each."""
    context = unit.context
    if unit.cut == "parts":
        counts = (total + context - 1) // context
    else:
        decoding = unit.in_decoding
        whole = ((total - context).clamp(min=0) // decoding.hop + 1) * (total >= context)
        if unit.tail != "drop":
            rest = total - ((whole - 1) * decoding.hop + context)
            inside = total > whole * decoding.hop
            more = (whole > 0) & (rest > 0)
            whole = whole + (more if unit.tail == "shift_back" else more & inside).long()
        counts = whole.clamp(min=1)  # shorter ones are filled up
    number = up_to(counts.max())  # (1, M)
    real = number < counts.unsqueeze(1)  # (B, M)
    frames, counts = total.unsqueeze(1), counts.unsqueeze(1)
    if unit.cut == "parts":
        starts, ends = frames * number // counts, frames * (number + 1) // counts
        starts = torch.minimum(starts, frames - 1)
        return starts, (ends - starts).clamp(min=1), real
    starts = number * unit.in_decoding.hop
    if unit.tail == "shift_back":
        starts = torch.minimum(starts, (frames - context).clamp(min=0))
    starts = torch.minimum(starts, frames - 1)  # of chunks that are none
    return starts, (frames - starts).clamp(max=context), real


def pool(rows: Tensor, real: Tensor, rule: str) -> Tensor:
    """Posteriors of utterances (B, K) of those of chunks (B, M, K); see ser.learn.inference.pool_chunks."""
    weights = real.double().unsqueeze(-1)
    if rule == "mean":
        pooled = (rows * weights).sum(dim=1)
    elif rule == "logmean":
        logs = (rows.clamp(min=1e-10).log() * weights).sum(dim=1) / weights.sum(dim=1)
        pooled = (logs - logs.amax(dim=1, keepdim=True)).exp()
    else:
        winners = rows.argmax(dim=2, keepdim=True) == torch.arange(rows.shape[2], device=rows.device)
        pooled = (winners.double() * weights).sum(dim=1)
    return pooled / pooled.sum(dim=1, keepdim=True)
