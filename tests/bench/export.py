"""How fast a model is in PyTorch, ONNX and TorchScript, on one core.

Usage: python3 tests/bench/export.py <model>

<model> is a folder or the name of a model that comes with ser.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from ser.export import build, write
from ser.learn.models import load_model
from ser.predict.model import Model
from ser.predict.names import find_model
from ser.predict.result import Piece

SECONDS, REPEATS = 4.0, 5


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    """Measure 16 recordings of four seconds, from samples to posteriors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_model(find_model(args.model))
    rate_hz = build.sampling_rate(trained)
    x = np.random.default_rng(1).uniform(-0.3, 0.3, (16, round(SECONDS * rate_hz))).astype(np.float32)
    lengths = np.full(len(x), x.shape[1])
    model = Model(trained, use_gpu="no")
    pieces = [Piece(str(i), "a", 0.0, SECONDS, row) for i, row in enumerate(x)]
    graph = build.make_graph(trained, features_inside=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        path, script = Path(folder) / "a.onnx", Path(folder) / "a.pt"
        write.export_onnx(trained, path, features_inside=True)
        write.export_torchscript(trained, script, features_inside=True)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        loaded = torch.jit.load(script)  # type: ignore[no-untyped-call]
        given = (torch.from_numpy(x), torch.from_numpy(lengths))
        runs: dict[str, Callable[[], object]] = {
            "ser predict": lambda: list(model.results(pieces)),
            "PyTorch, the graph": lambda: graph(*given),
            "TorchScript": lambda: loaded(*given),
            "ONNX": lambda: session.run(None, {"samples": x, "num_samples": lengths}),
        }
        for name, run in runs.items():
            print(f"{name:<20} {len(x) * SECONDS / fastest(run):8.0f} times real time", flush=True)


if __name__ == "__main__":
    main()
