"""Does the attention matter?  Masking and integrated gradients with a trained BLSTMATT.

Integrated gradients: Sundararajan, Taly & Yan (ICML 2017), through captum; from the utterance's mean frame,
repeated, to the utterance; of the logit of the class decided for; summed over filters.

Shapes: T frames, F filters, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser.cli import log, progress
from ser.data import files, tables
from ser.data.tsv import read_tsv, write_tsv
from ser.errors import DataError, UsageError
from ser.feats.subset import Floats, Part
from ser.interpret import masking
from ser.interpret.groups import SIGNS
from ser.interpret.maps import Attended
from ser.interpret.masking import GRADIENTS, MASKING, Gradient, Masked
from ser.interpret.nulls import OTHER
from ser.learn import checkpoint
from ser.learn.inference import Doubles
from ser.scoring.significance import spearman
from ser.systems.blstmatt import Blstmatt


def probe_folder(
    model_folder: Path,
    data: Path,
    map_folder: Path,
    out: Path,
    *,
    fraction: float,
    num_draws: int,
    num_steps: int,
    max_utterances: int,
    seed: int,
) -> None:
    """Mask phones of a test part and attribute its decisions; write ``masking.tsv`` and ``gradients.tsv``.

    Args:
        model_folder: of a BLSTMATT.
        data: the part that it was tested on.
        map_folder: of :func:`ser.interpret.maps.map_attention`, with the phones of its utterances.
        out: folder to fill; left alone if it was made with the same settings from the same files.
        fraction: share of the speech that is masked, above 0 and below 1.
        num_draws: of phones drawn at random.
        num_steps: of the integral.
        max_utterances: a random sample of so many; 0 takes all.
        seed: of the sample and the draws.

    Raises:
        UsageError: captum is not installed.
        CheckpointError: no usable model.
        DataError: data that cannot be used, no attention in the model, no utterance of the part in the map.
    """
    settings = {
        "fraction": fraction,
        "draws": num_draws,
        "steps": num_steps,
        "max": max_utterances,
        "seed": seed,
    }
    inputs = {"model": model_folder / checkpoint.MODEL, "map": map_folder / "phone_attn.tsv"}
    inputs |= {name: data / name for name in ("feats.scp", "utt2num_frames")}
    if missing := [path for path in inputs.values() if not path.exists()]:
        raise DataError(f"{missing[0]}: no such file; run the stage that makes it")
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return
    model = checkpoint.load_model(model_folder)
    if not isinstance(model.network, Blstmatt):
        raise DataError(f"{model_folder}: has no attention over frames; probe a BLSTMATT")
    part = Part(data, model.settings.features.norm, global_stats=model.global_stats)
    phones: dict[str, list[Attended]] = {}
    for row in read_tsv(map_folder / "phone_attn.tsv", Attended):
        phones.setdefault(row.utt, []).append(row)
    indices = _sample([i for i, key in enumerate(part.keys) if key in phones], max_utterances, seed)
    if not indices:
        raise DataError(f"{map_folder}: has no utterance of {data}; map the attention of this part")
    probe = Probe(model.network.eval(), model.emotions, num_steps)
    masked: list[Masked] = []
    gradients: list[Gradient] = []
    for index in progress(indices, "probing"):
        rows = phones[part.keys[index]]
        features = part.features(index)
        masked += probe.mask(features, rows, fraction, num_draws, seed + index)
        gradients += probe.attribute(features, rows)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        write_tsv(out / MASKING, Masked, masked)
        write_tsv(out / GRADIENTS, Gradient, gradients)
        files.write_made(out, settings, inputs)


def _sample(indices: Sequence[int], most: int, seed: int) -> list[int]:
    if not most or len(indices) <= most:
        return list(indices)
    return sorted(np.random.default_rng(seed).choice(indices, most, replace=False).tolist())


class Probe:
    """A network and the questions it is asked."""

    def __init__(self, network: nn.Module, emotions: Sequence[str], num_steps: int) -> None:
        """``num_steps`` of the integral over gradients."""
        try:
            from captum.attr import IntegratedGradients
        except ImportError as error:
            raise UsageError(
                "integrated gradients need captum; install it with: utils/install.sh --extra interpret"
            ) from error
        self.network, self.emotions, self.num_steps = network, tuple(emotions), num_steps
        self._gradients: Any = IntegratedGradients(self._logits)

    def _logits(self, x: Tensor) -> Tensor:
        """Logits of features of one length, (B, T, F) to (B, K)."""
        logits: Tensor = self.network(x, torch.full((len(x),), x.shape[1]))[0]
        return logits

    def posteriors(self, batch: Sequence[Floats]) -> Doubles:
        """Posteriors of variants of one utterance, (B, K)."""
        with torch.inference_mode():
            result: Doubles = self._logits(torch.from_numpy(np.stack(batch))).double().softmax(1).numpy()
        return result

    def mask(
        self, features: Floats, rows: Sequence[Attended], fraction: float, num_draws: int, seed: int
    ) -> list[Masked]:
        """What each condition does to the decision; nothing if there are too few vowels or consonants."""
        attention = self._attention(features)
        segments = np.array([(r.first, r.frames, SIGNS.get(r.kind, OTHER)) for r in rows if r.first >= 0])
        speech = int(segments[segments[:, 2] != OTHER, 1].sum())
        chosen = masking.choose(segments, attention, round(fraction * speech), num_draws, seed)
        if chosen is None:
            return []
        variants = [features] + [_masked(features, frames) for draws in chosen.values() for frames in draws]
        posteriors = self.posteriors(variants)
        hyp = int(posteriors[0].argmax())
        before = float(posteriors[0, hyp])
        head = (rows[0].utt, rows[0].speaker, rows[0].emotion, self.emotions[hyp])
        found, place = [], 1
        for condition, draws in chosen.items():
            after = posteriors[place : place + len(draws)]
            place += len(draws)
            fall = float(np.mean(_log_odds(before) - _log_odds(after[:, hyp])))
            changed = float((after.argmax(1) != hyp).mean())
            found.append(
                Masked(*head, condition, len(draws[0]), before, float(after[:, hyp].mean()), fall, changed)
            )
        return found

    def attribute(self, features: Floats, rows: Sequence[Attended]) -> list[Gradient]:
        """Integrated gradients of the decision, by kind of phone."""
        attention = self._attention(features) * len(features)
        by_frame, hyp = self.integrated_gradients(features)
        magnitude = np.abs(by_frame)
        kinds = np.full(len(features), "unaligned", dtype=object)
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

    def integrated_gradients(self, features: Floats) -> tuple[Doubles, int]:
        """The attribution of each frame to the decision's logit, (T,), and the decision."""
        x = torch.from_numpy(features).unsqueeze(0)  # (1, T, F)
        with torch.inference_mode():
            hyp = int(self._logits(x)[0].argmax())
        attributed = self._gradients.attribute(
            x, baselines=x.mean(1, keepdim=True).expand_as(x), target=hyp, n_steps=self.num_steps
        )
        by_frame: Doubles = attributed[0].sum(1).double().detach().numpy()
        return by_frame, hyp

    def _attention(self, features: Floats) -> Doubles:
        with torch.inference_mode():
            weights = self.network(torch.from_numpy(features).unsqueeze(0), torch.tensor([len(features)]))[1]
        result: Doubles = weights[0].double().numpy()
        return result


def _masked(features: Floats, frames: Any) -> Floats:
    """The utterance with some frames replaced by its mean frame."""
    changed = features.copy()
    changed[frames] = features.mean(0)
    return changed


def _log_odds(p: Any) -> Any:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(p) - np.log1p(-p)


def read_tasks(path: Path) -> list[tuple[Path, Path, Path, Path]]:
    """A task list: model, data, map and out folder a line, tab-separated.

    Raises:
        DataError: missing, or a line with another number of fields.
    """
    fields = ("model", "data", "map", "out")
    lines = tables.read_tasks(path, fields, "list what to probe, see steps/probe_attention.sh")
    return [(Path(model), Path(data), Path(mapped), Path(out)) for model, data, mapped, out in lines]
