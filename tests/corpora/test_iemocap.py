"""IEMOCAP, properties: what the manifests and data folders say is what the release says, for every turn."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser import corpora
from ser.corpora.iemocap import prepare_iemocap
from ser.corpora.iemocap.recipe import LABELS, parse_rating, split_tags, to_seconds
from ser.data import tables
from ser.data.corpus import CorpusConfig, load_corpus
from ser.data.corpus_tables import make_data_dir
from ser.data.division import divide, kept_utterances, read_speaker_info
from tests.corpora.iemocap_release import (
    RATERS,
    UNITS_PER_S,
    FakeRelease,
    FakeTurn,
    phone_rows,
    samples_of,
    syllable_rows,
    tiny_release,
    word_rows,
    write_release,
)

CONF = Path(__file__).parents[2] / "egs" / "iemocap" / "conf" / "corpus.yaml"
KINDS = ["impro01", "impro05a", "impro05b", "impro08", "script01_1", "script01_1b", "script03_2"]
TAGS = ["[LAUGHTER]", "[BREATHING]", "[garbage]", "[LIPSMACK]"]
WORDS = ["yeah", "I'd", "No:", "well,", "9", "caf\u00e9", "]:", "uh-huh.", "M:"]


@pytest.fixture
def config() -> CorpusConfig:
    return load_corpus(CONF)


@st.composite
def releases(draw: st.DrawFn) -> FakeRelease:
    """One to five sessions of a few dialogs, whose names are prefixes of each other, in any order of time."""
    dialogs: dict[str, list[FakeTurn]] = {}
    for session in draw(st.lists(st.sampled_from("12345"), min_size=1, max_size=5, unique=True)):
        for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)):
            dialog = f"Ses0{session}{draw(st.sampled_from('FM'))}_{kind}"
            counts = draw(st.tuples(st.integers(0, 4), st.integers(1, 4)))
            names = [f"{dialog}_{who}{i:03d}" for who, n in zip("FM", counts, strict=True) for i in range(n)]
            dialogs[dialog] = [draw(turns(name)) for name in names]
    extra = {name: draw(st.lists(st.sampled_from(extra_lines(name)), max_size=4)) for name in dialogs}
    return FakeRelease(dialogs, extra, draw(st.sampled_from(["\n", "\r\n"])))


def extra_lines(dialog: str) -> list[str]:
    return [
        f"{dialog}_FXX0 [100.0518-100.6198]: Mm.",
        f"{dialog}_MXX1 [003.0000-002.0000]: backwards, and passed over all the same",
        "M: Okay.",
        "F:Umm.",
        "F :Here",
        "M:",
        "",
    ]


@st.composite
def turns(draw: st.DrawFn, name: str) -> FakeTurn:
    start, units = draw(st.integers(0, 9_000_000)), draw(st.integers(3_000, 60_000))
    text = draw(st.lists(st.sampled_from(WORDS + TAGS), min_size=1, max_size=6))
    number = st.sampled_from(["2.5000", "5.5000", "0.5000", "-1.0000", ""])
    return FakeTurn(
        name,
        start,
        start + units,
        samples_of(units, draw(st.integers(-2, 1))),
        draw(st.sampled_from(LABELS)),
        (draw(number), draw(number), draw(number)),
        draw(st.lists(st.sampled_from(RATERS), min_size=1, max_size=9)),
        draw(st.sampled_from([" ", "  "])).join(text) + draw(st.sampled_from(["", " "])),
        draw(st.lists(st.sampled_from(["phseg", "wdseg", "syseg"]), unique=True)),
    )


def seconds(rows: list[tuple[int, int, str]], duration_s: float) -> list[tuple[str, float, float]]:
    """The definition: frame i lasts from i/100 to (i+1)/100 s, and nothing is behind the recording's end."""
    ends = [(symbol, first / 100, min((last + 1) / 100, duration_s)) for first, last, symbol in rows]
    return [(symbol, start, end - start) for symbol, start, end in ends if end > start]


