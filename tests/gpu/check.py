"""Everything that a GPU must show: checks, then measurements; one JSON file and one table.

tests/gpu/run.sh [--cpu] [--wheels DIR] [--out DIR] [--only SECTION]
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ser.learn.parallel import choose_device
from tests.gpu import agreement, graphs, processes, sharing, speed
from tests.gpu.cases import Bench
from tests.gpu.rows import Report, Rows

SECTIONS: dict[str, Callable[[Bench, Rows], None]] = {
    "outputs": agreement.check_outputs,
    "losses": agreement.check_losses,
    "amp": agreement.check_amp,
    "decoding": agreement.check_decoding,
    "resuming": processes.check_resuming,
    "processes": processes.check_processes,
    "memory": processes.check_memory,
    "speed": speed.measure_systems,
    "sharing": sharing.measure_sharing,
    "graphs": graphs.measure_graphs,
    "settings": speed.measure_settings,
}


def describe(tiny: bool) -> dict[str, Any]:
    """What the numbers are taken on, and the settings under which torch computes there."""
    before = torch.backends.cudnn.allow_tf32
    choose_device("no" if tiny else "yes")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    card = "none, everything runs on the CPU in tiny sizes"
    if not tiny:
        properties = torch.cuda.get_device_properties(0)
        card = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    version = cudnn.version()  # type: ignore[no-untyped-call]  # torch's
    return {
        "card": card,
        "software": f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {version}, "
        f"Python {platform.python_version()}, numpy {np.__version__}",
        "CPU": f"{os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
        "TF32": f"cuDNN {_switch(before)} in torch, {_switch(cudnn.allow_tf32)} as ser sets it; matrix "
        f"products {_switch(matmul.allow_tf32)}",
        "determinism": f"cudnn.deterministic {_switch(cudnn.deterministic)}, cudnn.benchmark "
        f"{_switch(cudnn.benchmark)}, CUBLAS_WORKSPACE_CONFIG "
        f"{os.environ.get('CUBLAS_WORKSPACE_CONFIG', 'not set')} as ser sets it",
    }


def _switch(on: bool) -> str:
    return "on" if on else "off"


def run(report: Report, bench: Bench, names: list[str], minutes: float) -> None:
    """Go through sections, whatever fails in one; none begins after so many minutes."""
    begun = time.monotonic()
    for name in names:
        rows, section = Rows(), SECTIONS[name]
        report.sections[name] = rows
        started = time.monotonic()
        if started - begun > 60 * minutes:
            rows.note("left out", f"{minutes:g} minutes are over")
            continue
        with rows.attempt("the section ends"):
            section(bench, rows)
        report.seconds[name] = time.monotonic() - started
        report.write()
        print(f"{name}: {report.seconds[name]:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Check, print the table; 0: everything held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="all of it on the CPU, in tiny sizes")
    parser.add_argument(
        "--out", type=Path, default=Path("gpu_check"), help="folder for check.json and check.txt"
    )
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), help="these sections; else all")
    parser.add_argument("--minutes", type=float, default=7.0, help="no section begins later (%(default)s)")
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; say --cpu to check the checks themselves")
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "processes.log").unlink(missing_ok=True)
    logging.basicConfig(
        filename=args.out / "check.log", filemode="w", level=logging.INFO, format="%(asctime)s %(message)s"
    )
    torch.set_num_threads(1)
    report = Report(args.out, describe(args.cpu))
    with tempfile.TemporaryDirectory() as work:
        run(report, Bench(args.cpu, Path(work), args.out), args.only or list(SECTIONS), args.minutes)
    print(report.text(), end="")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
