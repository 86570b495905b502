"""Alignments of any source, put into the frames of a data folder.

A source is a folder with ``phone.ctm`` or ``word.ctm`` (a data folder, what the k2 aligner made), one
``.ctm`` file, or a folder of TextGrids, ``<utterance>.TextGrid``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ser import config as settings_io
from ser.align.textgrid import read_textgrid, write_textgrid
from ser.corpora import write_manifest
from ser.data import files, tables
from ser.data.alignment import (
    TIERS,
    AlignmentConfig,
    Clock,
    Span,
    read_ctm,
    read_frames,
    to_frames,
    write_frames,
)
from ser.data.manifests import RECORDINGS, SUPERVISIONS, Segment, read_items
from ser.data.phones import PhoneSet
from ser.errors import DataError, UsageError, all_of
from ser.feats.extract import load_used_settings

log = logging.getLogger("ser")
NOT_ALIGNED = "not_aligned"
Times = dict[str, list[Segment]]  # utterance -> segments


@dataclass(frozen=True)
class Alignment:
    """The frames of one data folder, tier by tier."""

    tiers: dict[str, dict[str, list[Span]]]  # phone, word, syllable as far as there -> utterance -> spans
    not_aligned: dict[str, str]  # utterance -> why

    @property
    def phones(self) -> dict[str, list[Span]]:
        """The spans of the phones."""
        return self.tiers.get("phone", {})

    @property
    def words(self) -> dict[str, list[Span]]:
        """The spans of the words."""
        return self.tiers.get("word", {})


def make_alignment(
    source: Path,
    data: Path,
    out: Path,
    *,
    config: AlignmentConfig,
    phones: PhoneSet,
    tiers: Mapping[str, str],
    manifests: Path | None = None,
) -> None:
    """Write ``phone.frames``, ``word.frames`` ... of a source, and ``not_aligned`` with what has none.

    Phones that are cut into parts (closure, burst) become whole ones.  What is up to date is left alone.

    Args:
        source: see above; ``data`` itself for the corpus's own alignment.
        data: data folder with features.
        out: folder to fill.
        config: how times are read; ``config.corpus`` if ``source`` is ``data``, else ``config.other``.
        phones: the phone set.
        tiers: names of a TextGrid's tiers; or one tier, which a single CTM file is then taken for (phone).
        manifests: lhotse manifests; ``out`` gets its supervisions with the source's alignment.

    Raises:
        DataError: a source that cannot be used: a bad row, an unknown phone, an alignment of other length
            than the features, overlaps; or none of the utterances is in it; all problems at once.
    """
    own = source.resolve() == data.resolve()
    found = find_source(source)
    settings = {
        "times": settings_io.to_dict(config.corpus if own else config.other),
        "phones": settings_io.to_dict(phones),
        "tiers": dict(tiers),
        "source": _digest(found),
        "manifests": manifests is not None,
    }
    inputs = {name: data / name for name in ("utt2num_frames", "fbank.yaml")}
    for path in inputs.values():
        if not path.is_file():
            raise DataError(f"{path}: no such file; run stage 1")
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return
    num_frames = read_num_frames(data)
    clock = _clock(data, config, own)
    times, reasons = read_source(source, found, tiers)
    framed = {
        tier: _framed(alignments, tier, num_frames, clock, source, phones)
        for tier, alignments in times.items()
    }
    known = "phone" if "phone" in framed else "word"
    nothing = f"no {known}s in {source.name}"
    not_aligned = {utt: reasons.get(utt, nothing) for utt in num_frames if not framed[known].get(utt)}
    if len(not_aligned) == len(num_frames):
        raise DataError(f"{source}: has no {known} of any utterance of {data}; are its ids the same?")
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        for tier in TIERS:
            if tier in framed:
                write_frames(out / f"{tier}.frames", framed[tier])
            else:
                (out / f"{tier}.frames").unlink(missing_ok=True)
        tables.write_table(out / NOT_ALIGNED, not_aligned)
        if manifests is not None and not own:
            _write_supervisions(manifests, out / SUPERVISIONS, times, num_frames)
        files.write_made(out, settings, inputs)
    aligned = len(num_frames) - len(not_aligned)
    log.info("%s: %d utterances aligned, %d not%s", out, aligned, len(not_aligned), _some(not_aligned))


def read_alignment(folder: Path, data: Path) -> Alignment:
    """Read what :func:`make_alignment` wrote for ``data``.

    Raises:
        DataError: there is none, or it does not fit the features.
    """
    num_frames = read_num_frames(data)
    there = [tier for tier in TIERS if (folder / f"{tier}.frames").is_file()]
    if not {"phone", "word"} & set(there):
        raise DataError(f"{folder}: holds no phone.frames and no word.frames; run steps/make_alignment.sh")
    spans = {tier: read_frames(folder / f"{tier}.frames", num_frames) for tier in there}
    path = folder / NOT_ALIGNED
    listed = tables.read_table(path) if path.exists() and path.stat().st_size else {}
    return Alignment(spans, listed)


def read_num_frames(data: Path) -> dict[str, int]:
    """Number of frames T of each utterance of a data folder with features."""
    path = data / "utt2num_frames"
    return tables.convert(
        tables.read_table(path, made_by="stage 1"), path, tables.positive_int, "<frames above 0>"
    )


# ---------------------------------------------------------------------------------------------------- sources


def find_source(source: Path) -> list[Path]:
    """The files of a source.

    Raises:
        UsageError: it is none.
    """
    if source.is_file():
        return [source]
    ctms = [source / f"{tier}.ctm" for tier in TIERS if (source / f"{tier}.ctm").is_file()]
    grids = sorted(source.rglob("*.TextGrid")) if source.is_dir() else []
    if not ctms and not grids:
        raise UsageError(
            f"--alignment {source}: is no alignment: no CTM file, and no folder with phone.ctm, word.ctm or "
            "TextGrids; does the corpus have one of its own? See --alignment k2"
        )
    return ctms or grids


def read_source(
    source: Path, found: list[Path], tiers: Mapping[str, str]
) -> tuple[dict[str, Times], dict[str, str]]:
    """The times of all tiers of a source, and the utterances that it says it could not align.

    Raises:
        DataError: all that is wrong with its files.
    """
    if found[0].suffix == ".TextGrid":
        return _read_grids(found, tiers), {}
    listed = source / NOT_ALIGNED
    reasons = tables.read_table(listed) if listed.is_file() and listed.stat().st_size else {}
    if source.is_file():
        return {next(iter(tiers), "phone"): read_ctm(source)}, {}
    return {path.stem: read_ctm(path) for path in found}, reasons


def _read_grids(found: Iterable[Path], tiers: Mapping[str, str]) -> dict[str, Times]:
    times: dict[str, Times] = {}
    problems = []
    for path in found:
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
    times, _ = read_source(source, find_source(source), {})
    path = data / "utt2dur"
    durations = tables.convert(
        tables.read_table(path, made_by="stage 0"), path, tables.positive_float, "<seconds above 0>"
    )
    there = [utt for utt in durations if any(tier.get(utt) for tier in times.values())]
    if not there:
        raise DataError(f"{source}: has none of the utterances of {data}; are its ids the same?")
    for utt in there:
        tiers = {tier: times[tier].get(utt, []) for tier in TIERS if tier in times}
        write_textgrid(out / f"{utt}.TextGrid", tiers, durations[utt])
    return len(there)


def _digest(found: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in found:
        digest.update(f"{path.name} {files.file_digest(path)}\n".encode())
    return digest.hexdigest()[:16]


# ----------------------------------------------------------------------------------------------------- frames


def _clock(data: Path, config: AlignmentConfig, own: bool) -> Clock:
    fbank = load_used_settings(data).fbank
    shift_s, window_s = fbank.frame_shift_ms / 1000, fbank.frame_length_ms / 1000
    middle_s = (window_s if fbank.snip_edges else shift_s) / 2  # else frame 0 is centred on the first shift
    return Clock(shift_s, middle_s, config.corpus if own else config.other)


def _framed(
    alignments: Times, tier: str, num_frames: Mapping[str, int], clock: Clock, source: Path, phones: PhoneSet
) -> dict[str, list[Span]]:
    """One tier in frames; segments of utterances that the data does not have are passed over."""
    mine = {utt: segments for utt, segments in alignments.items() if utt in num_frames}
    if tier == "phone":
        phones.check((symbol for segments in mine.values() for symbol, _, _ in segments), source)
        mine = {utt: phones.merge(segments) for utt, segments in mine.items()}
    if len(alignments) > len(mine):
        log.info(
            "%s: passed over %d utterances that the data lacks (%ss)",
            source,
            len(alignments) - len(mine),
            tier,
        )
    framed, problems, empty = {}, [], 0
    for utt, segments in mine.items():
        try:
            where = f"{source}: {utt}: {tier}s"
            framed[utt] = to_frames(
                segments, num_frames[utt], clock, where, covers=tier == "phone" and bool(segments)
            )
            empty += len(segments) - len(framed[utt])
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    if empty:
        log.info("%s: %d %ss are shorter than a frame or outside the features", source, empty, tier)
    return framed


def _write_supervisions(
    manifests: Path, out: Path, times: Mapping[str, Times], utterances: Mapping[str, int]
) -> None:
    """The supervisions of the data's utterances with these alignments (lhotse's AlignmentItems)."""
    for name in (RECORDINGS, SUPERVISIONS):
        if not (manifests / name).is_file():
            raise DataError(f"{manifests / name}: no such file; run stage 0, or leave --manifests out")
    items = []
    for _, item in read_items(manifests / SUPERVISIONS):
        if item["id"] in utterances:
            rows = {
                tier: alignments[item["id"]] for tier, alignments in times.items() if item["id"] in alignments
            }
            new = {
                tier: [[symbol, start, length, None] for symbol, start, length in r]
                for tier, r in rows.items()
            }
            items.append(
                {**{key: value for key, value in item.items() if key != "alignment"}, "alignment": new}
            )
    write_manifest(out, items)


def _some(not_aligned: Mapping[str, str]) -> str:
    if not not_aligned:
        return ""
    names = sorted(not_aligned)
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}; see {NOT_ALIGNED})"