def agrees(segment: Any, recording: Any, turn: FakeTurn) -> None:
    """Compare one turn with what it was written from."""
    assert segment.id == segment.recording_id == recording.id == turn.name
    assert (segment.start, segment.duration) == (0.0, turn.num_samples / 16000)
    assert (recording.num_samples, recording.sampling_rate, recording.num_channels) == (
        turn.num_samples,
        16000,
        1,
    )
    assert segment.speaker == f"Ses{turn.name[3:5]}_{turn.name[-4]}"
    assert segment.gender == turn.name[-4]
    custom = segment.custom
    assert (custom["emotion"], custom["session"], custom["dialog"]) == (turn.label, turn.name[4], turn.dialog)
    assert custom["style"] == {"i": "improvised", "s": "scripted"}[turn.name[7]]
    assert (custom["start_s"], custom["end_s"]) == (turn.start / 10_000, turn.end / 10_000)
    means = [custom[name] for name in ("valence", "activation", "dominance")]
    assert means == [float(text) if text else None for text in turn.means]
    assert [rating["raw"] for rating in custom["raters"]] == list(turn.raters)
    assert custom["raw_text"] == turn.text
    assert custom["tags"] == [tag.upper() for tag in re.findall(r"\[([A-Za-z]+)\]", turn.text)]
    assert segment.text.split() == [word for word in turn.text.split() if word not in TAGS]
    wanted = {
        "phseg": ("phone", phone_rows),
        "wdseg": ("word", word_rows),
        "syseg": ("syllable", syllable_rows),
    }
    rows = {wanted[tier][0]: seconds(wanted[tier][1](turn), segment.duration) for tier in turn.tiers}
    found = {
        tier: [(item.symbol, item.start, pytest.approx(item.duration)) for item in items]
        for tier, items in (segment.alignment or {}).items()
    }
    assert {tier: items for tier, items in rows.items() if items} == found


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases())
def test_manifests_agree_with_the_release_for_every_turn(release: FakeRelease) -> None:
    with TemporaryDirectory() as folder:
        manifests = prepare_iemocap(write_release(Path(folder), release))
    wanted = {turn.name: turn for turn in release.turns()}
    recordings = {recording.id: recording for recording in manifests["recordings"]}
    found = list(manifests["supervisions"])
    assert [segment.id for segment in found] == sorted(wanted)
    for segment in found:
        agrees(segment, recordings[segment.id], wanted[segment.id])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases())
def test_data_folders_agree_with_the_release_for_every_turn(release: FakeRelease) -> None:
    config = load_corpus(CONF)
    release.dialogs["Ses02F_script02_2"] = [  # so that no class is without a turn
        FakeTurn(f"Ses02F_script02_2_F{i:03d}", i, i + 9_000, samples_of(9_000), label)
        for i, label in enumerate(("ang", "exc", "neu", "sad"))
    ]
    with TemporaryDirectory() as folder:
        root = write_release(Path(folder, "release"), release)
        corpora.prepare("iemocap", root, Path(folder, "manifests"))
        make_data_dir(Path(folder, "manifests"), Path(folder, "all"), config)
        data = {
            name: tables.read_table(Path(folder, "all", name))
            for name in "wav.scp utt2raw utt2spk utt2emo utt2session utt2style spk2gender utt2dur".split()
        }
        texts = tables.read_table(Path(folder, "all", "text"))
        orders = tables.read_table(Path(folder, "all", "utt2turn"))
        dialogues = tables.read_table(Path(folder, "all", "utt2dialogue"))
    wanted = {turn.name: turn for turn in release.turns() if turn.label in config.labels}
    assert sorted(data["utt2emo"]) == sorted(map(utterance, wanted))
    for name, turn in wanted.items():
        utt = utterance(name)
        assert data["utt2raw"][utt] == name
        assert data["utt2emo"][utt] == {"exc": "hap"}.get(turn.label, turn.label)
        assert data["utt2spk"][utt] == f"Ses{name[3:5]}_{name[-4]}"
        assert data["spk2gender"][data["utt2spk"][utt]] == name[-4].lower()
        assert data["utt2session"][utt] == name[4]
        assert dialogues[utt] == turn.dialog
        assert float(orders[utt]) == pytest.approx(turn.start / UNITS_PER_S)
        assert data["utt2style"][utt] == ("improvised" if "impro" in name else "scripted")
        assert data["wav.scp"][utt] == f"{root}/Session{name[4]}/sentences/wav/{turn.dialog}/{name}.wav"
        assert float(data["utt2dur"][utt]) == pytest.approx(turn.num_samples / 16000, abs=1e-6)
        assert texts.get(utt, "") == " ".join(word for word in turn.text.split() if word not in TAGS)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_release(tmp_path / "release", tiny_release())


def utterance(turn: str) -> str:
    """What a turn is called in data folders: ``Ses01_F-Ses01F_impro01_F000``."""
    return f"Ses{turn[3:5]}_{turn[-4]}-{turn}"


