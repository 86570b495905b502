"""The tables of ``data/all``, made from the manifests of a corpus."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser import config as settings_io
from ser.data import tables
from ser.data.alignment import seconds, write_ctm
from ser.data.changes import remove, replace_tables
from ser.data.corpus import CorpusConfig, channels_of
from ser.data.datadir import up_to_date, whole_dir, write_spk2utt
from ser.data.durations import Shortest, check_durations, read_durations
from ser.data.files import files_below, input_changes, made_differently, setting_changes, write_made
from ser.data.labels import EMOTIONS, write_emotions
from ser.data.levels import LEVELS
from ser.data.manifests import RECORDINGS, SUPERVISIONS, Utterance, read_manifests
from ser.data.naming import RAW_IDS, name_utterances
from ser.data.segments import tell_overlaps, write_segments
from ser.data.turns import DIALOGUES, ORDER
from ser.data.unfit import LEFT_OUT, find_unfit
from ser.errors import DataError, all_of

log = logging.getLogger("ser")

_GENDERS = {"f": "f", "female": "f", "m": "m", "male": "m"}
# table -> the attributes that may say it: of a corpus's own manifests or table, of IEMOCAP
_TURNS = {DIALOGUES: ("dialogue", "dialog"), ORDER: ("turn", "start_s")}


def make_data_dir(
    manifests: Path,
    out: Path,
    config: CorpusConfig,
    shortest: Collection[Shortest] = (),
    num_jobs: int = 1,
) -> None:
    """Make the tables of all utterances that have a class, each named as :mod:`ser.data.naming` says.

    A finished folder is left alone if it is the same. If only the manifests have changed, tables that differ
    are replaced and said, unless features there depend on what changed.

    Args:
        manifests: folder with ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``.
        out: the folder to make, as a whole.
        config: the classes, labels, audio and ``keep`` of the corpus.
        shortest: of the feature sets that are to be made, the shortest utterance.
        num_jobs: recordings measured at a time, where ``config.audio`` refuses or drops some.

    Raises:
        StaleError: ``out`` was made with other settings, has features of other recordings, or a table of it
            was changed since.
        DataError: the manifests cannot be used, a class has no utterance left, recordings are not as
            ``config.audio`` wants them, utterances are too short for a feature set, or one cannot be named.
    """
    settings = stage_0_settings(config)
    refuse_other_settings(out, config)
    inputs = {name: manifests / name for name in (RECORDINGS, SUPERVISIONS) if (manifests / name).is_file()}
    utterances: list[Utterance] = []
    left_out: dict[str, str] = {}
    if {config.audio.on_mixed_rate, config.audio.on_silent} != {"warn"}:
        chosen = _chosen(manifests, config)
        left_out = find_unfit(chosen, config.audio, manifests, out.parent / LEVELS, num_jobs)
        settings |= {LEFT_OUT: left_out} if left_out else {}
        utterances = [item for item in chosen if item.id not in left_out]
    changed = bool(input_changes(out, inputs))
    if len(inputs) == 2 and not changed and up_to_date(out, settings, inputs):
        check_durations(read_durations(out / "utt2dur"), shortest, out / "utt2dur")
        return
    utterances = utterances or _chosen(manifests, config)
    source = manifests / SUPERVISIONS
    names = name_utterances({item.id: item.speaker for item in utterances}, source)
    paths = {item.id: item.path for item in utterances}
    check_durations({item.id: item.duration_s for item in utterances}, shortest, source, paths)
    tell_overlaps(utterances, source)
    with whole_dir(out) as staging:
        _write(staging, [replace(item, id=names[item.id]) for item in utterances], config)
        tables.write_table(staging / RAW_IDS, {name: raw for raw, name in names.items()})
        if left_out:
            tables.write_table(staging / LEFT_OUT, left_out)
        write_made(staging, settings, inputs, files_below(staging))
        if changed:
            replace_tables(staging, out)
    speakers = {item.speaker for item in utterances}
    log.info("%s: %d utterances of %d speakers", out, len(utterances), len(speakers))


def stage_0_settings(config: CorpusConfig) -> dict[str, Any]:
    """The settings of a corpus that its data folder depends on, whatever its audio is like."""
    tree = settings_io.to_dict(config)
    settings = {key: tree[key] for key in ("name", "classes", "labels", "audio", "keep")}
    for key in ("on_mixed_rate", "on_silent"):  # what they leave out is recorded instead
        del settings["audio"][key]
    return {**settings, "utterances": "<speaker>-<raw id>"}


def refuse_other_settings(data: Path, config: CorpusConfig) -> None:
    """Refuse a data folder that stage 0 made with other settings.

    Raises:
        StaleError: it did; what differs is named.
    """
    if changes := setting_changes(data, stage_0_settings(config), ignore={LEFT_OUT}):
        raise made_differently(data, changes, remove(data))


def _chosen(manifests: Path, config: CorpusConfig) -> list[Utterance]:
    utterances = select(read_manifests(manifests), config, manifests / SUPERVISIONS)
    check_audio(utterances, config)
    return utterances


def select(utterances: Sequence[Utterance], config: CorpusConfig, source: Path) -> list[Utterance]:
    """The utterances whose label has a class and that ``keep`` allows; says how many are left out.

    Raises:
        DataError: a class has none.
    """
    labelled = [item for item in utterances if item.attributes["emotion"] in config.labels]
    kept = [item for item in labelled if _allowed(item, config, source)]
    dropped = Counter(
        i.attributes["emotion"] for i in utterances if i.attributes["emotion"] not in config.labels
    )
    names = ", ".join(f"{label} {number}" for label, number in sorted(dropped.items()))
    log.info(
        "%s: kept %d of %d utterances; left out %d by label%s, %d by keep",
        source, len(kept), len(utterances), len(utterances) - len(labelled),
        f" ({names})" if names else "", len(labelled) - len(kept),
    )  # fmt: skip
    counts = Counter(config.labels[item.attributes["emotion"]] for item in kept)
    empty = [name for name in config.classes if not counts[name]]
    if empty:
        labels = ", ".join(sorted({item.attributes["emotion"] for item in utterances}))
        raise DataError(
            f"{source}: no utterance of class {', '.join(empty)} (labels in the corpus: {labels}); "
            f"correct classes, labels or keep in {config.source}"
        )
    return kept


def _allowed(item: Utterance, config: CorpusConfig, source: Path) -> bool:
    for attribute in config.keep:
        if attribute not in item.attributes:
            raise DataError(
                f"{source}: {item.id} has no {attribute}, which keep asks for (it has "
                f"{', '.join(sorted(item.attributes))}); correct keep in {config.source}"
            )
    return all(item.attributes[attribute] in values for attribute, values in config.keep.items())


def check_audio(utterances: Iterable[Utterance], config: CorpusConfig) -> None:
    """Make sure that the recordings are what ``config.audio`` says, or may be converted.

    Raises:
        DataError: another sampling rate where that is refused, or a channel that is missing or not chosen.
    """
    audio = config.audio
    problems: list[str] = []
    for item in utterances:
        if item.sampling_rate_hz != audio.sampling_rate_hz and audio.resample == "refuse":
            problems.append(
                f"{item.path}: has {item.sampling_rate_hz} Hz, audio.sampling_rate_hz says "
                f"{audio.sampling_rate_hz}; set audio.resample to convert"
            )
        try:
            channels_of(audio.channel, item.num_channels)
        except ValueError as error:
            problems.append(f"{item.path}: {error}")
    if problems:
        raise all_of(list(dict.fromkeys(problems)))


def _write(out: Path, utterances: Sequence[Utterance], config: CorpusConfig) -> None:
    """Write every table of ``data/all``."""

    def table(name: str, value: Callable[[Utterance], str]) -> None:
        tables.write_table(out / name, {item.id: value(item) for item in utterances})

    if all(item.is_whole for item in utterances):
        table("wav.scp", lambda item: item.path)
    else:
        write_segments(out, utterances)
    table("utt2spk", lambda item: item.speaker)
    table("utt2emo", lambda item: config.labels[item.attributes["emotion"]])
    table("utt2dur", lambda item: seconds(item.duration_s))
    write_spk2utt(out / "spk2utt", {item.id: item.speaker for item in utterances})
    write_emotions(out / EMOTIONS, config.classes)
    for attribute in ("session", "style", "fold"):
        values = {item.id: item.attributes[attribute] for item in utterances if attribute in item.attributes}
        if values:
            tables.same_keys(values, f"the utterances with a {attribute}", [i.id for i in utterances], "all")
            tables.write_table(out / f"utt2{attribute}", values)
    for name, attributes in _TURNS.items():
        said = {item.id: [*filter(None, map(item.attributes.get, attributes))] for item in utterances}
        if all(said.values()):
            tables.write_table(out / name, {key: values[0] for key, values in said.items()})
    texts = {item.id: item.text for item in utterances if item.text}
    genders = {
        item.speaker: _GENDERS.get(item.attributes.get("gender", "").lower(), "") for item in utterances
    }
    if texts:
        tables.write_table(out / "text", texts)
    if all(genders.values()):
        tables.write_table(out / "spk2gender", genders)
    for kind in sorted({kind for item in utterances for kind in item.alignment}):
        write_ctm(out / f"{kind}.ctm", {item.id: item.alignment.get(kind, []) for item in utterances})
