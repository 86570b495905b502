"""IEMOCAP: ten actors in 151 dialogs of two, improvised and scripted; 10,039 labelled turns in English.

Carlos Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", Language Resources
and Evaluation 42(4), 2008.  The corpus is licensed by the University of Southern California and must be
asked for.  :mod:`~ser.corpora.iemocap.recipe` reads its files and makes the manifests: one file in the shape
of lhotse's own recipes, which needs nothing of this package.  What only this package wants is beside it: a
release that is found wherever it was unpacked, faults in full detail, and checks of counts and digests.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ser.cli import log, progress
from ser.corpora.base import Corpus
from ser.corpora.iemocap.checks import Check, check_iemocap
from ser.corpora.iemocap.dialog import read_dialog
from ser.corpora.iemocap.recipe import SAMPLING_RATE, Dialog, DialogTurns, make_manifests, make_pair
from ser.corpora.iemocap.release import find_dialogs, find_release
from ser.errors import UsageError, all_of

if TYPE_CHECKING:
    from lhotse import Recording, RecordingSet, SupervisionSegment, SupervisionSet

__all__ = ["CORPUS", "UNUSED", "Check", "check_iemocap", "prepare_iemocap"]

UNUSED = frozenset({"avi", "MOCAP_hand", "MOCAP_head", "MOCAP_rotated"})  # folders that nothing is read from
_SAME_LENGTH_S = 0.01  # recordings are at most 2 samples shorter and 1 longer than their times say


def prepare_iemocap(
    corpus_dir: Path | str, *, num_jobs: int = 1, frame_offset: int = 0, output_dir: Path | str | None = None
) -> dict[str, RecordingSet | SupervisionSet]:
    """The manifests of all turns of a release: 10,039, if it is whole.

    What they hold: :func:`ser.corpora.iemocap.recipe.prepare_iemocap`.

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
    if num_jobs < 1:
        raise UsageError(f"the number of jobs must be 1 or more, got {num_jobs}")
    faults: list[str] = []
    dialogs = find_dialogs(find_release(Path(corpus_dir)), faults)
    pairs: list[tuple[Recording, SupervisionSegment]] = []
    odd = _Oddities()
    for result in progress(_read_dialogs(dialogs, num_jobs, frame_offset), "dialogs", len(dialogs)):
        faults += map(str, result.faults)
        odd.add(result)
        pairs += [] if faults else map(make_pair, result.turns)
    if faults:
        raise all_of(faults, shown=len(faults))
    odd.tell()
    return make_manifests(pairs, output_dir)


def _read_dialogs(dialogs: Sequence[Dialog], num_jobs: int, frame_offset: int) -> Iterator[DialogTurns]:
    read = functools.partial(read_dialog, frame_offset=frame_offset)
    if num_jobs == 1:
        yield from map(read, dialogs)
        return
    # spawned, since lhotse has brought threads into this process that a fork would not survive
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_jobs, mp_context=context) as pool:
        yield from pool.map(read, dialogs, chunksize=4)


class _Oddities:
    """What is odd about a release, and no fault."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {
            "turns without alignment": [],
            "turns whose recording is longer or shorter than their times say": [],
            "ratings that were kept but not understood": [],
        }
        self.unlabelled = self.without_id = 0

    def add(self, result: DialogTurns) -> None:
        """Take those of a dialog."""
        unaligned, other_length, unclear = self.names.values()
        unaligned += [turn["id"] for turn in result.turns if not turn["aligned"]]
        for turn in result.turns:
            longer_s = turn["num_samples"] / SAMPLING_RATE - (turn["end_s"] - turn["start_s"])
            other_length += [turn["id"]] if abs(longer_s) > _SAME_LENGTH_S else []
        unclear += result.unclear
        self.unlabelled += result.passed_over[0]
        self.without_id += result.passed_over[1]

    def tell(self) -> None:
        """One line for each kind."""
        if self.unlabelled or self.without_id:
            what = "passed over %d transcription lines without a turn and %d without an id"
            log.info(what, self.unlabelled, self.without_id)
        for what, names in self.names.items():
            if names:
                log.warning(
                    "%s: %d (%s%s)", what, len(names), ", ".join(names[:3]), ", ..." * (len(names) > 3)
                )


CORPUS = Corpus(prepare_iemocap, release="folder of IEMOCAP", check=check_iemocap, unused=UNUSED)
