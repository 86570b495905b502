"""Forced alignment of a data folder: an array of jobs aligns shards, then they are put together.

A job writes ``<out>/shards/shard.<job>.json``; the merge makes ``<out>/{phone,word}.ctm`` and, where an
utterance could not be aligned, ``<out>/not_aligned`` with the reason.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ser import config, reading
from ser.align import hmm, phone_model
from ser.align.features import read_used_set
from ser.align.lexicon import read_lexicon
from ser.align.phone_model import AlignConfig, BestPath, Search
from ser.align.phone_training import LEXICON, PHONES, pause, symbols_of, too_short
from ser.align.sources import NOT_ALIGNED
from ser.align.speech import Speech, check_features, data_files, read_transcripts
from ser.data import files, tables
from ser.data.alignment import write_ctm
from ser.data.datadir import MAIN
from ser.data.manifests import Segment
from ser.data.phones import load_phones
from ser.data.shards import check_job, check_num_jobs, shard_of
from ser.errors import DataError
from ser.feats.sets import FeatureSet

log = logging.getLogger("ser")

TIERS = ("phone", "word")
SILENCE_WORD = "<sil>"
MODEL_MADE_BY = "steps/train_phones.sh"
_BLOCK = 32  # utterances whose features are in memory at a time


def align_shard(
    data: Path,
    model_dir: Path,
    out: Path,
    job: int,
    num_jobs: int,
    search: Search,
    progress: Callable[[Sequence[str], str], Iterable[str]],
) -> None:
    """Align one job's share of the utterances, unless that is done.

    Args:
        data: a data folder with ``text`` and the feature set that the model was trained on.
        model_dir: what :func:`ser.align.phone_training.train_phones` made.
        out: the folder of the alignment.
        job: which shard, 1 to ``num_jobs``.
        num_jobs: number of shards.
        search: finds the best path through graphs.
        progress: goes through the utterances, and shows that.

    Raises:
        UsageError: there is no such shard.
        StaleError: the alignment is finished, but was made from something else.
        DataError: tables are missing, or words are not in the model's lexicon.
    """
    check_job(job, num_jobs)
    inputs = _inputs(data, model_dir)
    made = [job, num_jobs, _digests(inputs)]
    path = _shard_path(out, job)
    if _is_finished(out, inputs) or _read_shard(path).get("made") == made:
        log.info("%s: up to date", out)
        return
    trained_on = read_used_set(model_dir, MODEL_MADE_BY)
    check_features(data, trained_on, model_dir)
    aligner = _Aligner(data, model_dir, trained_on, search)
    results: dict[str, Any] = {}  # utterance -> its tiers, or why it has none
    pending: list[str] = []
    for name in progress(shard_of(aligner.speech.names, job, num_jobs), "align"):
        if reason := aligner.obstacle(name):
            results[name] = reason
            continue
        pending.append(name)
        if len(pending) == _BLOCK:
            results.update(aligner.align(pending))
            pending.clear()
    results.update(aligner.align(pending))
    with files.whole_file(path) as stream:
        json.dump({"made": made, "utterances": results}, stream)
    log.info("%s: %d utterances", path, len(results))


class _Aligner:
    """A model and the utterances of a data folder."""

    def __init__(self, data: Path, model_dir: Path, trained_on: FeatureSet, search: Search) -> None:
        phones = load_phones(model_dir / PHONES)
        settings = config.load(AlignConfig, model_dir / phone_model.SETTINGS)
        self._search = search
        self._model = phone_model.load(model_dir / phone_model.MODEL)
        self._lexicon = read_lexicon(model_dir / LEXICON, phones)
        if unknown := sorted(symbols_of(self._lexicon) - set(self._model.phones)):
            raise DataError(
                f"{model_dir / LEXICON}: has phones that the model was not trained on: "
                f"{', '.join(unknown)}; train it with this lexicon"
            )
        self._words = read_transcripts(data, self._lexicon, model_dir / LEXICON)
        self._pause = pause(settings, phones)
        self.speech = Speech(data, settings, trained_on.name)
        self._durations = _durations(data, self.speech)

    def obstacle(self, name: str) -> str:
        """Why an utterance cannot be aligned; empty if it may be tried."""
        if name not in self._words:
            return "it has no words"
        frames, states = self.speech.num_frames[name], self._model.num_states
        return too_short(frames, self._words[name], self._lexicon, states)

    def align(self, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Utterance and its tiers, or the reason why it has none."""
        pdfs, states = self._model.pdfs, self._model.num_states
        graphs = [
            hmm.utterance_graph(
                [self._lexicon[word] for word in self._words[name]], pdfs, states, self._pause
            )
            for name in names
        ]
        scores = (self._model.mixtures.log_likelihood(self.speech.frames(name)) for name in names)
        paths = self._search(graphs, self._model.log_transitions, scores)
        for name, graph, path in zip(names, graphs, paths, strict=True):
            if path is None:
                yield name, "no path through its words is as long as it is"
            else:
                times = (self.speech.shift_s, self.speech.offset_s, self._durations[name])
                yield name, tiers(path, graph.labels, self._words[name], *times)


