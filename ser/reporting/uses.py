"""What a system reads besides the recording of an utterance, which is said with its numbers."""

from __future__ import annotations

from ser.scoring.runs import Runs

_USES = {"transcripts": "uses transcripts", "later_turns": "uses later turns"}  # notes -> marks
USES = (
    "Only systems without a mark under 'uses' read the recording of an utterance alone. 'uses transcripts': "
    "what people wrote down of the tested utterances. 'uses later turns': the dialogue of an utterance as a "
    "whole, also what is said after it, and the speaker's other turns."
)


def uses(runs: Runs) -> str | None:
    """What a system reads besides the recording of an utterance; None if nothing."""
    return ", ".join(mark for note, mark in _USES.items() if note in runs.notes) or None
