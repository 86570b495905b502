"""What a corpus holds, fact by fact, and what of it is suspicious: the summary that stage 0 ends with.

``summary.tsv``, beside the folder ``all``, has a line a fact, ``fact value warning``; the report shows it.
"""

from __future__ import annotations

import logging
import math
import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ser.data import tables
from ser.data.corpus import CorpusAudio, CorpusConfig
from ser.data.labels import EMOTIONS, read_emotions, read_utt2emo
from ser.data.levels import CLIPPED_RUN, LEVELS, Level, Piece, measure_all
from ser.data.segments import SEGMENTS, read_recordings
from ser.data.tsv import read_tsv, write_tsv
from ser.data.unfit import LEFT_OUT, SILENT_DBFS, has, low_rates, silent, unfit
from ser.errors import DataError, examples, plural

log = logging.getLogger("ser")

SUMMARY = "summary.tsv"
SHORT_S, LONG_S = 0.2, 60.0
FEW_SPEAKERS = 3  # a class of fewer may be missing in a fold
_LISTED = 6  # so many speakers are listed by name
_WIDTH, _MARGIN = 78, 16  # of the text; of the facts' names


class Fact(NamedTuple):
    """A fact of a corpus."""

    fact: str
    value: str
    warning: str = ""  # what is suspicious about it, with its consequence and a remedy


class Measured(NamedTuple):
    """An utterance and what its audio is like."""

    name: str
    speaker: str
    emotion: str
    level: Level


# ------------------------------------------------------------------------------------------------ the facts


def summarise(data: Path, config: CorpusConfig, num_jobs: int = 1) -> list[Fact]:
    """The facts of a data folder; its recordings are measured where that has not been done.

    Writes ``summary.tsv`` beside the folder.

    Args:
        data: a data folder; it needs no more than ``wav.scp utt2spk utt2emo emotions.txt``.
        config: the corpus.
        num_jobs: files read at a time.

    Raises:
        DataError: a table or a recording cannot be used, or an utterance is in it that a setting refuses or
            drops.
    """
    utterances = _measured(data, config.audio, num_jobs)
    levels = {item.name: item.level for item in utterances}
    if dropped := unfit(levels, config.audio, data):
        setting = next(iter(dropped.values()))
        raise DataError(
            f"{data}: {setting} is drop, but the tables hold {len(dropped)} such utterances "
            f"({examples(list(dropped))}); remove their lines, or make the folder again with stage 0"
        )
    facts = [
        _size(utterances),
        *_left_out(data / LEFT_OUT),
        _durations(utterances),
        _rates(levels, config.audio),
        _channels(levels, config.audio),
        _formats(levels),
        _loudness(levels),
        _silence(levels),
        _clipping(levels),
        *_copies(utterances),
        *_classes(utterances, read_emotions(data / EMOTIONS)),
    ]
    write_tsv(data.parent / SUMMARY, Fact, facts)
    return facts


def read_summary(data: Path) -> list[Fact]:
    """What :func:`summarise` found of a data folder; empty if it was not asked.

    Raises:
        DataError: the file is damaged.
    """
    path = data.parent / SUMMARY
    return read_tsv(path, Fact, 1) if path.exists() else []


def show(data: Path, config: CorpusConfig, num_jobs: int = 1) -> None:
    """Print the summary of a data folder and log its warnings; takes what :func:`summarise` takes."""
    facts = summarise(data, config, num_jobs)
    print(text(facts, f"corpus {config.name}: {data}"), flush=True)
    for fact in facts:
        if fact.warning:
            log.warning("%s: %s", data, fact.warning)


def text(facts: Sequence[Fact], title: str) -> str:
    """The facts for display, in 78 columns; ``!`` marks those that have a warning."""
    lines = [title]
    for fact in facts:
        head = f"{'!' if fact.warning else ' '} {fact.fact}".ljust(_MARGIN - 1) + " "
        lines += textwrap.wrap(
            fact.value, _WIDTH, initial_indent=head, subsequent_indent=" " * _MARGIN, break_on_hyphens=False
        )
    return "\n".join(lines)


