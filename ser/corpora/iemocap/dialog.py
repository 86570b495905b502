"""One dialog: its labels, words, recordings and alignments joined by turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ser.corpora.iemocap.alignments import TIERS, Item, read_rows, to_seconds
from ser.corpora.iemocap.evaluation import Evaluation, Evaluations, read_evaluation
from ser.corpora.iemocap.release import COPY_AGAIN, Dialog, list_folder, turn_of
from ser.corpora.iemocap.transcripts import Transcript, Transcripts, read_transcription
from ser.corpora.iemocap.wavheader import SAMPLING_RATE_HZ, count_samples
from ser.errors import DataError

_SAME_TIME_S = 0.01  # the two files give the same times in the whole release
_SAME_LENGTH_S = 0.01  # recordings are at most 2 samples shorter and 1 longer than their times say


@dataclass
class Turn:
    """All that the release says of one turn."""

    id: str
    dialog: Dialog
    wav: Path
    num_samples: int
    evaluation: Evaluation
    transcript: Transcript
    alignment: dict[str, list[Item]]  # tier -> items; without the tiers that have none


@dataclass
class DialogTurns:
    """The turns of one dialog, and what is wrong with them."""

    turns: list[Turn] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unaligned: list[str] = field(default_factory=list)  # turns without any alignment file
    other_length: list[str] = field(default_factory=list)  # turns whose recording and times differ
    unclear: list[str] = field(default_factory=list)  # "<file>:<line>" of ratings not understood
    unlabelled: int = 0  # transcription lines that belong to no turn, by kind
    without_id: int = 0


def read_dialog(dialog: Dialog, frame_offset: int = 0) -> DialogTurns:
    """Read all turns of a dialog; what is wrong with it is in the result.

    Args:
        dialog: where it is.
        frame_offset: added to the frames of the alignments.
    """
    result = DialogTurns()
    try:
        evaluations = read_evaluation(dialog.evaluation, dialog.name, result.problems)
    except DataError as error:
        result.problems.append(str(error))
        evaluations = None
    try:
        transcripts = read_transcription(dialog.transcription, dialog.name, result.problems)
    except DataError as error:
        result.problems.append(str(error))
        transcripts = None
    try:
        wavs = _turn_names(list_folder(dialog.wavs), ".wav")
    except DataError as error:
        result.problems.append(str(error))
        wavs = None
    if evaluations is None:
        return result
    result.unclear = evaluations.unclear
    if transcripts is not None:
        result.unlabelled, result.without_id = transcripts.unlabelled, transcripts.without_id
        _match_transcripts(dialog, evaluations, transcripts, result.problems)
    if wavs is not None:
        _match_wavs(dialog, evaluations, wavs, result.problems)
    if wavs is not None and transcripts is not None:
        for turn in sorted(evaluations.turns.keys() & transcripts.turns.keys() & wavs):
            _add_turn(result, turn, dialog, evaluations, transcripts)
        _align(result, dialog, frame_offset)
    return result


def _turn_names(names: Iterable[str], suffix: str) -> set[str]:
    """Names with that suffix, without it; stretches that are no turns (``_FXX0``) are left out."""
    stems = (name.removesuffix(suffix) for name in names if name.startswith("Ses") and name.endswith(suffix))
    return {stem for stem in stems if "X" not in stem}


def _match_transcripts(dialog: Dialog, labels: Evaluations, words: Transcripts, problems: list[str]) -> None:
    """Both files must have the same turns, with the same times."""
    for turn, said in words.turns.items():
        where = f"{dialog.transcription}:{said.line}"
        told = labels.turns.get(turn)
        if told is None:
            if turn not in labels.faulty:
                problems.append(f"{where}: {turn} has no label in {dialog.evaluation}; {COPY_AGAIN}")
        elif max(abs(told.start_s - said.start_s), abs(told.end_s - said.end_s)) > _SAME_TIME_S:
            problems.append(
                f"{where}: {turn} is at {said.start_s:.4f}-{said.end_s:.4f} s, but at "
                f"{told.start_s:.4f}-{told.end_s:.4f} s in {dialog.evaluation}:{told.line}; {COPY_AGAIN}"
            )
    for turn, told in labels.turns.items():
        if turn not in words.turns and turn not in words.faulty:
            where = f"{dialog.evaluation}:{told.line}"
            problems.append(f"{where}: {turn} has no words in {dialog.transcription}; {COPY_AGAIN}")


def _match_wavs(dialog: Dialog, labels: Evaluations, wavs: set[str], problems: list[str]) -> None:
    """Every turn must have a recording, and every recording a label."""
    for turn, told in labels.turns.items():
        if turn not in wavs:
            where = f"{dialog.evaluation}:{told.line}"
            problems.append(
                f"{where}: {turn} has no recording, {dialog.wavs / turn}.wav is missing; {COPY_AGAIN}"
            )
    for turn in sorted(wavs - labels.turns.keys() - labels.faulty):
        what = (
            f"{turn} has no label in"
            if turn_of(turn, dialog.name)
            else f"{turn} is no turn of {dialog.name}, see"
        )
        problems.append(f"{dialog.wavs / turn}.wav: {what} {dialog.evaluation}; {COPY_AGAIN}")


def _add_turn(
    result: DialogTurns, turn: str, dialog: Dialog, labels: Evaluations, words: Transcripts
) -> None:
    wav = dialog.wavs / f"{turn}.wav"
    try:
        num_samples = count_samples(wav)
    except DataError as error:
        result.problems.append(str(error))
        return
    told = labels.turns[turn]
    if abs(num_samples / SAMPLING_RATE_HZ - (told.end_s - told.start_s)) > _SAME_LENGTH_S:
        result.other_length.append(turn)
    result.turns.append(Turn(turn, dialog, wav, num_samples, told, words.turns[turn], {}))


def _align(result: DialogTurns, dialog: Dialog, frame_offset: int) -> None:
    """Add the alignments that there are; that a turn has none is no problem."""
    try:
        files = set(list_folder(dialog.alignments)) if dialog.alignments.exists() else set()
    except DataError as error:
        result.problems.append(str(error))
        return
    for turn in result.turns:
        names = {tier: turn.id + suffix for tier, suffix in TIERS.items() if turn.id + suffix in files}
        if not names:
            result.unaligned.append(turn.id)
        for tier, name in names.items():
            rows = read_rows(dialog.alignments / name, tier, result.problems)
            items = to_seconds(rows, turn.num_samples / SAMPLING_RATE_HZ, frame_offset)
            if items:
                turn.alignment[tier] = items
