"""Graphs as files: ONNX and TorchScript, each compared with PyTorch before it is written.

Both go through torch's tracing, which torch 2.13 calls deprecated and still has.  What is to follow it
(``dynamo=True``) makes graphs of an LSTM that fail at other lengths than that of the example.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser.data.files import whole_file
from ser.errors import CheckpointError, UsageError
from ser.export.build import axes, least_samples, make_graph, metadata
from ser.export.graph import POOLED_MEAN, POOLED_STD, SAMPLES, SPEECH, Graph
from ser.learn.models import TrainedModel

OPSET = 17
TOLERANCE = 1e-4  # of posteriors
_CHECKED_S = ((0.0,), (0.31, 1.3, 0.0), (7.0,))  # seconds beyond the shortest, of each batch that is compared
Arrays = npt.NDArray[Any]
Run = Callable[[Sequence[Tensor]], list[Arrays]]


def export_onnx(model: TrainedModel, out: Path, *, features_inside: bool) -> list[str]:
    """Write an ONNX file whose ``metadata_props`` say what a user must know.

    Args:
        model: a network.
        out: the file.
        features_inside: see :func:`ser.export.build.make_graph`.

    Returns:
        The names of its inputs.

    Raises:
        CheckpointError: the model cannot be exported, or the file would say something else than it.
        UsageError: onnx or onnxruntime is not installed.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f"{package} is not installed; install it with: utils/install.sh --extra export")
    import onnx
    import onnxruntime

    graph = make_graph(model, features_inside=features_inside)
    example = examples(model, graph, (0.31, 1.3))
    stream = io.BytesIO()
    with _tracing():
        outputs = graph(*example)
        free = dict(zip([*graph.inputs, *graph.outputs], [*example, *outputs], strict=True))
        torch.onnx.export(
            graph,
            example,
            stream,  # type: ignore[arg-type]  # a file is taken too
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_axes={name: axes(name, tensor) for name, tensor in free.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    proto = onnx.load_model_from_string(stream.getvalue())
    for key, value in metadata(model, graph).items():
        proto.metadata_props.add(key=key, value=value)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(tensors: Sequence[Tensor]) -> list[Arrays]:
        feeds = {name: tensor.numpy() for name, tensor in zip(graph.inputs, tensors, strict=True)}
        return list(session.run(None, feeds))

    _compare(model, graph, run, out)
    with whole_file(out, "wb") as file:
        file.write(content)
    return graph.inputs


def export_torchscript(model: TrainedModel, out: Path, *, features_inside: bool) -> list[str]:
    """Write a TorchScript file for ``torch.jit.load``; ``_extra_files`` has each key of the metadata.

    The arguments, the result and what is raised are those of :func:`export_onnx`.
    """
    graph = make_graph(model, features_inside=features_inside)
    buffer = io.BytesIO()
    with _tracing():
        example = examples(model, graph, (0.31, 1.3))
        traced = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        torch.jit.save(traced, buffer, _extra_files=metadata(model, graph))
        buffer.seek(0)
        loaded = torch.jit.load(buffer)  # type: ignore[no-untyped-call]  # torch's

    def run(tensors: Sequence[Tensor]) -> list[Arrays]:
        with torch.inference_mode():
            given = loaded(*tensors)
        return [value.numpy() for value in given]

    _compare(model, graph, run, out)
    with whole_file(out, "wb") as file:
        file.write(buffer.getvalue())
    return graph.inputs


@contextmanager
def _tracing() -> Iterator[None]:
    """Nothing is learnt, and what tracing warns of is looked at by :func:`_compare`."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Converting a tensor|.*trace might not generalize")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        warnings.filterwarnings("ignore", message="Constant folding")
        yield


def _compare(model: TrainedModel, graph: Graph, run: Run, out: Path) -> None:
    """Make sure that a file says what PyTorch says, at lengths that it was not made with.

    Raises:
        CheckpointError: it does not.
    """
    for seconds in _CHECKED_S:
        tensors = examples(model, graph, seconds)
        with torch.inference_mode():
            expected = [value.numpy() for value in graph(*tensors)]
        for name, one, two in zip(graph.outputs, expected, run(tensors), strict=True):
            apart = float(np.abs(one - two).max()) if one.shape == two.shape else np.inf
            if not apart <= TOLERANCE:
                raise CheckpointError(
                    f"{out}: not written, its {name} would be {apart:.2g} off what the model says; please "
                    "report it with the model's settings"
                )


def examples(model: TrainedModel, graph: Graph, seconds: Sequence[float]) -> tuple[Tensor, ...]:
    """Inputs of utterances that are so many seconds longer than the shortest, the same each time."""
    random = torch.Generator().manual_seed(1)
    tensors: list[Tensor] = []
    inside = SAMPLES in graph.inputs
    if inside:
        rate_hz = model.sets[graph.sets[0]]["audio"]["sampling_rate_hz"]
        lengths = [least_samples(model) + round(each * rate_hz) for each in seconds]
    else:
        lengths = [1 + round(100 * each) for each in seconds]
    size = len(lengths)
    dims = model.sizes.features
    for name in graph.inputs:
        of = next((each for each in graph.sets if name.startswith(each)), graph.sets[0])
        if name in (SAMPLES, SPEECH):
            values = torch.rand((size, max(lengths)), generator=random)
            tensors.append(values - 0.5 if name == SAMPLES else values.round())
        elif name.endswith(("_frames", "_samples")):
            tensors.append(torch.tensor(lengths, dtype=torch.int64))
        elif name.endswith("_level"):
            tensors.append(torch.randn((size,), generator=random))
        elif name.endswith(("_mean", "_std")):
            pooled = name in (POOLED_MEAN, POOLED_STD)
            values = torch.rand((size, graph.pooled_values if pooled else dims[of]), generator=random)
            tensors.append(values + 1 if name.endswith("_std") else values)
        else:
            frames = (max(lengths),) if f"{of}_frames" in graph.inputs else ()
            tensors.append(torch.randn((size, *frames, dims[of]), generator=random))
    return tuple(tensors)
