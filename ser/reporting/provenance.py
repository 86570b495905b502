"""What made an experiment: command, commit, versions, machine, time."""

from __future__ import annotations

import os
import platform
import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from ser import reading

_LATEST = 1 << 33  # seconds since 1970; later times are damage
PACKAGES = ("torch", "numpy", "scipy", "lhotse", "kaldiio")
UNKNOWN = "not known"


@dataclass(frozen=True)
class Provenance:
    """What made a report, in words: name -> text."""

    facts: dict[str, str]


def collect(command: str, exp: Path, systems: Sequence[str]) -> Provenance:
    """Look at the checkout, the environment, the machine and the trainings.

    Args:
        command: the command line of the run; paths outside the checkout are cut to their last part, so that
            a report that is passed on names no folder of this machine.
        exp: has ``<fold>/<system>/seed<k>``.
        systems: names of those whose trainings count.
    """
    return Provenance(
        {
            "command": anonymous(command) or UNKNOWN,
            "commit": commit(Path(__file__).parent),
            "versions": versions(),
            "machine": machine(),
            "trainings": trainings(exp, systems),
            "report": datetime.now(timezone.utc).strftime("made %Y-%m-%d %H:%M UTC"),
        }
    )


def anonymous(command: str) -> str:
    """A command line without the folders of this machine.

    >>> anonymous("./run.sh --corpus-dir /data/me/emodb --seeds '1 2'")
    "./run.sh --corpus-dir .../emodb --seeds '1 2'"
    """
    words = [
        re.sub(r"(^|=)~?/\S*?([^/]+)/?$", r"\1.../\2", word) if "/" in word else word
        for word in shlex.split(command)
    ]
    return shlex.join(words)


def commit(folder: Path) -> str:
    """The checkout's commit, and whether files that git knows differ from it."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    changes = [line for line in changed.splitlines() if not re.search(r"/RESULTS\w*\.md$", line)]
    return head + (f", with changes in {len(changes)} files" if changes else "")


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.rstrip()


def versions() -> str:
    """The versions of Python and of the libraries that the numbers depend on."""
    names = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            names.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(names)


def machine() -> str:
    """Processor, cores and memory; no names."""
    model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = ""
    if sys.platform == "linux":
        match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = match[1].strip() if match else model
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    return f"{platform.system()}, {model}, {cores} cores{memory}"


def trainings(exp: Path, systems: Sequence[str]) -> str:
    """How many trainings there are, when they were made, and how long they took, by their TensorBoard files.

    Each start of a training has a file whose first and last events tell how long that went on.
    """
    begins, seconds = [], 0.0
    folders = [folder for name in systems for folder in exp.glob(f"*/{name}/seed*/tb")]
    for path in (path for folder in folders for path in folder.glob("events.*")):
        if times := event_times(reading.read_bytes(path, "remove it")):
            begins.append(times[0])
            seconds += times[-1] - times[0]
    if not begins:
        return UNKNOWN
    days = [
        datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d") for when in (min(begins), max(begins))
    ]
    when = " to ".join(dict.fromkeys(days))
    return f"{len(folders)}, {when}, {seconds / 3600:.1f} hours of wall-clock time, summed over them"


def event_times(content: bytes) -> list[float]:
    """The times of the events of a TensorBoard file, seconds since 1970; a cut-short end is left out.

    A record is its length (8 bytes), a checksum (4), the event, a checksum (4); the event, a protocol buffer,
    begins with field 1, the time (tag 9, a double).
    """
    times, offset = [], 0
    while offset + 21 <= len(content):
        (length,) = struct.unpack_from("<Q", content, offset)
        (time,) = struct.unpack_from("<d", content, offset + 13)
        if content[offset + 12] != 9 or not 0 <= time < _LATEST:
            break
        times.append(time)
        offset += length + 16
    return times
