"""One dialog of a release, as the recipe reads it, with all that is wrong with it in full."""

from __future__ import annotations

from pathlib import Path

from ser.corpora.iemocap import recipe
from ser.corpora.iemocap.recipe import COPY_AGAIN, Dialog, DialogTurns
from ser.corpora.iemocap.release import list_folder, unreadable
from ser.errors import DataError

_SAME_TIME_S = 0.01  # the two files give the same times in the whole release


def read_dialog(dialog: Dialog, frame_offset: int = 0) -> DialogTurns:
    """Read all turns of a dialog; what is wrong with it is in the result, a line each.

    Args:
        dialog: where it is.
        frame_offset: added to the frames of the alignments.
    """
    result = recipe.read_dialog(dialog, frame_offset)
    result.faults = [
        str(unreadable(Path(fault.filename), fault)) if isinstance(fault, OSError) else fault
        for fault in result.faults
    ]
    if result.labels is not None:
        result.faults += _strange_words(dialog, result)
        result.faults += _strange_recordings(dialog, result)
    result.labels = result.words = None  # another process need not be sent them
    return result


def _strange_words(dialog: Dialog, result: DialogTurns) -> list[str]:
    """The lines of the transcription whose turn has no label, or another time there."""
    faults = []
    labels = result.labels or {}
    for turn, said in (result.words or {}).items():
        where, label = f"{dialog.transcription}:{said['line']}", labels.get(turn)
        if label is None:
            if turn not in result.unusable:
                faults.append(f"{where}: {turn} has no label in {dialog.evaluation}; {COPY_AGAIN}")
        elif max(abs(label[end] - said[end]) for end in ("start_s", "end_s")) > _SAME_TIME_S:
            faults.append(
                f"{where}: {turn} is at {said['start_s']:.4f}-{said['end_s']:.4f} s, but at "
                f"{label['start_s']:.4f}-{label['end_s']:.4f} s in {dialog.evaluation}:{label['line']}; "
                f"{COPY_AGAIN}"
            )
    return faults


def _strange_recordings(dialog: Dialog, result: DialogTurns) -> list[str]:
    """The recordings without a label; those of stretches that are no turns (``_FXX0``) need none."""
    try:
        names = list_folder(dialog.wavs)
    except DataError as error:
        return [str(error)]
    stems = {Path(name).stem for name in names if name.startswith("Ses") and name.endswith(".wav")}
    faults = []
    for turn in sorted(
        stem for stem in stems - (result.labels or {}).keys() - result.unusable if "X" not in stem
    ):
        own = recipe.turn_of(turn, dialog.name)
        what = f"{turn} has no label in" if own else f"{turn} is no turn of {dialog.name}, see"
        faults.append(f"{dialog.wavs / turn}.wav: {what} {dialog.evaluation}; {COPY_AGAIN}")
    return faults
