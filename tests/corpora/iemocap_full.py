"""A synthetic release of the real one's size: its dialogs, turns, labels, speakers and lengths."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from ser.corpora.iemocap import expected
from ser.corpora.iemocap.recipe import FOUR_CLASSES
from tests.corpora.iemocap_release import RATE_HZ, RATERS, UNITS_PER_S, FakeRelease, FakeTurn

TABLE = Path(__file__).parent.parent / "golden" / "iemocap_dialogs.tsv"
GROUPS = (*expected.CLASS_ORDER, "rest")
# turns of the four classes by number of frames: first, behind last, turns in all and in test
SHORT_BINS = [
    (low, high, expected.SHORTER_THAN[high][0] - expected.SHORTER_THAN[low][0],
     expected.SHORTER_THAN[high][1] - expected.SHORTER_THAN[low][1])
    for low, high in zip(list(expected.SHORTER_THAN)[:-1], list(expected.SHORTER_THAN)[1:], strict=True)
]  # fmt: skip
LONG = 120  # all others have at least so many frames
WORDS = (
    "well",
    "you",
    "know",
    "that",
    "something",
    "really",
    "matters",
    "to",
    "me",
    "and",
    "I",
    "am",
    "sorry",
)


def full_release(seed: int = 0) -> FakeRelease:
    """All 151 dialogs and 10,039 turns; nothing but ids, counts and lengths is like the real ones."""
    draw = random.Random(seed)
    with open(TABLE, encoding="ascii", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    labels = {
        name: label
        for session in expected.DIALOGS
        for name, label in _labels([row for row in rows if row["dialog"][4] == session], draw)
    }
    units, samples = _lengths(labels, draw)
    dialogs: dict[str, list[FakeTurn]] = {row["dialog"]: [] for row in rows}
    now = dict.fromkeys(dialogs, 50_000)
    for name in sorted(labels, key=lambda name: (name[-3:], name)):  # F000 M000 F001 M001 ...
        dialog = name.rpartition("_")[0]
        start, length = now[dialog], units[name]
        text = " ".join(draw.choice(WORDS) for _ in range(max(1, length * 27 // 100_000)))
        turn = FakeTurn(name, start, start + length, samples[name], labels[name], text=text)
        dialogs[dialog].append(turn)
        now[dialog] = start + length - draw.randrange(0, min(length, 5_000))  # they talk at once
    release = FakeRelease(dialogs)
    _plant_oddities(release, draw)
    return release


def _labels(rows: Sequence[dict[str, str]], draw: random.Random) -> Iterable[tuple[str, str]]:
    """Turn and label, with the real numbers by dialog, and by speaker as far as the four classes go."""
    for row, flow in zip(rows, _shares_of_f(rows), strict=True):
        of_group = {group: [] for group in GROUPS}  # type: dict[str, list[str]]
        for label in expected.LABEL_ORDER:
            of_group[FOUR_CLASSES.get(label, "rest")] += [label] * int(row[label])
        female, male = [], []
        for group, count in zip(GROUPS, flow, strict=True):
            draw.shuffle(of_group[group])
            female += of_group[group][:count]
            male += of_group[group][count:]
        for letter, names in (("F", female), ("M", male)):
            draw.shuffle(names)
            turns = [f"{row['dialog']}_{letter}{number:03d}" for number in range(len(names))]
            _force(turns, names, {"Ses03F_impro07_M030": "xxx", "Ses03M_impro03_M001": "exc"})
            yield from zip(turns, names, strict=True)


def _force(turns: Sequence[str], labels: list[str], wanted: dict[str, str]) -> None:
    """Swap labels so that some turns have theirs."""
    for turn, label in wanted.items():
        if turn in turns:
            here, there = turns.index(turn), labels.index(label)
            labels[here], labels[there] = labels[there], labels[here]


def _shares_of_f(rows: Sequence[dict[str, str]]) -> list[list[int]]:
    """How many turns of each group the female speaker of each dialog has: a flow through the known sums."""
    session = rows[0]["dialog"][4]
    female = expected.CLASSES_OF_SPEAKER[f"Ses0{session}_F"]
    turns = [int(row["F"]) for row in rows]
    of_group = [*female, sum(turns) - sum(female)]
    sink = 1 + len(rows) + len(GROUPS)
    room = np.zeros((sink + 1, sink + 1), np.int32)
    for i, row in enumerate(rows, 1):
        room[0, i] = turns[i - 1]
        counts = Counter[str]()
        for label in expected.LABEL_ORDER:
            counts[FOUR_CLASSES.get(label, "rest")] += int(row[label])
        for j, group in enumerate(GROUPS):
            room[i, 1 + len(rows) + j] = counts[group]
    room[1 + len(rows) : sink, sink] = of_group
    result = maximum_flow(csr_array(room), 0, sink)
    assert result.flow_value == sum(turns)
    flow = result.flow.toarray()
    return [[int(flow[i, 1 + len(rows) + j]) for j in range(len(GROUPS))] for i in range(1, len(rows) + 1)]


def _lengths(labels: dict[str, str], draw: random.Random) -> tuple[dict[str, int], dict[str, int]]:
    """Times (0.1 ms) and samples of every turn, with the sums and the short turns of the real ones."""
    samples = _short(labels, draw)
    targets = _speaker_targets()
    for speaker, target in targets.items():
        of_speaker = [t for t, label in labels.items() if label in FOUR_CLASSES and _speaker(t) == speaker]
        rest = [turn for turn in of_speaker if turn not in samples]
        least = 400 + 160 * (LONG - 1)
        spare = target - sum(samples[turn] for turn in of_speaker if turn in samples)
        samples.update(zip(rest, _divide(spare, len(rest), least, draw), strict=True))
    units = {turn: -(-number * 5 // 8) for turn, number in samples.items()}  # 0 or 1 sample more
    units = {
        turn: number + (draw.random() < 0.3 and samples[turn] % 8 == 0) for turn, number in units.items()
    }
    for session, seconds in expected.INTERVAL_S.items():
        others = [t for t, label in labels.items() if label not in FOUR_CLASSES and t[4] == session]
        spare = round(seconds * UNITS_PER_S) - sum(n for turn, n in units.items() if turn[4] == session)
        units.update(zip(others, _divide(spare, len(others), 8_000, draw), strict=True))
        for turn in others:
            samples[turn] = units[turn] * 8 // 5 + draw.choice((-2, -1, 0, 1))
    return units, samples


def _speaker(turn: str) -> str:
    return f"{turn[:5]}_{turn[-4]}"


def _short(labels: dict[str, str], draw: random.Random) -> dict[str, int]:
    """Samples of the turns below 120 frames."""
    samples = {}
    for test in (False, True):
        chosen = [t for t, label in labels.items() if label in FOUR_CLASSES and (t[4] == "5") == test]
        draw.shuffle(chosen)
        for low, high, of_all, of_test in SHORT_BINS:
            for _ in range(of_test if test else of_all - of_test):
                samples[chosen.pop()] = draw.randrange(400 + 160 * (low - 1), 400 + 160 * (high - 1))
    return samples


def _speaker_targets() -> dict[str, int]:
    """Samples by speaker: the known seconds, corrected within their rounding to the known total."""
    targets = {speaker: round(seconds * RATE_HZ) for speaker, seconds in expected.SECONDS_OF_SPEAKER.items()}
    gap = expected.SAMPLES - sum(targets.values())
    for place, speaker in enumerate(targets):
        targets[speaker] += gap // 10 + (place < gap % 10)
    return targets


def _divide(total: int, count: int, least: int, draw: random.Random) -> list[int]:
    """``total`` in ``count`` uneven parts of at least ``least``."""
    weights = [draw.gammavariate(1.2, 1.0) for _ in range(count)]
    spare = total - count * least
    parts = [least + int(spare * weight / sum(weights)) for weight in weights]
    for place in range(total - sum(parts)):
        parts[place % count] += 1
    return parts


def _plant_oddities(release: FakeRelease, draw: random.Random) -> None:
    """What the real release is known to lack, or to have beside its turns."""
    turns = {turn.name: turn for turn in release.turns()}
    for name in expected.UNALIGNED:
        turns[name].tiers = ()
    turns["Ses01F_script01_3_F010"].text = "[BREATHING]"  # its syseg has no rows
    for turn in draw.sample(release.turns(), 53):
        turn.text = draw.choice(("[BREATHING]", "[LAUGHTER] ", "[laughter]", "[GARBAGE]"))
    for turn in draw.sample(release.turns(), 250):
        turn.text = f"{turn.text}  [LAUGHTER] "
    for turn in draw.sample(release.turns(), 400):
        turn.raters = [*RATERS, "C-E5:\tOther;\t(none of these)", "C-E6:\tFrustration; Anger;\t"]
    turns["Ses03M_impro07_M003"].means = ("5.5000", "2.5000", "2.5000")
    turns["Ses01M_script03_1_F026"].means = ("2.5000", "2.5000", "0.5000")
    forms = ("M: Okay.", "F: Umm.", "F:Umm.", "F :Here", "M:")
    for i in range(152):
        dialog = draw.choice(list(release.dialogs))
        release.extra_lines.setdefault(dialog, []).append(forms[i % len(forms)])
    for i in range(48):
        dialog = draw.choice(list(release.dialogs))
        line = f"{dialog}_{'FM'[i % 2]}XX{i % 3} [100.0518-100.6198]: Mm."
        release.extra_lines.setdefault(dialog, []).append(line)
