"""Whether the manifests hold what the full release is known to hold.

The split is the one of the literature: ``train`` is Session 1 to 4, ``test`` is Session 5.  Classes are
``ang hap neu sad`` with ``exc`` counted as ``hap``, whatever conf/corpus.yaml makes of it later.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ser.corpora.iemocap import expected
from ser.corpora.iemocap.recipe import FOUR_CLASSES, SAMPLING_RATE
from ser.data.manifests import Utterance, check_line

_WINDOW, _SHIFT = 400, 160  # samples of a frame and from one to the next, 25 ms and 10 ms


@dataclass(frozen=True)
class Check:
    """One fact of the full release, and what was found."""

    name: str
    expected: str
    got: str

    @property
    def ok(self) -> bool:
        """Whether both are the same."""
        return self.expected == self.got

    def __str__(self) -> str:
        """One line, as it is printed."""
        return check_line(self.name, self.got, self.expected)[1]


@dataclass(frozen=True)
class _Turn:
    """What the checks look at."""

    id: str
    label: str
    four_class: str | None
    speaker: str
    session: str
    style: str
    interval_s: float
    num_samples: int
    aligned: bool

    @property
    def split(self) -> str:
        return "test" if self.session == "5" else "train"


def check_iemocap(
    utterances: Sequence[Utterance], checks: Mapping[str, Mapping[str, int]] | None
) -> list[Check]:
    """Compare the manifests of a release with what the full one holds.

    Args:
        utterances: the manifests, as of :func:`ser.data.manifests.read_manifests`.
        checks: ``checks`` of conf/corpus.yaml.

    Returns:
        All checks, or none if ``checks`` does not expect the full release's ``total.utterances``.
    """
    whole = sum(map(sum, expected.LABELS.values()))
    if checks is None or checks.get("total", {}).get("utterances") != whole:
        return []
    turns = [_turn(item) for item in utterances]
    iem4 = [turn for turn in turns if turn.four_class]
    phones = {symbol for item in utterances for symbol, _, _ in item.alignment.get("phone", ())}
    return [
        *_check_turns(turns),
        *_check_classes(iem4),
        *_check_lengths(turns, iem4),
        *_check_alignments(turns, phones),
        *_check_digests(turns, iem4),
    ]


def _turn(item: Utterance) -> _Turn:
    custom = item.attributes
    return _Turn(
        id=item.id,
        label=custom["emotion"],
        four_class=FOUR_CLASSES.get(custom["emotion"]),
        speaker=item.speaker,
        session=custom["session"],
        style=custom["style"],
        interval_s=float(custom["end_s"]) - float(custom["start_s"]),
        num_samples=round(item.duration_s * item.sampling_rate_hz),
        aligned=bool(item.alignment),
    )


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of the lines in byte order, each ended by a newline, as of ``LC_ALL=C sort | sha256sum``.

    >>> digest(["b 2", "a 1"])[:16]
    '2951835de33689a4'
    """
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode("ascii")).hexdigest()


