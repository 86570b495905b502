"""Forced alignment of a data folder, in parts by an array of jobs, then put together.

A part is ``<out>/parts/part.<job>.json``; the merge makes ``<out>/{phone,word}.ctm`` and, where an utterance
could not be aligned, ``<out>/not_aligned`` with the reason.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ser import config
from ser.align import hmm, phone_model
from ser.align.lexicon import read_lexicon
from ser.align.phone_model import AlignConfig, BestPath, Search
from ser.align.phone_training import LEXICON, PHONES, pause, too_short
from ser.align.speech import INPUTS, Speech, check_features, read_transcripts
from ser.data import files, tables
from ser.data.alignment import write_ctm
from ser.data.manifests import Segment
from ser.data.phones import load_phones
from ser.errors import DataError, UsageError
from ser.feats.extract import part_of

log = logging.getLogger("ser")

TIERS = ("phone", "word")
NOT_ALIGNED = "not_aligned"
SILENCE_WORD = "<sil>"
_BLOCK = 32  # utterances whose features are in memory at a time


def align_part(
    data: Path,
    model_dir: Path,
    out: Path,
    job: int,
    num_jobs: int,
    search: Search,
    progress: Callable[[Sequence[str], str], Iterable[str]],
) -> None:
    """Align one part of the utterances, unless that is done.

    Args:
        data: a data folder with ``text`` and the features in ``align``.
        model_dir: what :func:`ser.align.phone_training.train_phones` made.
        out: the folder of the alignment.
        job: which part, 1 to ``num_jobs``.
        num_jobs: number of parts.
        search: finds the best way through graphs.
        progress: goes through the utterances, and shows that.

    Raises:
        UsageError: there is no such part.
        StaleError: the alignment is finished, but of something else.
        DataError: tables are missing, or words are not in the model's lexicon.
    """
    if not 1 <= job <= num_jobs:
        raise UsageError(f"--job {job}: must be from 1 to --num-jobs ({num_jobs})")
    made = _made(data, model_dir)
    path = _part(out, job)
    if _is_finished(data, model_dir, out) or _read_part(path).get("made") == [job, num_jobs, made]:
        log.info("%s: up to date", out)
        return
    check_features(data, model_dir)
    aligner = _Aligner(data, model_dir, search)
    found: dict[str, Any] = {}
    pending: list[str] = []
    for name in progress(part_of(aligner.speech.names, job, num_jobs), "align"):
        if reason := aligner.obstacle(name):
            found[name] = reason
            continue
        pending.append(name)
        if len(pending) == _BLOCK:
            found.update(aligner.align(pending))
            pending.clear()
    found.update(aligner.align(pending))
    with files.whole_file(path) as stream:
        json.dump({"made": [job, num_jobs, made], "utterances": found}, stream)
    log.info("%s: %d utterances", path, len(found))


class _Aligner:
    """A model and the utterances of a data folder."""

    def __init__(self, data: Path, model_dir: Path, search: Search) -> None:
        phones = load_phones(model_dir / PHONES)
        settings = config.load(AlignConfig, model_dir / phone_model.SETTINGS)
        self._search = search
        self._model = phone_model.load(model_dir / phone_model.MODEL)
        self._lexicon = read_lexicon(model_dir / LEXICON, phones)
        spoken = {phone for entry in self._lexicon.values() for item in entry for phone in item}
        if strangers := sorted(spoken - set(self._model.phones)):
            raise DataError(
                f"{model_dir / LEXICON}: has phones that the model was not trained on: "
                f"{', '.join(strangers)}; train it with this lexicon"
            )
        self._words = read_transcripts(data, self._lexicon, model_dir / LEXICON)
        self._pause = pause(settings, phones)
        self.speech = Speech(data, settings)
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
        found = self._search(graphs, self._model.log_transitions, scores)
        for name, graph, best in zip(names, graphs, found, strict=True):
            if best is None:
                yield name, "no way through its words is as long as it is"
            else:
                times = (self.speech.shift_s, self.speech.offset_s, self._durations[name])
                yield name, tiers(best, graph.labels, self._words[name], *times)


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
        best: the way through the graph.
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


def merge_alignment(data: Path, model_dir: Path, out: Path, num_jobs: int) -> None:
    """Put the parts together, unless that is done.

    Raises:
        UsageError: no number of parts.
        DataError: parts are missing or of something else, or no utterance could be aligned.
    """
    if num_jobs < 1:
        raise UsageError(f"--num-jobs {num_jobs}: must be 1 or more")
    if _is_finished(data, model_dir, out):
        log.info("%s: up to date", out)
        return
    made = _made(data, model_dir)
    found: dict[str, Any] = {}
    for job in range(1, num_jobs + 1):
        part = _read_part(_part(out, job))
        if part.get("made") != [job, num_jobs, made]:
            raise DataError(f"{_part(out, job)}: is missing or of something else; run steps/align.sh again")
        found.update(part["utterances"])
    reasons = {name: value for name, value in found.items() if isinstance(value, str)}
    aligned = {name: value for name, value in found.items() if name not in reasons}
    if not aligned:
        name, reason = next(iter(reasons.items()))
        raise DataError(f"{data / 'text'}: no utterance could be aligned, e.g. {name}: {reason}; correct it")
    with files.locked(out):
        for tier in TIERS:
            write_ctm(out / f"{tier}.ctm", {name: value[tier] for name, value in aligned.items()})
        (out / NOT_ALIGNED).unlink(missing_ok=True)
        if reasons:
            tables.write_table(out / NOT_ALIGNED, reasons)
        files.write_made(out, *_record(data, model_dir))
        shutil.rmtree(out / "parts")
    log.info("%s: %d utterances aligned, %d not", out, len(aligned), len(reasons))
    if reasons:
        log.warning("%s: says which and why", out / NOT_ALIGNED)


def _record(data: Path, model_dir: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    inputs = {name: data / name for name in INPUTS}
    inputs |= {name: model_dir / name for name in (phone_model.MODEL, phone_model.SETTINGS, LEXICON, PHONES)}
    missing = [path for path in inputs.values() if not path.exists()]
    if missing:
        made_by = "steps/train_phones.sh" if missing[0].parent == model_dir else "steps/make_align_fbank.sh"
        raise DataError(f"{missing[0]}: no such file; run stage 0 and {made_by}")
    return {}, inputs


def _made(data: Path, model_dir: Path) -> dict[str, str]:
    """What a part is made of."""
    return {name: files.file_digest(path)[:16] for name, path in _record(data, model_dir)[1].items()}


def _is_finished(data: Path, model_dir: Path, out: Path) -> bool:
    remedy = f"choose another folder, or remove it: rm -r {shlex.quote(str(out))}"
    return files.is_made(out, *_record(data, model_dir), remedy=remedy)


def _part(out: Path, job: int) -> Path:
    return out / "parts" / f"part.{job}.json"


def _read_part(path: Path) -> dict[str, Any]:
    try:
        part: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return part


def _durations(data: Path, speech: Speech) -> dict[str, float]:
    """Utterance -> its duration in seconds, from ``utt2dur`` or else from its frames."""
    path = data / "utt2dur"
    if path.exists():
        return tables.convert(tables.read_table(path), path, tables.positive_float, "<seconds>")
    return {name: number * speech.shift_s + 2 * speech.offset_s for name, number in speech.num_frames.items()}
