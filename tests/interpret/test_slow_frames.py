"""Frames of 20 ms, of a set that is not the main one: from times to frames, attention and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.align.frames import make_alignment, read_alignment
from ser.data import tables
from ser.data.alignment import AlignmentConfig, SourceConfig, Span, write_ctm
from ser.data.corpus import AudioConfig
from ser.data.tsv import read_tsv
from ser.errors import DataError, UsageError
from ser.feats.sets import load_set
from ser.interpret.maps import Attended, map_attention
from ser.interpret.statistics import write_statistics
from ser.scoring.posteriors import Posteriors, write_posteriors
from tests.interpret.conftest import EMOTIONS, FBANK, PHONES, write_set
from tests.lost import check_made_again

READING = AlignmentConfig(SourceConfig("frames", 10.0, 0, 3, 3), SourceConfig("audio", 10.0, 0, 3, 3))
TIMES = [("sil", 0.0, 0.2), ("t", 0.2, 0.2), ("a", 0.4, 0.3), ("s", 0.7, 0.3)]
NUM_FRAMES, FIRST, AFTER = 49, 19, 34  # of a second in windows of 40 ms; the first of the vowel, the next one
UTTS = ("u1", "u2")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two recordings of a second, with frames of 10 ms (main) and 20 ms, whose values are the frame."""
    folder = tmp_path / "all"
    (tmp_path / "slow.yaml").write_text("base: fbank.yaml\nframe_length_ms: 40.0\nframe_shift_ms: 20.0\n")
    slow = load_set(tmp_path / "slow.yaml", AudioConfig(16000, None, "refuse"))
    write_set(folder, FBANK, dict.fromkeys(UTTS, 98), main=True)
    write_set(folder, slow, dict.fromkeys(UTTS, NUM_FRAMES), main=False)
    with tables.ArkWriter(folder / "slow" / "feats") as writer:
        for utt in UTTS:
            writer.write(utt, np.tile(np.arange(NUM_FRAMES, dtype=np.float32)[:, None], (1, 23)))
    for utt in UTTS:
        soundfile.write(tmp_path / f"{utt}.wav", np.zeros(16000), 16000)
    tables.write_table(folder / "wav.scp", {utt: tmp_path / f"{utt}.wav" for utt in UTTS})
    tables.write_table(folder / "utt2spk", {"u1": "a", "u2": "b"})
    tables.write_table(folder / "utt2emo", dict(zip(UTTS, EMOTIONS, strict=True)))
    write_ctm(folder / "phone.ctm", dict.fromkeys(UTTS, TIMES))
    write_ctm(tmp_path / "mine.ctm", dict.fromkeys(UTTS, TIMES))
    return folder


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    """Attention over 49 frames: a vowel's frame has twice the weight of another."""
    folder = tmp_path / "seed1"
    weights = np.ones(NUM_FRAMES)
    weights[FIRST:AFTER] = 2
    with tables.ArkWriter(folder / "attn") as writer:
        for utt in UTTS:
            writer.write(utt, (weights / weights.sum()).astype(np.float32))
    posteriors = {utt: np.array([0.75, 0.25]) for utt in UTTS}
    write_posteriors(folder, Posteriors("seed1", EMOTIONS, posteriors), {}, {})
    return folder


def align(source: Path, data: Path, features: str | None) -> Path:
    out = data.parent / f"aligned_{features}"
    make_alignment(source, data, out, config=READING, phones=PHONES, tiers={}, features=features)
    return out


def test_times_of_the_recording(data: Path, tmp_path: Path) -> None:
    """The middle of frame i lies at 20 + 20 i ms."""
    alignment = read_alignment(align(tmp_path / "mine.ctm", data, "slow"), data)
    assert alignment.feature_set.name == "slow"
    assert alignment.num_frames == dict.fromkeys(UTTS, NUM_FRAMES)
    expected = [Span("sil", 0, 9), Span("t", 9, 10), Span("a", FIRST, 15), Span("s", AFTER, 15)]
    assert alignment.phones == dict.fromkeys(UTTS, expected)
    main = read_alignment(align(tmp_path / "mine.ctm", data, None), data)
    assert main.feature_set.name == "fbank"
    assert main.phones["u1"][:2] == [Span("sil", 0, 19), Span("t", 19, 20)]  # at 12.5 + 10 i ms


def test_times_of_an_aligner_of_10_ms(data: Path) -> None:
    """Frame i is the aligner's frame 2 i."""
    alignment = read_alignment(align(data, data, "slow"), data)
    assert alignment.phones["u1"] == [
        Span("sil", 0, 10),
        Span("t", 10, 10),
        Span("a", 20, 15),
        Span("s", 35, 14),
    ]