def splits(data: Path, config: CorpusConfig, name: str) -> dict[str, set[str]]:
    """The utterances of every subset of every fold."""
    protocol = config.protocols[name]
    utt2spk = tables.read_table(data / "utt2spk")
    turns = kept_utterances(data, utt2spk, protocol.keep)
    folds = divide(name, protocol, read_speaker_info(data, utt2spk, protocol, turns), data)
    return {f"{fold.name}/{subset}": set(keys) for fold in folds for subset, keys in fold.subsets.items()}


def test_protocols_split_by_speaker_and_session(tiny: Path, tmp_path: Path, config: CorpusConfig) -> None:
    corpora.prepare("iemocap", tiny, tmp_path / "manifests")
    make_data_dir(tmp_path / "manifests", tmp_path / "all", config)
    of_session: dict[str, set[str]] = {session: set() for session in "12345"}
    for turn in tiny_release().turns():
        if turn.label in config.labels:
            of_session[turn.name[4]].add(utterance(turn.name))
    every = set().union(*of_session.values())

    subsets = splits(tmp_path / "all", config, "paper")
    assert subsets["paper/test"] == of_session["5"]
    assert subsets["paper/train"] == every - of_session["5"]
    assert "paper/dev" not in subsets

    subsets = splits(tmp_path / "all", config, "paper_early")
    assert subsets["paper_early/test"] == of_session["5"]
    assert subsets["paper_early/train"] | subsets["paper_early/dev"] == every - of_session["5"]
    assert len({name[:5] + name[-4] for name in subsets["paper_early/dev"]}) == 2

    subsets = splits(tmp_path / "all", config, "session")
    for session, names in of_session.items():
        assert subsets[f"{session}/test"] == names
        assert subsets[f"{session}/train"] == every - names

    subsets = splits(tmp_path / "all", config, "speaker")
    for session, names in of_session.items():
        for letter in "FM":
            own = {name for name in names if name[-4] == letter}
            assert subsets[f"Ses0{session}_{letter}/test"] == own
            assert subsets[f"Ses0{session}_{letter}/train"] == every - own

    subsets = splits(tmp_path / "all", config, "improvised")
    for session, names in of_session.items():
        assert subsets[f"{session}/test"] == {name for name in names if "_impro" in name}
        assert subsets[f"{session}/train"] == {name for name in every - names if "_impro" in name}


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ([], {"ang": 10, "hap": 20, "neu": 20, "sad": 10}),
        (["keep.emotion=[ang,hap,neu,sad]"], {"ang": 10, "hap": 10, "neu": 20, "sad": 10}),
        (
            ["classes=[ang,exc,hap,neu,sad]", "labels.exc=exc"],
            {"ang": 10, "exc": 10, "hap": 10, "neu": 20, "sad": 10},
        ),
    ],
)
def test_the_three_readings_of_happy(
    tiny: Path, tmp_path: Path, overrides: list[str], wanted: dict[str, int]
) -> None:
    corpora.prepare("iemocap", tiny, tmp_path / "manifests")
    make_data_dir(tmp_path / "manifests", tmp_path / "all", load_corpus(CONF, overrides))
    assert Counter(tables.read_table(tmp_path / "all" / "utt2emo").values()) == wanted


def test_any_number_of_jobs_gives_the_same_manifests(tiny: Path) -> None:
    alone, together = prepare_iemocap(tiny), prepare_iemocap(tiny, num_jobs=2)
    for name, manifest in alone.items():
        assert list(manifest.to_dicts()) == list(together[name].to_dicts())


def test_lhotse_accepts_reads_and_writes_the_manifests(tiny: Path, tmp_path: Path) -> None:
    import lhotse
    from lhotse.qa import validate_recordings_and_supervisions

    manifests = prepare_iemocap(tiny, output_dir=tmp_path / "out")
    validate_recordings_and_supervisions(manifests["recordings"], manifests["supervisions"], read_data=True)
    for name, manifest in manifests.items():
        again = lhotse.load_manifest(tmp_path / "out" / f"iemocap_{name}_all.jsonl.gz")
        assert list(again) == list(manifest)