def count_frames(num_samples: int) -> int:
    """Frames of 25 ms every 10 ms that lie wholly inside."""
    return max(0, 1 + (num_samples - _WINDOW) // _SHIFT)


def _table(order: Sequence[str], counts: Sequence[int] | Mapping[str, int]) -> str:
    """``ang 3 hap 1``, in that order."""
    values = [counts.get(name, 0) for name in order] if isinstance(counts, Mapping) else counts
    return " ".join(f"{name} {count}" for name, count in zip(order, values, strict=True))


def _sums(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _check_turns(turns: Sequence[_Turn]) -> list[Check]:
    """Dialogs and turns by session, label, speaker and style."""
    sessions = tuple(expected.DIALOGS)
    dialogs = Counter(name[4] for name in {turn.id.rpartition("_")[0] for turn in turns})
    labels = {
        session: Counter(turn.label for turn in turns if turn.session == session) for session in sessions
    }
    order = expected.LABEL_ORDER
    total = _sums(expected.LABELS.values())
    return [
        Check("dialogs by session", _table(sessions, expected.DIALOGS), _table(sessions, dialogs)),
        Check("turns", str(sum(total)), str(len(turns))),
        Check("turns by label", _table(order, total), _table(order, Counter(turn.label for turn in turns))),
        *(
            Check(
                f"turns of Session {session} by label", _table(order, counts), _table(order, labels[session])
            )
            for session, counts in expected.LABELS.items()
        ),
        _counted("turns by speaker", expected.SPEAKERS, (turn.speaker for turn in turns)),
        _counted("turns by style", expected.STYLES, (turn.style for turn in turns)),
    ]


def _counted(name: str, counts: Mapping[str, int], values: Iterable[str]) -> Check:
    return Check(name, _table(tuple(counts), counts), _table(tuple(counts), Counter(values)))


def _check_classes(iem4: Sequence[_Turn]) -> list[Check]:
    """The four classes by split, session, speaker and style."""
    speakers = expected.CLASSES_OF_SPEAKER
    parts: dict[str, Sequence[int]] = {"all": _sums(speakers.values())}
    parts["train"] = _sums(row for name, row in speakers.items() if name[4] != "5")
    parts["test"] = _sums(row for name, row in speakers.items() if name[4] == "5")
    for session in expected.DIALOGS:
        parts[f"Session {session}"] = _sums(row for name, row in speakers.items() if name[4] == session)
    parts.update(speakers)
    parts.update(expected.STYLE_CLASSES)
    found: dict[str, Counter[str]] = {name: Counter() for name in parts}
    for turn in iem4:
        for name in ("all", turn.split, f"Session {turn.session}", turn.speaker, turn.style):
            found[name][str(turn.four_class)] += 1
    hap, exc = (
        sum(row[expected.LABEL_ORDER.index(name)] for row in expected.LABELS.values())
        for name in ("hap", "exc")
    )
    got = Counter(turn.label for turn in iem4)
    sums = {name: (sum(row), sum(found[name].values())) for name, row in parts.items()}
    order = expected.CLASS_ORDER
    return [
        Check(
            "happy is hap + exc (not 1545 as in the paper, whose totals give 5531 - 1103 - 1084 - 1708)",
            f"{hap} + {exc} = {hap + exc}",
            f"{got['hap']} + {got['exc']} = {got['hap'] + got['exc']}",
        ),
        *(
            Check(
                f"four classes, {name}",
                f"{_table(order, row)}, {sums[name][0]} in all",
                f"{_table(order, found[name])}, {sums[name][1]} in all",
            )
            for name, row in parts.items()
        ),
    ]


def _check_lengths(turns: Sequence[_Turn], iem4: Sequence[_Turn]) -> list[Check]:
    """Total durations, and how many turns are shorter than a context."""
    checks = [
        Check(
            "seconds between the times of all turns",
            *_seconds(expected.ALL_INTERVAL_S, (t.interval_s for t in turns)),
        )
    ]
    for session, seconds in expected.INTERVAL_S.items():
        spans = (turn.interval_s for turn in turns if turn.session == session)
        checks.append(Check(f"seconds between the times of Session {session}", *_seconds(seconds, spans)))
    for name, seconds in {**expected.SECONDS, **expected.SECONDS_OF_SPEAKER}.items():
        lengths = (t.num_samples / SAMPLING_RATE for t in iem4 if name in ("all", t.split, t.speaker))
        checks.append(Check(f"seconds of recordings, four classes, {name}", *_seconds(seconds, lengths)))
    total = sum(turn.num_samples for turn in iem4)
    checks.append(Check("samples of recordings, four classes", str(expected.SAMPLES), str(total)))
    for context, (of_all, of_test) in expected.SHORTER_THAN.items():
        short = [turn.split for turn in iem4 if count_frames(turn.num_samples) < context]
        got = f"{len(short)}, {short.count('test')} of them in test"
        checks.append(
            Check(
                f"turns of fewer than {context} frames, four classes",
                f"{of_all}, {of_test} of them in test",
                got,
            )
        )
    return checks


def _seconds(wanted: float, lengths: Iterable[float]) -> tuple[str, str]:
    return f"{wanted:.1f}", f"{sum(lengths):.1f}"


def _check_alignments(turns: Sequence[_Turn], phones: set[str]) -> list[Check]:
    without = sorted(turn.id for turn in turns if not turn.aligned)
    shown = " ".join(without[:3]) + " ..." * (len(without) > 3)
    return [
        Check("turns without alignment", " ".join(expected.UNALIGNED), shown or "none"),
        Check("different phones", str(expected.PHONES), str(len(phones))),
    ]


def _check_digests(turns: Sequence[_Turn], iem4: Sequence[_Turn]) -> list[Check]:
    got = {
        "turns": digest(turn.id for turn in turns),
        "labels": digest(f"{turn.id} {turn.label}" for turn in turns),
    }
    for part in ("all", "train", "test"):
        chosen = [turn for turn in iem4 if part in ("all", turn.split)]
        got[f"classes of {part}"] = digest(f"{turn.id} {turn.four_class}" for turn in chosen)
        got[f"samples of {part}"] = digest(f"{turn.id} {turn.num_samples}" for turn in chosen)
    return [Check(f"SHA-256 of the {name}", wanted, got[name]) for name, wanted in expected.DIGESTS.items()]
