"""Does the attention matter?  Masking and integrated gradients with a trained network.

Integrated gradients: Sundararajan, Taly & Yan (ICML 2017), through captum; from the utterance's mean frame,
repeated, to the utterance; of the logit of the class decided for; summed over the values of a frame.

The network gives attention over the frames of its first feature set; these frames are masked and attributed
to, the other sets stay as they are.

Shapes: B variants of one utterance, T frames, F values of a frame, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser.cli import log, progress
from ser.data import files, tables
from ser.data.tsv import read_tsv, write_tsv
from ser.errors import DataError, UsageError
from ser.feats.base import Floats
from ser.feats.subset import Subset
from ser.interpret import masking
from ser.interpret.groups import SIGNS
from ser.interpret.maps import Attended
from ser.interpret.masking import GRADIENTS, MASKING, Gradient, Masked
from ser.interpret.nulls import OTHER
from ser.learn.decoding import open_subset
from ser.learn.inference import pooled_scales
from ser.learn.loaders import read_inputs
from ser.learn.models import TrainedModel, load_model
from ser.learn.status import decode_inputs
from ser.scoring.significance import spearman
from ser.systems.base import Doubles, Inputs


@dataclass(frozen=True)
class ProbeSettings:
    """How a network is probed."""

    fraction: float  # share of the speech that is masked, above 0 and below 1
    num_draws: int  # of phones drawn at random
    num_steps: int  # of the integral over gradients
    max_utterances: int  # a random sample of so many; 0 takes all
    seed: int  # of the sample and the draws


def probe_folder(
    model_folder: Path,
    data: Path,
    map_folder: Path,
    out: Path,
    settings: ProbeSettings,
    allow: Sequence[str] = (),
) -> None:
    """Mask phones of a test subset and attribute its decisions; write ``masking.tsv`` and ``gradients.tsv``.

    Args:
        model_folder: of a network with attention over frames.
        data: the subset that it was tested on.
        map_folder: of :func:`ser.interpret.maps.map_attention`, with the phones of its utterances.
        out: folder to fill; left alone if it was made with the same settings from the same files.
        settings: see :class:`ProbeSettings`.
        allow: code outside ``ser`` that the model may name, see :func:`ser.learn.models.load_model`.

    Raises:
        UsageError: captum is not installed.
        CheckpointError: no usable model.
        DataError: data that cannot be used, no attention in the model, no utterance of the subset in the map.
    """
    inputs = decode_inputs(model_folder, data) | {"map": map_folder / "phone_attn.tsv"}
    if missing := [path for path in inputs.values() if not path.exists()]:
        raise DataError(f"{missing[0]}: no such file; run the stage that makes it")
    if files.is_made(out, asdict(settings), inputs):
        log.info("%s: up to date", out)
        return
    model = load_model(model_folder, allow)
    if not model.system.frame_attention or model.settings.unit != "utterance":
        raise DataError(
            f"{model_folder}: has no attention over the frames of utterances; probe a system that has"
        )
    masked, gradients = _probe(model, open_subset(model, data), map_folder, settings)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        write_tsv(out / MASKING, Masked, masked)
        write_tsv(out / GRADIENTS, Gradient, gradients)
        files.write_made(out, asdict(settings), inputs, [out / MASKING, out / GRADIENTS])


def _probe(
    model: TrainedModel, subset: Subset, map_folder: Path, settings: ProbeSettings
) -> tuple[list[Masked], list[Gradient]]:
    """The outcomes for all utterances of a subset that have phones."""
    phones: dict[str, list[Attended]] = {}
    for row in read_tsv(map_folder / "phone_attn.tsv", Attended):
        phones.setdefault(row.utt, []).append(row)
    mapped = [index for index, key in enumerate(subset.keys) if key in phones]
    if not mapped:
        raise DataError(
            f"{map_folder}: has no utterance of {subset.folder}; map the attention of this subset"
        )
    probe = Probe(model.network, model.emotions, settings.num_steps)
    pooled = pooled_scales(model.network, model.settings.unit, subset, torch.device("cpu"))
    masked: list[Masked] = []
    gradients: list[Gradient] = []
    for index in progress(_sample(mapped, settings.max_utterances, settings.seed), "probing"):
        rows = _read_rows(subset, index, phones[subset.keys[index]])
        if not any(row.first >= 0 for row in rows):
            log.info(
                "%s: the system reads no phone of %s, which is not probed", subset.folder, subset.keys[index]
            )
            continue
        utterance = read_inputs(subset, np.array([index]))
        if pooled is not None:
            utterance = replace(utterance, pooled=pooled.of(np.array([index])))
        masked += probe.mask(utterance, rows, settings.fraction, settings.num_draws, settings.seed + index)
        gradients += probe.attribute(utterance, rows)
    return masked, gradients


def _read_rows(subset: Subset, index: int, rows: Sequence[Attended]) -> list[Attended]:
    """The phones of an utterance in the frames that a system reads, without those that it does not read."""
    speech = subset.main.speech
    if speech is None:
        return list(rows)
    placed = []
    for row in rows:
        first, frames = (
            speech.place(index, row.first, row.frames) if row.first >= 0 else (row.first, row.frames)
        )
        if frames:
            placed.append(row._replace(first=first, frames=frames))
    return placed


def _sample(indices: Sequence[int], most: int, seed: int) -> list[int]:
    if not most or len(indices) <= most:
        return list(indices)
    return sorted(np.random.default_rng(seed).choice(indices, most, replace=False).tolist())


class Probe:
    """Masking and attribution for one trained network."""

    def __init__(self, network: nn.Module, emotions: Sequence[str], num_steps: int) -> None:
        """Make a probe.

        Args:
            network: in evaluation mode; gives attention over the frames of its first feature set.
            emotions: class order, (K,).
            num_steps: of the integral over gradients.

        Raises:
            UsageError: captum is not installed.
        """
        try:
            from captum.attr import IntegratedGradients
        except ImportError as error:
            raise UsageError(
                "integrated gradients need captum; install it with: utils/install.sh --extra interpret"
            ) from error
        self.network, self.emotions, self.num_steps = network, tuple(emotions), num_steps
        self._integrated_gradients: Any = IntegratedGradients

    def _logits(self, x: Tensor, utterance: Inputs) -> Tensor:
        """Logits of an utterance with other features x (B, T, F) of its first set, (B, K)."""
        main = next(iter(utterance.features))
        features = {
            name: values.expand(len(x), *values.shape[1:]) for name, values in utterance.features.items()
        }
        lengths = {name: number.expand(len(x)) for name, number in utterance.num_frames.items()}
        pooled = utterance.pooled
        if pooled is not None:
            pooled = pooled.expand(len(x), *pooled.shape[1:])
        logits: Tensor = self.network(Inputs({**features, main: x}, lengths, pooled=pooled)).logits
        return logits

    def posteriors(self, x: Tensor, utterance: Inputs) -> Doubles:
        """Posteriors of variants x (B, T, F) of one utterance, (B, K)."""
        with torch.inference_mode():
            result: Doubles = self._logits(x, utterance).double().softmax(1).numpy()
        return result

    def mask(
        self, utterance: Inputs, rows: Sequence[Attended], fraction: float, num_draws: int, seed: int
    ) -> list[Masked]:
        """What each condition does to the decision.

        Args:
            utterance: its features, a batch of one.
            rows: its phones.
            fraction: share of the frames of vowels and consonants that is masked.
            num_draws: of the conditions that choose phones at random.
            seed: of these draws.

        Returns:
            One row a condition; nothing if there are too few vowels or consonants.
        """
        segments = np.array([(r.first, r.frames, SIGNS.get(r.kind, OTHER)) for r in rows if r.first >= 0])
        speech = int(segments[segments[:, 2] != OTHER, 1].sum())
        chosen = masking.choose_frames(
            segments, self._attention(utterance), round(fraction * speech), num_draws, seed
        )
        if chosen is None:
            return []
        x = utterance.main[0][0].numpy()  # (T, F)
        variants = [x] + [_masked(x, frames) for draws in chosen.values() for frames in draws]
        posteriors = self.posteriors(torch.from_numpy(np.stack(variants)), utterance)
        hyp = int(posteriors[0].argmax())
        before = float(posteriors[0, hyp])
        head = (rows[0].utt, rows[0].speaker, rows[0].emotion, self.emotions[hyp])
        outcomes, place = [], 1
        for condition, draws in chosen.items():
            after = posteriors[place : place + len(draws)]
            place += len(draws)
            fall = float(np.mean(_log_odds(before) - _log_odds(after[:, hyp])))
            changed = float((after.argmax(1) != hyp).mean())
            outcomes.append(
                Masked(*head, condition, len(draws[0]), before, float(after[:, hyp].mean()), fall, changed)
            )
        return outcomes

    def attribute(self, utterance: Inputs, rows: Sequence[Attended]) -> list[Gradient]:
        """Integrated gradients of the decision, by kind of phone."""
        attention = self._attention(utterance)
        attention = attention * len(attention)
        by_frame, hyp = self.integrated_gradients(utterance)
        magnitude = np.abs(by_frame)
        kinds = np.full(len(attention), "unaligned", dtype=object)
        for row in rows:
            if row.first >= 0:
                kinds[row.first : row.first + row.frames] = row.kind
        correlation = spearman(attention, magnitude)
        return [
            Gradient(
                rows[0].utt, rows[0].speaker, rows[0].emotion, self.emotions[hyp], str(kind), int(mask.sum()),
                float(attention[mask].mean()), float(magnitude[mask].mean() / magnitude.mean()),
                float(by_frame[mask].mean() / magnitude.mean()), correlation,
            )
            for kind in sorted(set(kinds))
            for mask in [kinds == kind]
        ]  # fmt: skip

    def integrated_gradients(self, utterance: Inputs) -> tuple[Doubles, int]:
        """The attribution of each frame to the decision's logit, (T,), and the decision."""
        x = utterance.main[0]  # (1, T, F)
        with torch.inference_mode():
            hyp = int(self._logits(x, utterance)[0].argmax())
        attributed = self._integrated_gradients(self._logits).attribute(
            x,
            baselines=x.mean(1, keepdim=True).expand_as(x),
            target=hyp,
            additional_forward_args=utterance,
            n_steps=self.num_steps,
        )
        by_frame: Doubles = attributed[0].sum(1).double().detach().numpy()
        return by_frame, hyp

    def _attention(self, utterance: Inputs) -> Doubles:
        """The weight of each frame, (T,)."""
        with torch.inference_mode():
            weights = self.network(utterance).attention
        result: Doubles = weights[0].double().numpy()
        return result


def _masked(x: Floats, frames: Any) -> Floats:
    """An utterance (T, F) with some frames replaced by its mean frame."""
    changed = x.copy()
    changed[frames] = x.mean(0)
    return changed


def _log_odds(p: Any) -> Any:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(p) - np.log1p(-p)


def read_tasks(path: Path) -> list[tuple[Path, Path, Path, Path, tuple[str, ...]]]:
    """A task list: model, data, map and out folder a line and any allowed code, tab-separated.

    Raises:
        DataError: missing, or a line with fewer fields.
    """
    remedy = "list what to probe, see steps/probe_attention.sh"
    lines = tables.read_tasks(path, ("model", "data", "map", "out"), remedy, more="allowed code")
    return [
        (Path(model), Path(data), Path(mapped), Path(out), tuple(allow))
        for model, data, mapped, out, *allow in lines
    ]
