"""Alignments of any source: the times of its phones and words.

A source is a folder with ``phone.ctm`` or ``word.ctm`` (a data folder, what the k2 aligner made), one
``.ctm`` file, or a folder of TextGrids, ``<utterance>.TextGrid``.  Utterances are named as in the data
folder, or by their raw ids (``utt2raw``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser.align.textgrid import read_textgrid, write_textgrid
from ser.data import files, tables
from ser.data.alignment import TIERS, read_ctm
from ser.data.manifests import Segment
from ser.data.naming import by_utterance
from ser.errors import DataError, UsageError, all_of

NOT_ALIGNED = "not_aligned"
Times = dict[str, list[Segment]]  # utterance -> segments


@dataclass(frozen=True)
class Source:
    """The files of a source.

    Attributes:
        path: what the user named.
        files: CTM files, or TextGrids; one at least.
    """

    path: Path
    files: tuple[Path, ...]

    def digest(self) -> str:
        """Of the names and contents of all files."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(f"{path.name} {files.file_digest(path)}\n".encode())
        return digest.hexdigest()[:16]

    def read(self, tiers: Mapping[str, str], data: Path) -> tuple[dict[str, Times], dict[str, str]]:
        """The times of all tiers.

        Args:
            tiers: names of a TextGrid's tiers; or the one tier that a single CTM file holds (default: phone).
            data: the data folder, which names the utterances.

        Returns:
            tier -> utterance -> segments; and utterance -> why the source says that it could not align it.

        Raises:
            DataError: all that is wrong with the files, or an utterance is there by its name and its raw id.
        """
        times, reasons = self.read_as_named(tiers), {}
        if self.files[0].suffix != ".TextGrid" and not self.path.is_file():
            reasons = by_utterance(read_reasons(self.path), data, self.path / NOT_ALIGNED)
        return {tier: by_utterance(times[tier], data, self.path) for tier in times}, reasons

    def read_as_named(self, tiers: Mapping[str, str]) -> dict[str, Times]:
        """The times of all tiers, tier -> utterance, as the files name it -> segments; see :meth:`read`.

        Raises:
            DataError: all that is wrong with the files.
        """
        if self.files[0].suffix == ".TextGrid":
            return _read_grids(self.files, tiers)
        if self.path.is_file():
            return {next(iter(tiers), "phone"): read_ctm(self.path)}
        return {path.stem: read_ctm(path) for path in self.files}


def find_source(path: Path) -> Source:
    """The files of a source.

    Raises:
        UsageError: it is none.
    """
    if path.is_file():
        return Source(path, (path,))
    ctms = [path / f"{tier}.ctm" for tier in TIERS if (path / f"{tier}.ctm").is_file()]
    grids = sorted(path.rglob("*.TextGrid")) if path.is_dir() else []
    if not ctms and not grids:
        raise UsageError(
            f"--alignment {path}: is no alignment: no CTM file, and no folder with phone.ctm, word.ctm or "
            "TextGrids; does the corpus have one of its own? See --alignment k2"
        )
    return Source(path, tuple(ctms or grids))


def read_reasons(folder: Path) -> dict[str, str]:
    """Utterance -> why it is not aligned, of ``<folder>/not_aligned`` if that is there and not empty."""
    path = folder / NOT_ALIGNED
    return tables.read_table(path) if path.is_file() and path.stat().st_size else {}


def _read_grids(grids: Iterable[Path], tiers: Mapping[str, str]) -> dict[str, Times]:
    times: dict[str, Times] = {}
    problems = []
    for path in grids:
        try:
            for tier, segments in read_textgrid(path, tiers).items():
                if path.stem in times.setdefault(tier, {}):
                    problems.append(f"{path}: there are two TextGrids of {path.stem}; keep one of them")
                times[tier][path.stem] = segments
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    return times


def export_textgrids(source: Path, data: Path, out: Path) -> int:
    """Write the alignment of each utterance of ``data`` that a source has as ``<out>/<utterance>.TextGrid``.

    Returns:
        How many.

    Raises:
        DataError: the source cannot be used, or has none of the utterances.
        UsageError: praatio is not installed.
    """
    times, _ = find_source(source).read({}, data)
    path = data / "utt2dur"
    durations = tables.convert(
        tables.read_table(path, made_by="stage 0"), path, tables.positive_float, "<seconds above 0>"
    )
    aligned = [utt for utt in durations if any(tier.get(utt) for tier in times.values())]
    if not aligned:
        raise DataError(f"{source}: has none of the utterances of {data}; are its ids the same?")
    for utt in aligned:
        tiers = {tier: times[tier].get(utt, []) for tier in TIERS if tier in times}
        write_textgrid(out / f"{utt}.TextGrid", tiers, durations[utt])
    return len(aligned)
