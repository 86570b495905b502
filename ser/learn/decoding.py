"""Decoding: a model folder and a data folder in, a system folder (posteriors, attention) out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ser.cli import log, progress
from ser.data import files, tables
from ser.data.files import differences
from ser.errors import CheckpointError, DataError
from ser.feats.subset import Part, read_fbank_settings
from ser.learn import checkpoint
from ser.learn.checkpoint import TrainedModel
from ser.learn.inference import Doubles, decode
from ser.learn.parallel import choose_device
from ser.learn.settings import CsaSettings
from ser.learn.status import DECODED, decode_inputs
from ser.scoring.system import System, write_system


def decode_folder(model_folder: Path, data: Path, out: Path, *, use_gpu: str = "auto") -> None:
    """Write posteriors and attention of a trained system for a data part.

    Nothing but the two folders is read.  ``out`` gets ``post``, ``hyp``, ``emotions.txt``, ``not_scored``
    (if any), ``attn.ark`` and ``attn.scp`` (BLSTMATT); of CSA ``chunks/``, a system folder whose utterances
    are the chunks, with ``chunk2utt``, and ``padded/``, one that also scores the utterances shorter than the
    context, each by a single chunk that repeats its last frame.  It is made again when the model or the data
    changed.

    Raises:
        CheckpointError: no usable model.
        DataError: data that cannot be used, or features made with other settings than the model's.
    """
    inputs = decode_inputs(model_folder, data)
    for name, path in inputs.items():
        if not path.exists():
            if name == "model":
                raise CheckpointError(f"{path}: no such file; train the model first (stage 3 or 4)")
            raise DataError(f"{path}: no such file; run stage 2")
    if files.is_made(out, DECODED, inputs):
        log.info("%s: up to date", out)
        return
    model = checkpoint.load_model(model_folder)
    if changed := differences(model.fbank, read_fbank_settings(data)):
        raise DataError(
            f"{data}: its features were made with other settings than the model's: {'; '.join(changed[:5])}; "
            "decode data made with the same conf/fbank.yaml"
        )
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        _decode(model, data, out, use_gpu, inputs)


def read_tasks(path: Path) -> list[tuple[Path, Path, Path]]:
    """A task list: model folder, data folder and folder to make a line, tab-separated.

    Raises:
        DataError: missing, or a line with another number of fields.
    """
    lines = tables.read_tasks(path, ("model", "data", "out"), "steps/decode.sh makes it")
    return [(Path(model), Path(data), Path(out)) for model, data, out in lines]


def _decode(model: TrainedModel, data: Path, out: Path, use_gpu: str, inputs: dict[str, Path]) -> None:
    device = choose_device(use_gpu)
    norm = model.settings.features.norm
    part = Part(data, norm, global_stats=model.global_stats)
    posteriors: dict[str, Doubles] = {}
    chunks: dict[str, Doubles] = {}
    padded: dict[str, Doubles] = {}
    not_scored: dict[str, str] = {}
    with ExitStack() as stack:
        attention = None
        if not isinstance(model.settings, CsaSettings):
            attention = stack.enter_context(tables.ArkWriter(out / "attn"))
        results = decode(model.network.to(device), model.settings, part, device)
        for result in progress(results, "decoding", total=len(part)):
            key = part.keys[result.index]
            if result.posterior is None:
                not_scored[key] = result.reason
                if result.padded is not None:
                    padded[key] = result.padded
                continue
            posteriors[key] = result.posterior
            if attention is not None and result.attention is not None:
                attention.write(key, result.attention)
            if result.chunks is not None:
                chunks |= {f"{key}-{number:05d}": row for number, row in enumerate(result.chunks)}
    if not posteriors and isinstance(model.settings, CsaSettings):
        raise DataError(
            f"{data}: every utterance is shorter than the context, {model.settings.chunking.context} frames; "
            "choose a shorter one (--contexts)"
        )
    notes: dict[str, str] = {"normalisation": norm}
    if chunks:
        chunk2utt = {chunk: chunk.rpartition("-")[0] for chunk in chunks}
        system = System(f"{out}/chunks", model.emotions, chunks, {}, chunk2utt, notes)
        write_system(out / "chunks", system, DECODED, inputs)
    if isinstance(model.settings, CsaSettings):
        every = System(
            f"{out}/padded",
            model.emotions,
            posteriors | padded,
            {},
            {},
            notes | {"short_utterances": "padded"},
        )
        write_system(out / "padded", every, DECODED, inputs)
    write_system(out, System(str(out), model.emotions, posteriors, not_scored, {}, notes), DECODED, inputs)
