"""IEMOCAP: ten actors in 151 dialogs of two, improvised and scripted; 10,039 labelled turns in English.

Carlos Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources
and Evaluation 42(4), 2008.  The corpus is licensed by the University of Southern California and must be
asked for; what is read of it is described in :mod:`~ser.corpora.iemocap.release` (folders and names),
:mod:`~ser.corpora.iemocap.evaluation`, :mod:`~ser.corpora.iemocap.transcripts` and
:mod:`~ser.corpora.iemocap.alignments` (files).
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ser.cli import log, progress
from ser.corpora.base import Corpus
from ser.corpora.iemocap.checks import Check, check_iemocap
from ser.corpora.iemocap.dialog import DialogTurns, Turn, read_dialog
from ser.corpora.iemocap.release import (
    FOUR_CLASSES,
    Dialog,
    find_dialogs,
    find_release,
    gender_of,
    speaker_of,
)
from ser.corpora.iemocap.transcripts import split_tags
from ser.corpora.iemocap.wavheader import SAMPLING_RATE_HZ
from ser.errors import UsageError, all_of

if TYPE_CHECKING:
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

__all__ = ["CORPUS", "UNUSED", "Check", "check_iemocap", "prepare_iemocap"]

UNUSED = frozenset({"avi", "MOCAP_hand", "MOCAP_head", "MOCAP_rotated"})  # folders that nothing is read from


def prepare_iemocap(
    corpus_dir: Path | str, *, num_jobs: int = 1, frame_offset: int = 0, output_dir: Path | str | None = None
) -> dict[str, RecordingSet | SupervisionSet]:
    """The manifests of all turns of a release: 10,039, if it is whole.

    A supervision spans its recording, the turn's file of ``sentences/wav``.  Its text has words only.  Its
    speaker is ``Ses05_F``: the session, and who speaks (not who wears the markers).  ``custom`` holds

    - ``emotion``: the release's label, such as ``exc``; ``xxx`` where the raters agree on none;
    - ``four_class``: ``ang``, ``hap`` (with ``exc``), ``neu``, ``sad``, or None for any other label;
    - ``session`` (``"1"`` to ``"5"``), ``dialog``, ``style`` (``improvised`` or ``scripted``);
    - ``start_s``, ``end_s``: where the turn is in its dialog;
    - ``valence``, ``activation``, ``dominance``: means over the raters, or None; they may leave 1 to 5;
    - ``raters``: every rating, see :func:`ser.corpora.iemocap.evaluation.parse_rating`;
    - ``raw_text``, ``tags``: the transcription as it stands, and its tags (``LAUGHTER``).

    ``alignment`` holds ``phone``, ``word`` and ``syllable`` as far as the release has them, in seconds from
    the start of the recording, cut off at its end.

    Args:
        corpus_dir: the folder that holds ``Session1`` to ``Session5``, or one with just that folder in it.
        num_jobs: processes that read dialogs.
        frame_offset: added to the frames of the alignments (10 ms each).  The frames are taken as they
            stand by most users of the release; some add 2.
        output_dir: where to write the manifests, if anywhere.

    Returns:
        ``"recordings"`` and ``"supervisions"``, sorted by turn.

    Raises:
        DataError: no release there, or faults in it, all of them, a line each.  What the release is known
            to lack (the alignments of a few turns) is no fault, and a missing session only gets a warning.
    """
    from lhotse import RecordingSet, SupervisionSet

    if num_jobs < 1:
        raise UsageError(f"the number of jobs must be 1 or more, got {num_jobs}")
    problems: list[str] = []
    dialogs = find_dialogs(find_release(Path(corpus_dir)), problems)
    recordings: list[Recording] = []
    supervisions: list[SupervisionSegment] = []
    results: list[DialogTurns] = []
    for result in progress(_read_dialogs(dialogs, num_jobs, frame_offset), "dialogs", len(dialogs)):
        problems += result.problems
        if not problems:
            recordings += map(_recording, result.turns)
            supervisions += map(_supervision, result.turns)
        result.turns.clear()
        results.append(result)
    if problems:
        raise all_of(problems, shown=len(problems))
    _say_what_is_odd(results)
    manifests: dict[str, RecordingSet | SupervisionSet] = {
        "recordings": RecordingSet(sorted(recordings, key=lambda item: item.id)),
        "supervisions": SupervisionSet(sorted(supervisions, key=lambda item: item.id)),
    }
    if output_dir is not None:
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        for name, manifest in manifests.items():
            manifest.to_file(Path(output_dir) / f"iemocap_{name}_all.jsonl.gz")
    return manifests


def _read_dialogs(dialogs: Sequence[Dialog], num_jobs: int, frame_offset: int) -> Iterator[DialogTurns]:
    read = functools.partial(read_dialog, frame_offset=frame_offset)
    if num_jobs == 1:
        yield from map(read, dialogs)
        return
    # spawned, since lhotse has brought threads into this process that a fork would not survive
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_jobs, mp_context=context) as pool:
        yield from pool.map(read, dialogs, chunksize=4)


def _recording(turn: Turn) -> Recording:
    from lhotse import Recording
    from lhotse.audio import AudioSource

    return Recording(
        id=turn.id,
        sources=[AudioSource(type="file", channels=[0], source=str(turn.wav))],
        sampling_rate=SAMPLING_RATE_HZ,
        num_samples=turn.num_samples,
        duration=turn.num_samples / SAMPLING_RATE_HZ,
    )


def _supervision(turn: Turn) -> SupervisionSegment:
    from lhotse import SupervisionSegment
    from lhotse.supervision import AlignmentItem

    told = turn.evaluation
    text, tags = split_tags(turn.transcript.raw)
    alignment = {
        tier: [
            AlignmentItem(sys.intern(symbol), start_s, length_s, score)
            for symbol, start_s, length_s, score in items
        ]
        for tier, items in turn.alignment.items()
    }
    return SupervisionSegment(
        id=turn.id,
        recording_id=turn.id,
        start=0.0,
        duration=turn.num_samples / SAMPLING_RATE_HZ,
        text=text,
        language="English",
        speaker=speaker_of(turn.id),
        gender=gender_of(turn.id),
        custom={
            "emotion": told.label,
            "four_class": FOUR_CLASSES.get(told.label),
            "session": turn.dialog.session,
            "dialog": turn.dialog.name,
            "style": turn.dialog.style,
            "start_s": told.start_s,
            "end_s": told.end_s,
            "valence": told.valence,
            "activation": told.activation,
            "dominance": told.dominance,
            "raters": told.raters,
            "raw_text": turn.transcript.raw,
            "tags": list(tags),
        },
        alignment=alignment or None,
    )


def _say_what_is_odd(results: Sequence[DialogTurns]) -> None:
    """One line for each oddity that is no fault."""
    unlabelled, without_id = sum(one.unlabelled for one in results), sum(one.without_id for one in results)
    if unlabelled or without_id:
        log.info(
            "passed over %d transcription lines without a turn and %d without an id", unlabelled, without_id
        )
    oddities = {
        "turns without alignment": [turn for one in results for turn in one.unaligned],
        "turns whose recording is longer or shorter than their times say": [
            turn for one in results for turn in one.other_length
        ],
        "ratings that were kept but not understood": [line for one in results for line in one.unclear],
    }
    for what, names in oddities.items():
        if names:
            log.warning("%s: %d (%s%s)", what, len(names), ", ".join(names[:3]), ", ..." * (len(names) > 3))


CORPUS = Corpus(prepare_iemocap, release="folder of IEMOCAP", check=check_iemocap, unused=UNUSED)
