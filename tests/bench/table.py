"""A table of 500,000 lines: seconds and memory of `ser prepare` up to data/all.

  python3 tests/bench/table.py [--lines 500000] [--parts 1] [--folder DIR]

Recordings of noise, of which --parts lines each name a part; --parts 1 names whole recordings.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
EMOTIONS = ("angry", "happy", "neutral", "sad")
SPEAKERS, PART_S, RATE_HZ = 50, 0.02, 16000


def write_table(folder: Path, lines: int, parts: int) -> Path:
    """Recordings, a thousand a folder, and a table of them."""
    table = folder / "table.csv"
    samples = round(parts * PART_S * RATE_HZ)
    random = np.random.default_rng(0)
    with open(table, "w", encoding="utf-8") as stream:
        stream.write("path,speaker,emotion,start,end,text,gender\n")
        for line in range(lines):
            number, part = divmod(line, parts)
            name = f"wav/{number // 1000:03d}/{number:06d}.wav"
            if part == 0:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with wave.open(str(folder / name), "wb") as audio:
                    audio.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                    audio.writeframes(random.integers(-3000, 3000, samples, np.int16).tobytes())
            times = f"{part * PART_S:.2f},{(part + 1) * PART_S:.2f}" if parts > 1 else ","
            speaker = number % SPEAKERS
            text = f"this is what is said in line {line}"
            stream.write(f"{name},s{speaker:02d},{EMOTIONS[line % 4]},{times},{text},{'fm'[speaker % 2]}\n")
    return table


def main() -> None:
    """Make the corpus in a temporary place, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to make the temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        table = write_table(folder, args.lines, args.parts)
        conf = ROOT / "egs" / "csv" / "conf" / "corpus.yaml"
        for when in ("first", "again"):
            command = [
                sys.executable,
                "-m",
                "ser",
                "prepare",
                f"--corpus-dir={table}",
                f"--config={conf}",
                "--nj=2",
            ]
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run(
                [*command, folder / "manifests", folder / "all"],
                env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                check=True,
            )
            seconds, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"{when}: {args.lines:,} lines in {seconds:.0f} s ({used:.0f} s CPU), "
                f"{after.ru_maxrss / 2**20:.2f} GiB at most so far",
                flush=True,
            )


if __name__ == "__main__":
    main()
