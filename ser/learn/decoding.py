"""Decoding: a model folder and a data folder in, a folder of posteriors (and attention) out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ser.cli import log, progress
from ser.data import files, tables
from ser.data.datadir import main_set
from ser.data.files import differences
from ser.data.fold_checks import read_notes
from ser.data.normalisation import little_speech_text
from ser.data.turns import TurnUse
from ser.errors import DataError, UsageError
from ser.feats.chunking import ChunkingConfig
from ser.feats.speech import SpeechUse, vad_settings
from ser.feats.stores import set_settings
from ser.feats.subset import Norm, Subset
from ser.learn.models import TrainedModel, load_model, read_facts
from ser.learn.status import DECODED, decode_inputs, model_inputs
from ser.scoring.posteriors import Posteriors, write_posteriors
from ser.systems.base import Decision, Doubles, Estimator


def decode_folder(
    model_folder: Path,
    data: Path,
    out: Path,
    *,
    use_gpu: str = "auto",
    amp: str = "none",
    allow: Sequence[str] = (),
) -> None:
    """Write posteriors and attention of a trained system for a subset.

    Nothing but the two folders is read.  ``out`` gets ``post``, ``hyp``, ``emotions.txt``, ``not_scored``
    (if any), ``attn.ark`` and ``attn.scp`` (of systems with a weight for every frame); of a system trained
    on chunks ``chunks/``, posteriors of the chunks with ``chunk2utt``, and ``padded/``, which also scores the
    utterances shorter than the context, each by a single chunk that repeats its last frame.  It is made
    again when the model or the data changed.

    Args:
        model_folder: what training left.
        data: the subset's data folder.
        out: folder to fill.
        use_gpu: auto, yes or no; for networks.  Devices agree, so what is up to date does not depend on them.
        amp: none, or bfloat16: networks compute in mixed precision, which the notes of the posteriors say.
        allow: code outside ``ser`` that the model may name, see :func:`ser.learn.models.load_model`.

    Raises:
        UsageError: the device cannot compute in that precision.
        CheckpointError: no usable model.
        DataError: data that cannot be used, or features made with other settings than the model's.
    """
    read_facts(model_folder)
    if "training" not in model_inputs(model_folder)[2]:
        amp = "none"  # there is no network
    inputs = decode_inputs(model_folder, data)
    for path in inputs.values():
        if not path.exists():
            raise DataError(f"{path}: no such file; run stage 2")
    if files.is_made(out, _made_with(amp), inputs):
        log.info("%s: up to date", out)
        return
    model = load_model(model_folder, allow)
    for name, settings in model.sets.items():
        if changed := differences(settings, set_settings(data, name)):
            raise DataError(
                f"{data}: its features '{name}' were made with other settings than the model's: "
                f"{'; '.join(changed[:5])}; decode data made with the same conf/{name}.yaml"
            )
    _check_speech(model, data)
    if model.norm == "speaker" and (little := little_speech_text(data)):
        log.warning("%s", little)
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        _decode(model, data, out, use_gpu, amp, inputs)


def _made_with(amp: str) -> dict[str, Any]:
    """What posteriors depend on beside their inputs."""
    return DECODED if amp == "none" else DECODED | {"amp": amp}


def _check_speech(model: TrainedModel, data: Path) -> None:
    """Refuse speech activity that was decided otherwise than the training subset's."""
    if not SpeechUse.of(model.settings).is_asked:
        return
    known = model.facts.get("vad")
    if changed := differences(known if isinstance(known, dict) else {}, vad_settings(data)):
        raise DataError(
            f"{data}: its speech activity was decided with other settings than the model's: "
            f"{'; '.join(changed[:5])}; decode data made with the same conf/vad.yaml"
        )


def read_tasks(path: Path) -> list[tuple[Path, Path, Path, tuple[str, ...]]]:
    """A task list: model folder, data folder, folder to make, any allowed code, tab-separated.

    Raises:
        DataError: missing, or a line with another number of fields.
    """
    lines = tables.read_tasks(
        path, ("model", "data", "out"), "list what to decode, see steps/decode.sh --help", "code to allow"
    )
    return [(Path(model), Path(data), Path(out), tuple(allow)) for model, data, out, *allow in lines]


def decisions(model: TrainedModel, subset: Subset, use_gpu: str, amp: str = "none") -> Iterator[Decision]:
    """What a model says of every utterance of a subset, in key order.

    Args:
        model: a network or an estimator.
        subset: whose utterances.
        use_gpu: auto, yes or no; for networks.
        amp: none or bfloat16; for networks.

    Raises:
        UsageError: the device cannot compute in that precision.
        DataError: the memory is too small.
    """
    if isinstance(model.system, Estimator):
        rows = model.system.posteriors(model.arrays, model.settings, subset)
        yield from (Decision(index, row) for index, row in enumerate(rows))
        return
    from ser.learn.inference import decode
    from ser.learn.parallel import amp_refusal, choose_device, mixed_precision

    device = choose_device(use_gpu)
    if refusal := amp_refusal(amp, device):
        raise UsageError(f"--amp: {refusal}")
    with _memory(subset), mixed_precision(amp, device):
        yield from decode(model.network.to(device), model.settings.unit, subset, device)