def _measured(data: Path, audio: CorpusAudio, num_jobs: int) -> list[Measured]:
    recordings = read_recordings(data)
    utt2spk = tables.read_table(data / "utt2spk", made_by="stage 0")
    utt2emo = read_utt2emo(data / "utt2emo", read_emotions(data / EMOTIONS))
    audio_table = SEGMENTS if (data / SEGMENTS).exists() else "wav.scp"
    tables.same_keys(utt2emo, data / "utt2emo", utt2spk, data / "utt2spk")
    tables.same_keys(recordings, data / audio_table, utt2spk, data / "utt2spk")
    pieces = [Piece.of(recordings[name], audio.channel) for name in utt2spk]
    levels = measure_all(pieces, data.parent / LEVELS, num_jobs)
    return [
        Measured(name, utt2spk[name], utt2emo[name], level)
        for name, level in zip(utt2spk, levels, strict=True)
    ]


def _size(utterances: Sequence[Measured]) -> Fact:
    minutes = sum(item.level.duration_s for item in utterances) / 60
    speakers = len({item.speaker for item in utterances})
    length = f"{minutes / 60:.1f} hours" if minutes >= 60 else f"{minutes:.1f} minutes"
    return Fact("utterances", f"{len(utterances)} of {plural(speakers, 'speaker')}, {length}")


