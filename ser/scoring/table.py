"""The table of results: one row per system, mean and standard deviation over its seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ser.data import tables
from ser.data.files import whole_file
from ser.errors import DataError, all_of

COLUMNS = ("acc", "uar", "ua_eq6", "wa_eq6")
WIDTH = 78
LEGEND = """\
per cent, mean and standard deviation over the seeds
acc     share of right utterances (the field's WA)
uar     mean of the classes' recalls (the field's UA)
ua_eq6  the paper's UA, eq. 6: accuracy of each class against the rest, mean
wa_eq6  the paper's WA, eq. 6, likewise; not comparable with acc and uar
"""


@dataclass(frozen=True)
class Row:
    """The results of one system: a ``result.txt`` for each seed."""

    system: str
    results: dict[str, dict[str, str]]  # seed -> result.txt
    track: str = "-"  # what kind of features it reads; "-" where that is not known

    def numbers(self, key: str) -> list[float]:
        """The values of ``key`` over the seeds; empty when one seed has none."""
        try:
            return [float(result[key]) for result in self.results.values()]
        except (KeyError, ValueError):
            return []

    def common(self, key: str) -> str:
        """The different values of ``key`` in the order of the seeds, joined with ``/``."""
        return "/".join(dict.fromkeys(result.get(key, "-") for result in self.results.values()))


def read_rows(folders: Sequence[Path], decode: str) -> list[Row]:
    """Read ``<folder>/<system>/seed<k>/<decode>/score/result.txt`` of all systems and seeds.

    Args:
        folders: such as ``exp/pooled``; with more than one, a system is named with its folder.
        decode: such as ``decode_test``.

    Returns:
        In the order of the folders, then of the names (``x_30`` before ``x_100``).

    Raises:
        DataError: a folder without systems, or a seed that has not been scored.
    """
    systems: dict[str, dict[str, Path]] = {}
    problems = []
    for folder in folders:
        seeds = sorted(folder.glob("*/seed*/"), key=lambda path: natural(str(path)))
        if not seeds:
            problems.append(f"{folder}: has no <system>/seed<k>; train, decode and score first")
        for seed in seeds:
            name = seed.parent.name if len(folders) == 1 else str(seed.parent)
            systems.setdefault(name, {})[seed.name.removeprefix("seed")] = seed / decode
    if problems:
        raise all_of(problems)
    return read_systems(systems)


def read_systems(
    systems: Mapping[str, Mapping[str, Path]], tracks: Mapping[str, str] | None = None
) -> list[Row]:
    """Read ``<folder>/score/result.txt`` of given folders.

    Args:
        systems: name -> seed -> folder of posteriors.
        tracks: name -> track, where they are known.

    Returns:
        In the order of ``systems``.

    Raises:
        DataError: a folder that has not been scored; all of them at once.
    """
    rows, problems = [], []
    for name, folders in systems.items():
        results = {}
        for seed, folder in folders.items():
            path = folder / "score" / "result.txt"
            try:
                results[seed] = tables.read_table(path, made_by="steps/score.sh")
            except DataError as error:
                problems.append(str(error))
        rows.append(Row(name, results, (tracks or {}).get(name, "-")))
    if problems:
        raise all_of(problems)
    return rows


def natural(text: str) -> list[tuple[int, str]]:
    """A sort key that takes digits as numbers."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", text)]


def table_text(rows: Sequence[Row], title: str) -> str:
    """The table for display, at most 78 columns."""
    head = f"{'seeds':>5} {'scored/total':>13}" + "".join(f"{name:>11}" for name in COLUMNS)
    room = WIDTH - len(head) - 1
    lines = [title, ""] if title else []
    lines.append(f"{'system':<{room}} {head}")
    for row in rows:
        counts = f"{row.common('n_scored')}/{row.common('n_total')}"
        cells = f"{len(row.results):>5} {counts:>13}" + "".join(_cell(row.numbers(key)) for key in COLUMNS)
        if len(row.system) > room:
            lines.append(row.system)
        lines.append(f"{row.system if len(row.system) <= room else '':<{room}} {cells}".rstrip())
    lines += ["", LEGEND.rstrip()]
    if len({(row.common("n_scored"), row.common("n_total")) for row in rows}) > 1:
        lines.append("n differs between rows: they are not about the same utterances")
    if by_chunk := [row.system for row in rows if row.common("level") != "utt"]:
        lines.append(f"rows whose level is chunk count chunks, not utterances: {', '.join(by_chunk)}")
    tracks = dict.fromkeys(row.track for row in rows if row.track != "-")
    for track in tracks:
        lines.append(f"track {track}: {' '.join(row.system for row in rows if row.track == track)}")
    for row in rows:
        notes = sorted({key for result in row.results.values() for key in result if key.startswith("note_")})
        lines += [f"{row.system}: {key.removeprefix('note_')} {row.common(key)}" for key in notes]
    return "\n".join(lines)


def _cell(numbers: Sequence[float]) -> str:
    if not numbers:
        return f"{'-':>11}"
    deviation = f" ±{100 * statistics.stdev(numbers):4.1f}" if len(numbers) > 1 else " " * 6
    return f"{100 * statistics.fmean(numbers):5.1f}{deviation}"


def write_tsv(path: Path, rows: Sequence[Row]) -> None:
    """Write all values: a line per system and seed, then its ``mean`` and ``sd`` (two seeds or more)."""
    keys = sorted({key for row in rows for result in row.results.values() for key in result})
    lines = [["system", "seed", "track", *keys]]
    for row in rows:
        for seed, result in row.results.items():
            lines.append([row.system, seed, row.track, *(result.get(key, "-") for key in keys)])
        numbers = [row.numbers(key) for key in keys]
        spreads = {"mean": statistics.fmean} | ({"sd": statistics.stdev} if len(row.results) > 1 else {})
        for name, function in spreads.items():
            values = (f"{function(x):.6f}" if x else "-" for x in numbers)
            lines.append([row.system, name, row.track, *values])
    with whole_file(path) as stream:
        stream.writelines("\t".join(line) + "\n" for line in lines)