def tiers(
    best: BestPath,
    labels: Sequence[tuple[str, int]],
    words: Sequence[str],
    shift_s: float,
    offset_s: float,
    duration_s: float,
) -> dict[str, list[Segment]]:
    """Phones and words with their times.

    Args:
        best: the path through the graph.
        labels: the graph's.
        words: the transcript's.
        shift_s: from frame to frame, in seconds.
        offset_s: the boundary before frame t lies at ``t * shift_s + offset_s``.
        duration_s: of the recording, which the last segment ends with; the first begins with 0.
    """
    runs = [(segment, sum(1 for _ in run)) for segment, run in groupby(best.segments.tolist())]
    edges = [0.0]
    frame = 0
    for _, length in runs[:-1]:
        frame += length
        edges.append(min(frame * shift_s + offset_s, duration_s))
    edges.append(duration_s)
    phones = [
        (labels[segment], start, end)
        for (segment, _), start, end in zip(runs, edges[:-1], edges[1:], strict=True)
    ]
    word_rows: list[Segment] = []
    for index, group in groupby(phones, lambda row: row[0][1]):
        rows = list(group)
        symbol = SILENCE_WORD if index == hmm.NO_WORD else words[index]
        word_rows.append((symbol, rows[0][1], rows[-1][2] - rows[0][1]))
    return {"phone": [(phone, start, end - start) for (phone, _), start, end in phones], "word": word_rows}


def merge_shards(data: Path, model_dir: Path, out: Path, num_jobs: int) -> None:
    """Put the shards together, unless that is done.

    Args:
        data: the data folder.
        model_dir: the model that aligned it.
        out: the folder of the alignment.
        num_jobs: number of shards.

    Raises:
        UsageError: no number of shards.
        StaleError: the alignment is finished, but was made from something else.
        DataError: shards are missing or of something else, or no utterance could be aligned.
    """
    check_num_jobs(num_jobs)
    inputs = _inputs(data, model_dir)
    if _is_finished(out, inputs):
        log.info("%s: up to date", out)
        return
    results: dict[str, Any] = {}
    digests = _digests(inputs)
    for job in range(1, num_jobs + 1):
        path = _shard_path(out, job)
        shard = _read_shard(path)
        if shard.get("made") != [job, num_jobs, digests]:
            raise DataError(f"{path}: is missing or of something else; run steps/align.sh again")
        results.update(shard["utterances"])
    reasons = {name: value for name, value in results.items() if isinstance(value, str)}
    aligned = {name: value for name, value in results.items() if name not in reasons}
    if not aligned:
        name, reason = next(iter(reasons.items()))
        raise DataError(f"{data / 'text'}: no utterance could be aligned, e.g. {name}: {reason}; correct it")
    with files.locked(out):
        for tier in TIERS:
            write_ctm(out / f"{tier}.ctm", {name: value[tier] for name, value in aligned.items()})
        outputs = [out / f"{tier}.ctm" for tier in TIERS]
        (out / NOT_ALIGNED).unlink(missing_ok=True)
        if reasons:
            tables.write_table(out / NOT_ALIGNED, reasons)
            outputs.append(out / NOT_ALIGNED)
        files.write_made(out, {}, inputs, outputs)
        shutil.rmtree(_shard_path(out, 1).parent)
    log.info("%s: %d utterances aligned, %d not", out, len(aligned), len(reasons))
    if reasons:
        log.warning("%s: says which and why", out / NOT_ALIGNED)


def _inputs(data: Path, model_dir: Path) -> dict[str, Path]:
    """What an alignment is made from: name -> path; all of them exist."""
    of_model = (phone_model.MODEL, phone_model.SETTINGS, LEXICON, PHONES, MAIN)
    for name in of_model:
        if not (model_dir / name).exists():
            raise DataError(f"{model_dir / name}: no such file; run {MODEL_MADE_BY}")
    files_of_data = data_files(data, read_used_set(model_dir, MODEL_MADE_BY).name)
    return files_of_data | {name: model_dir / name for name in of_model}


def _digests(inputs: Mapping[str, Path]) -> dict[str, str]:
    return {name: files.file_digest(path)[:16] for name, path in inputs.items()}


def _is_finished(out: Path, inputs: Mapping[str, Path]) -> bool:
    remedy = f"choose another folder, or remove it: rm -r {shlex.quote(str(out))}"
    return files.is_made(out, {}, inputs, remedy=remedy)


def _shard_path(out: Path, job: int) -> Path:
    return out / "shards" / f"shard.{job}.json"


def _read_shard(path: Path) -> dict[str, Any]:
    """What a job wrote; empty if it has not, or was interrupted."""
    try:
        shard = reading.read_json(path, "align again")
    except DataError:
        return {}
    return shard if isinstance(shard, dict) else {}


def _durations(data: Path, speech: Speech) -> dict[str, float]:
    """Utterance -> its duration in seconds, from ``utt2dur`` or else from its frames."""
    path = data / "utt2dur"
    if path.exists():
        return tables.convert(tables.read_table(path), path, tables.positive_float, "<seconds>")
    return {name: number * speech.shift_s + 2 * speech.offset_s for name, number in speech.num_frames.items()}
