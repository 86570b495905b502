"""Alignments in the frames of a feature set: ``phone.frames``, ``word.frames``, ``not_aligned``.

The folder also keeps which set's frames these are, ``feats.yaml``, so that whatever reads the alignment knows
their times.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser import config as settings_io
from ser.align.features import frame_timing, read_used_set, write_used_set
from ser.align.sources import NOT_ALIGNED, Times, find_source, read_reasons
from ser.corpora import write_manifest
from ser.data import files, tables
from ser.data.alignment import (
    TIERS,
    AlignmentConfig,
    Clock,
    Span,
    read_frames,
    to_frames,
    write_frames,
)
from ser.data.datadir import MAIN
from ser.data.manifests import RECORDINGS, SUPERVISIONS, read_items
from ser.data.naming import utterances_by_raw_id
from ser.data.phones import PhoneSet
from ser.errors import DataError, all_of
from ser.feats.sets import SETTINGS, FeatureSet, read_set, set_folder

log = logging.getLogger("ser")
MADE_BY = "steps/make_alignment.sh"
NUM_FRAMES = "utt2num_frames"
Framed = dict[str, list[Span]]  # utterance -> spans in time order


@dataclass(frozen=True)
class Alignment:
    """The alignment of one data folder, tier by tier.

    Attributes:
        feature_set: the set whose frames count.
        num_frames: utterance -> T, all utterances of the data folder.
        tiers: phone, word, syllable (those that exist) -> utterance -> spans.
        not_aligned: utterance -> why.
    """

    feature_set: FeatureSet
    num_frames: dict[str, int]
    tiers: dict[str, Framed]
    not_aligned: dict[str, str]

    @property
    def phones(self) -> Framed:
        """The spans of the phones."""
        return self.tiers.get("phone", {})

    @property
    def words(self) -> Framed:
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
    features: str | None = None,
) -> None:
    """Write ``phone.frames``, ``word.frames`` ... of a source, and ``not_aligned`` with what has none.

    Phones that are cut into parts (closure, burst) become whole ones.  What is up to date is left alone.

    Args:
        source: see :mod:`ser.align.sources`; ``data`` itself for the corpus's own alignment.
        data: data folder with features.
        out: folder to fill.
        config: how times are read; ``config.corpus`` if ``source`` is ``data``, else ``config.other``.
        phones: the phone set.
        tiers: names of a TextGrid's tiers; or the one tier that a single CTM file holds (default: phone).
        manifests: lhotse manifests; ``out`` gets its supervisions with the source's alignment.
        features: the set whose frames count; None is the main set of ``data``.

    Raises:
        DataError: a source that cannot be used: a bad row, an unknown phone, an alignment of other length
            than the features, overlaps; or none of the utterances is in it; all problems at once.
        UsageError: the set has no frames.
    """
    own = source.resolve() == data.resolve()
    reading = config.corpus if own else config.other
    reader = find_source(source)
    feature_set = read_set(data, features)
    timing = frame_timing(feature_set)
    settings = {
        "times": settings_io.to_dict(reading),
        "phones": settings_io.to_dict(phones),
        "tiers": dict(tiers),
        "source": reader.digest(),
        "manifests": manifests is not None,
        "features": feature_set.name,
    }
    inputs = set_files(data, feature_set.name)
    if files.is_made(out, settings, inputs):
        log.info("%s: up to date", out)
        return
    times, reasons = reader.read(tiers, data)
    alignment = _in_frames(
        times, reasons, source, data, feature_set, Clock(timing.shift_s, timing.middle_s, reading), phones
    )
    with files.locked(out):
        (out / files.MADE).unlink(missing_ok=True)
        _write(out, alignment)
        outputs = [
            out / name for name in (*(f"{tier}.frames" for tier in alignment.tiers), NOT_ALIGNED, MAIN)
        ]
        if manifests is not None and not own:
            named = utterances_by_raw_id(data) or {utt: utt for utt in alignment.num_frames}
            _write_supervisions(manifests, out / SUPERVISIONS, times, named)
            outputs.append(out / SUPERVISIONS)
        files.write_made(out, settings, inputs, outputs)
    log.info("%s: %s", out, _summary(alignment))


def read_alignment(folder: Path, data: Path) -> Alignment:
    """Read what :func:`make_alignment` wrote for ``data``.

    Raises:
        DataError: there is none, or it does not fit the features.
    """
    tiers = [tier for tier in TIERS if (folder / f"{tier}.frames").is_file()]
    if not {"phone", "word"} & set(tiers):
        raise DataError(f"{folder}: holds no phone.frames and no word.frames; run {MADE_BY}")
    feature_set = read_used_set(folder, f"{MADE_BY} again")
    num_frames = read_num_frames(data, feature_set.name)
    spans = {tier: read_frames(folder / f"{tier}.frames", num_frames) for tier in tiers}
    return Alignment(feature_set, num_frames, spans, read_reasons(folder))


def set_files(data: Path, name: str) -> dict[str, Path]:
    """The files of a feature set that its frames depend on: name -> path.

    Raises:
        DataError: one is missing.
    """
    folder = set_folder(data, name)
    paths = {file: folder / file for file in (NUM_FRAMES, SETTINGS)}
    for path in paths.values():
        if not path.is_file():
            raise DataError(f"{path}: no such file; run stage 1 again")
    return paths


def read_num_frames(data: Path, name: str) -> dict[str, int]:
    """Number of frames T of each utterance of a data folder in a feature set."""
    path = set_folder(data, name) / NUM_FRAMES
    return tables.convert(
        tables.read_table(path, made_by="stage 1"), path, tables.positive_int, "<frames above 0>"
    )


def _in_frames(
    times: Mapping[str, Times],
    reasons: Mapping[str, str],
    source: Path,
    data: Path,
    feature_set: FeatureSet,
    clock: Clock,
    phones: PhoneSet,
) -> Alignment:
    """All tiers in frames; not aligned is what has no phones (no words, where the source has words only)."""
    num_frames = read_num_frames(data, feature_set.name)
    tiers = {tier: _framed(times[tier], tier, num_frames, clock, source, phones) for tier in times}
    main = "phone" if "phone" in tiers else "word"
    nothing = f"no {main}s in {source.name}"
    not_aligned = {utt: reasons.get(utt, nothing) for utt in num_frames if not tiers[main].get(utt)}
    if len(not_aligned) == len(num_frames):
        raise DataError(f"{source}: has no {main} of any utterance of {data}; are its ids the same?")
    return Alignment(feature_set, num_frames, tiers, not_aligned)


def _framed(
    alignments: Times, tier: str, num_frames: Mapping[str, int], clock: Clock, source: Path, phones: PhoneSet
) -> Framed:
    """One tier in frames; segments of utterances that the data does not have are passed over."""
    known = {utt: segments for utt, segments in alignments.items() if utt in num_frames}
    if tier == "phone":
        phones.check((symbol for segments in known.values() for symbol, _, _ in segments), source)
        known = {utt: phones.merge(segments) for utt, segments in known.items()}
    if unknown := len(alignments) - len(known):
        log.info("%s: passed over %d utterances that the data lacks (%ss)", source, unknown, tier)
    framed, problems, empty = {}, [], 0
    for utt, segments in known.items():
        covers = tier == "phone" and bool(segments)
        try:
            framed[utt] = to_frames(
                segments, num_frames[utt], clock, f"{source}: {utt}: {tier}s", covers=covers
            )
            empty += len(segments) - len(framed[utt])
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise all_of(problems)
    if empty:
        log.info("%s: %d %ss are shorter than a frame or outside the features", source, empty, tier)
    return framed


def _write(out: Path, alignment: Alignment) -> None:
    for tier in TIERS:
        if tier in alignment.tiers:
            write_frames(out / f"{tier}.frames", alignment.tiers[tier])
        else:
            (out / f"{tier}.frames").unlink(missing_ok=True)
    tables.write_table(out / NOT_ALIGNED, alignment.not_aligned)
    write_used_set(out, alignment.feature_set)


def _write_supervisions(
    manifests: Path, out: Path, times: Mapping[str, Times], utterances: Mapping[str, str]
) -> None:
    """The supervisions of the data's utterances with these alignments (lhotse's AlignmentItems).

    ``utterances`` maps the ids of the manifests to the utterances of the data.  Times are those of the
    recording, in which a supervision may be a segment.
    """
    for name in (RECORDINGS, SUPERVISIONS):
        if not (manifests / name).is_file():
            raise DataError(f"{manifests / name}: no such file; run stage 0, or leave --manifests out")
    items = []
    for _, item in read_items(manifests / SUPERVISIONS):
        if (utt := utterances.get(item["id"])) is not None:
            alignment = {
                tier: [
                    [symbol, round(item["start"] + start, 6), length, None]
                    for symbol, start, length in segments[utt]
                ]
                for tier, segments in times.items()
                if utt in segments
            }
            items.append(
                {**{key: value for key, value in item.items() if key != "alignment"}, "alignment": alignment}
            )
    write_manifest(out, items)


def _summary(alignment: Alignment) -> str:
    names = sorted(alignment.not_aligned)
    counts = f"{len(alignment.num_frames) - len(names)} utterances aligned, {len(names)} not"
    if not names:
        return counts
    return f"{counts} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}; see {NOT_ALIGNED})"
