"""Score, tabulate and report 1,000 task folders: seconds and the most memory of each step.

  tests/bench/report.py [--utterances N] [--folder DIR]

Makes 10 systems x 10 seeds x 10 folds of N test utterances each, and runs the verbs as the recipe does:
scores and pools of stage 6, fusions of stage 7, the table, the report.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from tests.report.experiment import make_experiment  # noqa: E402

SYSTEMS = {"blstmatt": 0.75, **{f"csa_{context}": 0.6 for context in range(20, 100, 10)}, "syscomb": 0.78}


def run(verb: str, *args: object) -> None:
    """Run a verb; print its wall-clock and processor seconds and the largest memory of any so far."""
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "ser", verb, *map(str, args)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{verb:<10} {time.monotonic() - start:7.1f} s  {used:7.1f} s CPU  {after.ru_maxrss / 1024:6.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Make the folders in a temporary place, then measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=60, help="of a fold (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    args = parser.parse_args()
    os.fsync = lambda _: None  # only the making of the folders: what is measured runs in other processes
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        made = make_experiment(Path(name), SYSTEMS, range(1, 11), 10, args.utterances // 2)
        folders = sorted(made.exp.glob("f*/*/seed*/decode_test"))
        print(f"{len(folders)} task folders, {args.utterances} utterances each")
        run("score", "--plan", made.exp)
        run("fuse", "--plan", made.exp)
        run("tabulate", "--plan", made.exp, "--out", made.exp / "results.tsv")
        run("report", made.exp)


if __name__ == "__main__":
    main()