def _left_out(path: Path) -> list[Fact]:
    """What stage 0 left out, by the setting that asked for it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, setting in (tables.read_table(path) if path.exists() else {}).items():
        groups[setting].append(name)
    return [
        Fact("left out", f"{len(names)} by {setting}", f"{plural(len(names), 'utterance')} left out by "
             f"{setting}, which is drop ({examples(names)})")
        for setting, names in sorted(groups.items())
    ]  # fmt: skip


def _durations(utterances: Sequence[Measured]) -> Fact:
    lengths = {item.name: item.level.duration_s for item in utterances}
    low, middle, high = min(lengths.values()), statistics.median(lengths.values()), max(lengths.values())
    cases = {
        f"shorter than {SHORT_S:g} s": [name for name, length in lengths.items() if length < SHORT_S],
        f"longer than {LONG_S:g} s": [name for name, length in lengths.items() if length > LONG_S],
    }
    odd = [f"{len(names)} {what} ({examples(names)})" for what, names in cases.items() if names]
    warning = f"{', '.join(odd)}: is each one utterance, and whole?" if odd else ""
    return Fact("durations", f"shortest {low:.2f} s, median {middle:.2f} s, longest {high:.2f} s", warning)


def _rates(levels: Mapping[str, Level], audio: CorpusAudio) -> Fact:
    rates = Counter(level.sampling_rate_hz for level in levels.values())
    names, lowest, highest, target = low_rates(levels, audio), min(rates), max(rates), audio.sampling_rate_hz
    warning = ""
    if names:
        warning = (
            f"{has(names, levels)} a lower sampling rate than the others ({examples(names)}): above "
            f"{lowest // 2} Hz their filters hold next to nothing, some 5 log units less; set "
            f"audio.sampling_rate_hz to {lowest}, which all have, or audio.on_mixed_rate to refuse or drop"
        )
    elif highest < target:
        warning = (
            f"all have {highest} Hz, audio.sampling_rate_hz is {target}: above {highest // 2} Hz the filters "
            f"hold next to nothing; set audio.sampling_rate_hz to {highest}"
        )
    return Fact("sampling rate", _counts({f"{rate} Hz": number for rate, number in rates.items()}), warning)


def _channels(levels: Mapping[str, Level], audio: CorpusAudio) -> Fact:
    counts = Counter(level.num_channels for level in levels.values())
    value = _counts({str(number): count for number, count in counts.items()})
    if max(counts) > 1:
        value += f" ({_choice(audio)} read)"
    wrong = [name for name in silent(levels) if levels[name].other_rms_dbfs >= SILENT_DBFS]
    warning = (
        f"{has(wrong, levels)} silence on what is read, and sound on another "
        f"({examples(wrong)}); set audio.channel"
    )
    return Fact("channels", value, warning if wrong else "")


def _choice(audio: CorpusAudio) -> str:
    """What ``audio.channel`` says, in words."""
    if audio.channel == "mix":
        return "the mean of all is"
    numbers = audio.channel if isinstance(audio.channel, tuple) else (audio.channel or 0,)
    return f"channel {' or '.join(map(str, numbers))} is"


def _formats(levels: Mapping[str, Level]) -> Fact:
    return Fact("formats", _counts(Counter(level.format for level in levels.values())))


def _loudness(levels: Mapping[str, Level]) -> Fact:
    values = [level.rms_dbfs for level in levels.values()]
    peak = max(level.peak_dbfs for level in levels.values())
    return Fact(
        "levels",
        f"median {statistics.median(values):.1f} dBFS, {min(values):.1f} to {max(values):.1f}; "
        f"highest peak {peak:.1f}",
    )


def _silence(levels: Mapping[str, Level]) -> Fact:
    names = silent(levels)
    if not names:
        return Fact("silent", f"none below {SILENT_DBFS:g} dBFS")
    zeros = sum(levels[name].rms_dbfs == -math.inf for name in names)
    without = f"{'all' if zeros == len(names) else f'{zeros} of them'} without any signal"
    return Fact(
        "silent",
        f"{len(names)} below {SILENT_DBFS:g} dBFS, {without}",
        f"{has(names, levels)} silent audio ({examples(names)}): nothing can be learnt from it, and a "
        "decision on it is a guess; replace the recordings, or set audio.on_silent to refuse or drop",
    )


def _clipping(levels: Mapping[str, Level]) -> Fact:
    names = [name for name, level in levels.items() if level.num_clipped]
    if not names:
        return Fact("clipped", "none")
    share = max(levels[name].num_clipped / levels[name].num_samples for name in names)
    return Fact(
        "clipped",
        f"{plural(len(names), 'utterance')}, up to {100 * share:.2g} % of the samples",
        f"{has(names, levels)} clipped samples, {CLIPPED_RUN} or more at full scale in a row "
        f"({examples(names)}): are the recordings distorted?",
    )


def _copies(utterances: Sequence[Measured]) -> list[Fact]:
    """The same audio under several names; silence is no audio."""
    groups: dict[str, list[Measured]] = defaultdict(list)
    for item in utterances:
        if item.level.rms_dbfs >= SILENT_DBFS:
            groups[item.level.digest].append(item)
    copies = [group for group in groups.values() if len(group) > 1]
    same = [group for group in copies if len({(item.speaker, item.emotion) for item in group}) == 1]
    other = [group for group in copies if group not in same]
    warnings = [
        f"{plural(len(part), 'recording')} under several names{what} "
        f"({examples([' = '.join(item.name for item in group) for group in part])}): {so}; keep one of each"
        for part, what, so in (
            (same, "", "what is said of it counts more than once"),
            (other, ", of several speakers or classes", "all but one of them are wrong"),
        )
        if part
    ]
    extra = sum(len(group) - 1 for group in copies)
    value = f"{plural(extra, 'utterance')} with the audio of another" if extra else "none"
    return [Fact("copies", value, " ".join(f"{warning}." for warning in warnings).removesuffix("."))]


def _classes(utterances: Sequence[Measured], emotions: Sequence[str]) -> list[Fact]:
    """How many utterances each class has, and of which speakers."""
    speakers = sorted({item.speaker for item in utterances})
    facts = []
    for emotion in emotions:
        counts = Counter(item.speaker for item in utterances if item.emotion == emotion)
        if len(speakers) <= _LISTED:
            who = ", ".join(f"{speaker} {counts[speaker]}" for speaker in speakers)
        else:
            ends = {min(counts.values(), default=0), max(counts.values(), default=0)}
            each = " to ".join(map(str, sorted(ends)))
            who = f"{len(counts)} of {len(speakers)} speakers, {each} each"
        few = len(counts) < min(FEW_SPEAKERS, len(speakers))
        warning = (
            f"class {emotion}: only {plural(len(counts), 'speaker')} of {len(speakers)} "
            f"{'has' if len(counts) == 1 else 'have'} it ({examples(sorted(counts))}): folds may lack it"
        )
        facts.append(Fact(f"class {emotion}", f"{counts.total()}: {who}", warning if few else ""))
    return facts


def _counts(counts: Mapping[str, int]) -> str:
    """What there is of each kind, the most frequent first; without numbers if there is one kind.

    >>> _counts({"8000 Hz": 1, "16000 Hz": 119}), _counts({"WAV PCM_16": 120})
    ('119 of 16000 Hz, 1 of 8000 Hz', 'WAV PCM_16')
    """
    if len(counts) == 1:
        return next(iter(counts))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} of {kind}" for kind, number in ordered)