def pooled_sums(model: TrainedModel, subset: Subset, use_gpu: str) -> dict[str, Doubles]:
    """Speaker -> sums of what a network pools, for ``speaker_stats`` of subsets of the same speakers.

    Args:
        model: of a network that normalises by speaker.
        subset: whose utterances.
        use_gpu: auto, yes or no.

    Raises:
        DataError: the memory is too small.
    """
    from ser.learn.inference import pooled_stats
    from ser.learn.parallel import choose_device

    device = choose_device(use_gpu)
    with _memory(subset):
        return pooled_stats(model.network.to(device).eval(), model.settings.unit, subset, device)


@contextmanager
def _memory(subset: Subset) -> Iterator[None]:
    """Say in words that the memory is too small."""
    import torch

    from ser.learn.memory import is_shortage

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise DataError(
            f"{subset.folder}: the GPU's memory is too small to decode it; free the GPU (see nvidia-smi), or "
            "say --use-gpu no"
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise DataError(
            f"{subset.folder}: the memory is too small to decode it; decode where there is more"
        ) from error


def open_subset(model: TrainedModel, data: Path) -> Subset:
    """A data folder as a model reads it."""
    speech, turns = SpeechUse.of(model.settings), TurnUse.of(model.settings)
    return Subset(
        data, list(model.sets), read_norm(model),
        global_stats=model.stats, speech=speech, turns=turns, vocabulary=model.sizes.words,
    )  # fmt: skip


def read_norm(model: TrainedModel) -> Norm:
    """How the features that a model reads are normalised; estimators get them as they were made."""
    norm: Norm = "none" if isinstance(model.system, Estimator) else model.norm
    return norm


class _Output:
    """What becomes of the decisions of a subset, as they come."""

    def __init__(self, model: TrainedModel, subset: Subset, out: Path, amp: str) -> None:
        self.model, self.subset, self.out, self.amp = model, subset, out, amp
        self.posteriors: dict[str, Doubles] = {}
        self.chunks: dict[str, Doubles] = {}
        self.padded: dict[str, Doubles] = {}
        self.not_scored: dict[str, str] = {}

    def add(self, decision: Decision, attention: tables.ArkWriter | None) -> None:
        key = self.subset.keys[decision.index]
        if decision.posterior is None:
            self.not_scored[key] = decision.reason
            if decision.padded is not None:
                self.padded[key] = decision.padded
            return
        self.posteriors[key] = decision.posterior
        if attention is not None and decision.attention is not None:
            attention.write(key, decision.attention)
        if decision.chunks is not None:
            self.chunks |= {f"{key}-{number:05d}": row for number, row in enumerate(decision.chunks)}

    def notes(self) -> dict[str, str]:
        """What must be said with every number."""
        notes = read_notes(self.subset.folder) | TurnUse.of(self.model.settings).notes
        if not self.model.sets:
            return notes
        notes["normalisation"] = str(self.model.norm)
        speech = SpeechUse.of(self.model.settings)
        if speech.is_asked:
            notes["speech"] = f"vad {speech.vad.use}, cmvn over {speech.cmvn.over}"
        if speech.level != "none":
            notes["level"] = speech.level
        if self.amp != "none":
            notes["decoded_in"] = self.amp
        own = [name for name in self.model.sets if name != main_set(self.subset.folder)]
        return notes | ({"features": "+".join(self.model.sets)} if own else {})

    def write(self, inputs: dict[str, Path], has_attention: bool) -> None:
        """Write all folders, the one of utterances last; its record has all of them."""
        also = [self.out / name for name in ("attn.ark", "attn.scp") if has_attention]
        unit, emotions, notes = getattr(self.model.settings, "unit", None), self.model.emotions, self.notes()
        made = _made_with(self.amp)
        if not self.posteriors and isinstance(unit, ChunkingConfig):
            raise DataError(
                f"{self.subset.folder}: every utterance is shorter than the context, {unit.context} frames; "
                "choose a shorter one (--contexts)"
            )
        if self.chunks:
            chunk2utt = {chunk: chunk.rpartition("-")[0] for chunk in self.chunks}
            folder = self.out / "chunks"
            chunks = Posteriors(str(folder), emotions, self.chunks, {}, chunk2utt, notes)
            also += write_posteriors(folder, chunks, made, inputs)
        if isinstance(unit, ChunkingConfig):
            folder = self.out / "padded"
            every = self.posteriors | self.padded
            short = notes | {"short_utterances": "padded"}
            padded = Posteriors(str(folder), emotions, every, {}, {}, short)
            also += write_posteriors(folder, padded, made, inputs)
        scored = Posteriors(str(self.out), emotions, self.posteriors, self.not_scored, {}, notes)
        write_posteriors(self.out, scored, made, inputs, also)


def _decode(
    model: TrainedModel, data: Path, out: Path, use_gpu: str, amp: str, inputs: dict[str, Path]
) -> None:
    subset = open_subset(model, data)
    output = _Output(model, subset, out, amp)
    with ExitStack() as stack:
        attention = None
        if model.system.frame_attention:
            attention = stack.enter_context(tables.ArkWriter(out / "attn"))
        every: Any = progress(decisions(model, subset, use_gpu, amp), "decoding", total=len(subset))
        for decision in every:
            output.add(decision, attention)
    output.write(inputs, attention is not None)