def test_one_folder_too_high_and_nested_releases_are_taken(
    tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    outer = tiny.parent / "IEMOCAP_full_release"
    outer.mkdir()
    tiny.rename(outer / "IEMOCAP_full_release")
    inner = outer / "IEMOCAP_full_release"
    for named in (outer, outer.parent):
        caplog.clear()
        assert len(prepare_iemocap(named)["supervisions"]) == 80
        assert caplog.messages == [f"{named}: holds no sessions itself, taking {inner}"]


def test_a_missing_session_is_said_and_the_others_prepared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    release = tiny_release()
    release.dialogs = {name: turns for name, turns in release.dialogs.items() if name[4] not in "24"}
    write_release(tmp_path, release)
    assert len(prepare_iemocap(tmp_path)["supervisions"]) == 48
    assert caplog.messages == [f"{tmp_path}: has no Session2, Session4; the other sessions are prepared"]


def test_what_the_release_lacks_is_said_in_a_line_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    release = tiny_release()
    turns = release.dialogs["Ses01F_impro01"]
    turns[0].tiers = ()
    turns[1].raters = [*RATERS, "something odd"]
    turns[2].num_samples -= 1600
    turns[3].text = "[BREATHING]"
    release.extra_lines["Ses01F_impro01"] = extra_lines("Ses01F_impro01")
    manifests = prepare_iemocap(write_release(tmp_path, release))
    assert len(manifests["supervisions"]) == 80
    rating = f"{tmp_path}/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt:47"
    assert caplog.messages == [
        "passed over 2 transcription lines without a turn and 4 without an id",
        "turns without alignment: 1 (Ses01F_impro01_F000)",
        "turns whose recording is longer or shorter than their times say: 1 (Ses01F_impro01_F001)",
        f"ratings that were kept but not understood: 1 ({rating})",
    ]
    found = {segment.id: segment for segment in manifests["supervisions"]}
    assert found["Ses01F_impro01_F000"].alignment is None
    assert found["Ses01F_impro01_M000"].custom["raters"][-1] == {"raw": "something odd"}
    assert (found["Ses01F_impro01_M001"].text, found["Ses01F_impro01_M001"].custom["tags"]) == (
        "",
        ["BREATHING"],
    )
    assert "syllable" not in (found["Ses01F_impro01_M001"].alignment or {})


def test_a_copy_without_any_alignment_is_prepared(tiny: Path) -> None:
    for session in "12345":
        (tiny / f"Session{session}" / "sentences" / "ForcedAlignment").rename(tiny / f"away{session}")
    assert all(segment.alignment is None for segment in prepare_iemocap(tiny)["supervisions"])


def test_latin_1_comments_are_read(tiny: Path) -> None:
    comments = {
        r["comment"] for segment in prepare_iemocap(tiny)["supervisions"] for r in segment.custom["raters"]
    }
    assert comments == {"", "what, a \u00e9", "missing"}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("C-E2:\tNeutral;\t", {"rater": "E2", "labels": ["Neutral"], "comment": ""}),
        ("C-M1:\tAnger; ; Other;\t()", {"rater": "M1", "labels": ["Anger", "Other"], "comment": ""}),
        (
            "A-E4:\tval 2; act 3; dom  3;\t(mildly; val 5; aggravated)",
            {
                "rater": "E4", "valence": 2.0, "activation": 3.0, "dominance": 3.0,
                "comment": "mildly; val 5; aggravated",
            },
        ),
        (
            "A-F1:\tval 3; act 2; dom  ;\t",
            {"rater": "F1", "valence": 3.0, "activation": 2.0, "dominance": None, "comment": ""},
        ),
    ],
)  # fmt: skip
def test_ratings(line: str, wanted: dict[str, Any]) -> None:
    assert parse_rating(line) == {**wanted, "raw": line}


def test_tags_stand_apart_from_words() -> None:
    assert split_tags("Oh [laughter]no.[BREATHING] I: [x] see  ") == (
        "Oh no. I: see",
        ("LAUGHTER", "BREATHING", "X"),
    )


def test_frames_become_seconds_within_the_recording() -> None:
    rows = [("SIL", 0, 9, -5.0), ("AY", 10, 14, None), ("D", 15, 15, None)]
    assert to_seconds(rows, 0.145, 0) == [("SIL", 0.0, 0.1, -5.0), ("AY", 0.1, 0.045, None)]
    assert to_seconds(rows, 1.0, 2) == [
        ("SIL", 0.02, 0.1, -5.0),
        ("AY", 0.12, 0.05, None),
        ("D", 0.17, 0.01, None),
    ]
    assert to_seconds(rows, 1.0, -11) == [("AY", 0.0, 0.04, None), ("D", 0.04, 0.01, None)]