def test_attention_and_figures(data: Path, decoded: Path, tmp_path: Path) -> None:
    out = tmp_path / "map" / "seed1"
    map_attention(align(tmp_path / "mine.ctm", data, "slow"), data, [decoded], out, PHONES)
    rows = {row.symbol: row for row in read_tsv(out / "phone_attn.tsv", Attended) if row.utt == "u1"}
    share = 1 / (NUM_FRAMES + 15)  # of a frame that is no vowel's
    assert {symbol: (row.first, row.frames) for symbol, row in rows.items()} == {
        "sil": (0, 9), "t": (9, 10), "a": (FIRST, 15), "s": (AFTER, 15)
    }  # fmt: skip
    assert rows["a"].mass == pytest.approx(30 * share, abs=1e-6)
    assert rows["a"].relative == pytest.approx(2 * share * NUM_FRAMES, rel=1e-5)
    assert rows["a"].peak == pytest.approx(2 * share * NUM_FRAMES, rel=1e-5)
    assert rows["a"].position == pytest.approx((FIRST + 7.5) / NUM_FRAMES, abs=1e-6)
    assert rows["t"].mass == pytest.approx(10 * share, abs=1e-6)

    pytest.importorskip("matplotlib", reason="utils/install.sh --extra interpret is not done")
    from ser.interpret import figures

    drawn = figures.FigureInputs(data, [out], "mel")
    panel = drawn.panel("u1", "title")
    assert (panel.shift_s, panel.middle_s, panel.features_name) == (0.02, 0.02, "slow")
    assert (panel.start_s, panel.end_s) == (0.0, pytest.approx(0.99))
    vowel = panel.phones[2]
    assert (vowel.symbol, vowel.start_s, vowel.end_s) == ("a", pytest.approx(0.39), pytest.approx(0.69))
    assert panel.features is not None
    assert panel.features[:, 0].tolist() == list(range(NUM_FRAMES))
    figure = figures.plots.draw_utterance(panel)
    above, attention = figure.axes[:2]
    assert above.get_ylabel() == "slow"
    assert above.images[0].get_extent() == pytest.approx([0.01, 0.99, 0, 23])
    times, values = attention.lines[0].get_data()
    assert times == pytest.approx(0.02 + 0.02 * np.arange(NUM_FRAMES))
    assert values[FIRST] == pytest.approx(2 * values[0])

    statistics = tmp_path / "map"
    write_statistics([out], statistics, num_draws=9, seed=0, min_segments=1)
    tables.write_table(data / "utt2raw", {"u1": "turn_1"})
    for name, settings, also in (
        ("figures", figures.FigureConfig((), None, "mel", ("png",)), ["u1"]),
        ("raw", figures.FigureConfig((), None, "mel", ("png",)), ["turn_1"]),
        ("set", figures.FigureConfig(("turn_1", "turn_2"), None, "mel", ("png",)), []),
    ):
        figures.draw_all(data, statistics, tmp_path / name, [out], settings, also)
        assert (tmp_path / name / "utterance_u1.png").stat().st_size > 10_000


@pytest.mark.slow
def test_lost_alignments_and_figures_are_made_again(
    data: Path, decoded: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aligned, out = align(tmp_path / "mine.ctm", data, "slow"), tmp_path / "map" / "seed1"
    names = {"phone.frames", "not_aligned", "feats.yaml"}
    check_made_again(aligned, names, lambda: align(tmp_path / "mine.ctm", data, "slow"), caplog)

    pytest.importorskip("matplotlib", reason="utils/install.sh --extra interpret is not done")
    from ser.interpret import figures

    map_attention(aligned, data, [decoded], out, PHONES)
    write_statistics([out], tmp_path / "map", num_draws=9, seed=0, min_segments=1)

    def draw() -> None:
        settings = figures.FigureConfig((), None, "mel", ("png", "svg"))
        figures.draw_all(data, tmp_path / "map", tmp_path / "figures", [out], settings, [])

    draw()
    names = {path.name for path in (tmp_path / "figures").iterdir() if path.suffix in (".png", ".svg")}
    assert {"phones.png", "page.svg"} <= names
    check_made_again(tmp_path / "figures", names, draw, caplog)


def test_attention_over_the_frames_of_another_set(data: Path, decoded: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"attn\.scp: u1: .*: has 49 frames, utt2num_frames says 98; run stage 5"
    ):
        map_attention(align(tmp_path / "mine.ctm", data, None), data, [decoded], tmp_path / "map", PHONES)


def test_a_set_that_is_not_there_or_has_no_frames(data: Path, tmp_path: Path, repo: Path) -> None:
    with pytest.raises(
        DataError, match=rf"^{data}/ssl/settings\.yaml: no such file; run stage 1 .*feature set ssl$"
    ):
        align(tmp_path / "mine.ctm", data, "ssl")
    pytest.importorskip("opensmile", reason="utils/install.sh --extra baselines is not done")
    vectors = load_set(repo / "conf" / "egemaps.yaml", AudioConfig(16000, None, "refuse"))
    write_set(data, vectors, {}, main=False)
    with pytest.raises(UsageError) as error:
        align(tmp_path / "mine.ctm", data, "egemaps")
    assert (
        str(error.value)
        == "--features egemaps: has one vector an utterance, no frames; name a set with frames"
    )
