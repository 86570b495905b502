"""What a training does with memory that it has freed."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = 64 * 2**20  # bytes
FAULTS = f"""
import resource, sys
import numpy as np
from ser.learn.memory import keep_freed

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty({BLOCK}, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed()
faults()
print(faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep freed memory")
def test_freed_memory_is_kept_for_the_next_step(repo: Path) -> None:
    """A block that is taken again comes without a page that the kernel must clear."""
    runs = {}
    for how in ("keep", "not"):
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True, timeout=120)
        runs[how] = int(done.stdout)
    assert runs["keep"] < 16
    assert runs["not"] >= BLOCK // 2**21  # pages of 2 MiB, or of 4 KiB
