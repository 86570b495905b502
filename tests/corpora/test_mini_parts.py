"""The parts of the embedded corpus: phones, design, sound, alignments, ratings, processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.corpora.mini import align, audio, phones, ratings
from ser.corpora.mini.children import each_in_its_own
from ser.corpora.mini.design import (
    ENDINGS,
    LABELS,
    NOT_ALIGNED,
    SPEAKERS,
    STYLES,
    WORDS,
    Style,
    Turn,
    plan,
    random_state,
    style_of,
)
from ser.corpora.mini.dialog import CRLF_DIALOG, LATIN1_TURN, STRAY_LINES, UNSORTED_DIALOG, place
from ser.corpora.mini.espeak import voice_lines
from ser.corpora.mini.formant import Formant
from ser.corpora.mini.phones import NO_WORD, SILENCE, Phone
from ser.corpora.mini.speech import say

IEMOCAP_PHONES = set(
    "+BREATHING+ +GARBAGE+ +LAUGHTER+ +LIPSMACK+ AA AE AH AO AW AX AXR AY B CH D DD DH DX EH ER EY F G HH IH"
    " IX IY JH K KD L M N NG OW OY P R S SH SIL T TD TH TS UH UW V W Y Z ZH".split()
)
ROOM = audio.Room((0.0, 0.0, 0.0), 0.0, -60.0)
NEUTRAL = Style(0.0, 48.0, 1.0, 0.0, 0.0, 0.0)


def test_the_phone_set_is_iemocaps() -> None:
    ours = phones.VOWELS | phones.CONSONANTS | phones.FILLERS | {SILENCE}
    assert ours == IEMOCAP_PHONES
    assert len(ours) == 52
    assert phones.STOPS <= phones.CONSONANTS


def test_every_word_is_in_the_lexicon() -> None:
    lexicon = phones.read_lexicon()
    words = {phones.spelling(word) for sentence in phones.read_sentences() for word in sentence.split()}
    assert not words - lexicon.keys()
    spoken = {symbol.rstrip("1") for entry in lexicon.values() for symbol in entry}
    assert not spoken - phones.VOWELS - phones.CONSONANTS
    assert len(set(phones.read_sentences())) == len(phones.read_sentences()) == 81


@pytest.mark.parametrize(
    ("mnemonic", "expected"),
    [("'oU", ("OW",)), (",i@3", ("IH", "R")), ("t#", ("DX",)), ("3", ("AXR",)), ("@-", ()), ("tS", ("CH",))],
)
def test_espeak_mnemonics(mnemonic: str, expected: tuple[str, ...]) -> None:
    assert phones.from_espeak(mnemonic) == expected


@pytest.mark.parametrize(
    ("said", "written"),
    [("K AE T", "K AE TD"), ("K AE T S", "K AE TS"), ("F AO R", "F AO R"), ("HH ER R", "HH ER"), ("T", "T")],
)
def test_word_final_allophones(said: str, written: str) -> None:
    word = [Phone(float(i), symbol, 0) for i, symbol in enumerate(said.split())]
    assert [phone.symbol for phone in phones.word_allophones(word)] == written.split()


def test_the_design_at_full_size() -> None:
    dialogs = plan(seed=3, scale=1.0)
    turns = [turn for dialog in dialogs for turn in dialog.turns]
    assert len(dialogs) == 20
    assert len(turns) == len({turn.name for turn in turns}) == 660
    for session in range(1, 6):
        own = [turn for dialog in dialogs if dialog.session == session for turn in dialog.turns]
        assert Counter(turn.label for turn in own) == LABELS
        assert {turn.speaker for turn in own} == {f"0{session}F", f"0{session}M"}
    for dialog in dialogs:
        for sex in "FM":
            numbers = [int(turn.name[-3:]) for turn in dialog.turns if turn.name[-4] == sex]
            assert numbers == list(range(len(numbers)))
    assert [turn.name for turn in turns if not turn.aligned] == [NOT_ALIGNED]
    assert Counter(turn.tag for turn in turns) == {"": 656, "LAUGHTER": 3, "BREATHING": 1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_the_design_has_room_for_every_irregularity(seed: int, scale: float) -> None:
    dialogs = plan(seed, scale)
    turns = {turn.name: turn for dialog in dialogs for turn in dialog.turns}
    planted = {NOT_ALIGNED, LATIN1_TURN, ratings.NO_DOMINANCE, ratings.HIGH_VALENCE, ratings.LOW_DOMINANCE}
    assert planted <= turns.keys()
    assert {*STRAY_LINES, CRLF_DIALOG, UNSORTED_DIALOG} <= {dialog.name for dialog in dialogs}
    assert {turn.tag for turn in turns.values()} == {"", "LAUGHTER", "BREATHING"}
    assert turns[NOT_ALIGNED].text
    assert all(len(dialog.turns) >= 4 for dialog in dialogs)


def test_the_text_does_not_depend_on_the_label() -> None:
    """The same turn says the same in two designs that shuffle labels differently."""
    one, other = (
        {turn.name: turn for dialog in plan(0, scale) for turn in dialog.turns} for scale in (0.5, 1.0)
    )
    assert all(one[name].text == other[name].text for name in one if not one[name].tag + other[name].tag)


def test_emotional_words_are_endings_of_three_of_four_turns() -> None:
    """Nothing but the text differs, an ending goes with one class; neutral words are the default."""
    plain, emotional = ([turn for dialog in plan(0, 5.0, words) for turn in dialog.turns] for words in WORDS)
    assert [turn for dialog in plan(0, 5.0) for turn in dialog.turns] == plain
    classes = {"exc": "hap", "fru": "ang"}
    seen: dict[str, set[str]] = {}
    for one, other in zip(plain, emotional, strict=True):
        assert replace(other, text=one.text) == one
        start, _, ending = other.text.rpartition(", ")
        if other.text != one.text:
            assert start + one.text[-1] == one.text
            seen.setdefault(ending[:-1], set()).add(classes.get(one.label, one.label))
    assert seen == {ending: {label} for label in "ang hap neu sad".split() for ending in ENDINGS[label]}
    pairs = [pair for pair in zip(plain, emotional, strict=True) if pair[0].label in ENDINGS]
    assert np.mean([one.text != other.text for one, other in pairs]) == pytest.approx(0.75, abs=0.02)
    assert not {word for ending in seen for word in ending.split()} - phones.read_lexicon().keys()


def test_a_style_lies_between_neutral_and_the_label() -> None:
    turns = [Turn(f"u{i}", "01F", "ang", "x") for i in range(400)]
    drive = [style_of(0, turn, random_state(0, turn.name)).drive for turn in turns]
    assert 0.6 * 0.75 * STYLES["ang"][5] < np.mean(drive) < 1.2 * 1.15 * STYLES["ang"][5]


def test_resampling_keeps_a_tone() -> None:
    time = np.arange(22050) / 22050
    tone = audio.resample(np.sin(2 * np.pi * 1000 * time))
    assert len(tone) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    np.testing.assert_allclose(tone[100:-100], expected[100:-100], atol=2e-3)


@pytest.mark.parametrize("length", [1, 7, 440, 441, 442, 20011])
def test_resampling_keeps_the_level(length: int) -> None:
    resampled = audio.resample(np.ones(length))
    assert len(resampled) == length * 320 // 441
    np.testing.assert_allclose(resampled[20:-20], 1.0, atol=2e-3)


def test_resampling_removes_what_would_alias() -> None:
    time = np.arange(22050) / 22050
    tone = audio.resample(np.sin(2 * np.pi * 9500 * time))
    assert np.abs(tone[100:-100]).max() < 0.01


@pytest.mark.parametrize("slope", [-2.0, 0.0, 3.0])
def test_the_tilt_filter_has_its_slope(slope: float) -> None:
    gain_db = 20 * np.log10(np.abs(np.fft.rfft(audio.tilt_filter(slope, ROOM), 16000)))
    assert gain_db[250] == pytest.approx(0, abs=0.5)
    assert gain_db[4000] - gain_db[1000] == pytest.approx(2 * slope, abs=0.3)


def test_pink_noise_falls_three_db_an_octave() -> None:
    noise = audio.pink_noise(random_state(0, "noise"), 160000)
    assert len(noise) == 160000
    assert np.sqrt((noise**2).mean()) == pytest.approx(1)
    power = np.abs(np.fft.rfft(noise)) ** 2  # 0.1 Hz a bin
    octaves = [10 * np.log10(power[a : 2 * a].mean()) for a in (2500, 10000, 40000)]
    np.testing.assert_allclose(np.diff(octaves), -6.0, atol=0.7)


def test_to_pcm_clips() -> None:
    assert audio.to_pcm(np.array([0.0, 0.5, 1.5, -1.5])).tolist() == [0, 16384, 32767, -32768]


def test_alignments_are_what_sphinx_writes() -> None:
    spoken = [Phone(0, "AY", 0), Phone(800, "D", 1), Phone(1600, "IH", 1), Phone(2400, "DD", 1)]
    spoken.append(Phone(3200, "+LAUGHTER+", 2))
    table = [
        align.Row(row.first, row.last, row.symbol, row.word, -1000 * (i + 1))
        for i, row in enumerate(align.rows(spoken, 4800, 1600, 8100, random_state(0)))
    ]
    assert align.phseg(table) == (
        "\t SFrm  EFrm   SegAScr Phone\n"
        "\t    0     9     -1000 SIL\n"
        "\t   10    14     -2000 AY SIL D s\n"
        "\t   15    19     -3000 D AY IH b\n"
        "\t   20    24     -4000 IH D DD i\n"
        "\t   25    29     -5000 DD IH SIL e\n"
        "\t   30    39     -6000 +LAUGHTER+\n"
        "\t   40    49     -7000 SIL\n"
        " Total score:      -28000\n"
    )
    assert align.wdseg(table, ["I", "DID", "++LAUGHTER++"]) == (
        "\t SFrm  EFrm    SegAScr Word\n"
        "\t    0     9      -1000 <s>\n"
        "\t   10    14      -2000 I\n"
        "\t   15    29     -12000 DID\n"
        "\t   30    39      -6000 ++LAUGHTER++\n"
        "\t   40    49      -7000 </s>\n"
        " Total score:      -28000\n"
    )
    assert align.syseg(table) == "\t SFrm  EFrm Syllable\n\t   10    14 AY\n\t   15    29 D_IH_DD\n"


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("W IH N D OW", "W_IH_N D_OW"),
        ("S IH S T AXR Z", "S_IH S_T_AXR_Z"),
        ("EH N JH AX N", "EH_N JH_AX_N"),
        ("S IH NG IX NG", "S_IH_NG IX_NG"),
        ("S T R IY TD", "S_T_R_IY_TD"),
        ("V Y UW", "V_Y_UW"),
        ("K W AY AXR", "K_W_AY AXR"),
    ],
)
def test_syllables_begin_as_english_ones_do(word: str, syllables: str) -> None:
    table = [align.Row(i, i, symbol, 0, -1) for i, symbol in enumerate(word.split())]
    lines = align.syseg(table).splitlines()[1:]
    assert " ".join(line.split()[2] for line in lines) == syllables


@given(
    st.lists(st.tuples(st.integers(0, 9600), st.booleans()), min_size=1, max_size=30), st.integers(1600, 6000)
)
def test_alignments_never_have_a_gap(starts: list[tuple[int, bool]], lead: int) -> None:
    spoken = [
        Phone(start, SILENCE if silent else "AA", NO_WORD if silent else 0)
        for start, silent in sorted(starts)
    ]
    table = align.rows(spoken, 9600, lead, lead + 9600 + 6000, random_state(0))
    assert (table[0].first, table[0].symbol) == (0, SILENCE)
    assert (table[-1].last, table[-1].symbol) == ((lead + 15600) // 160 - 1, SILENCE)
    for one, following in zip(table, table[1:], strict=False):
        assert following.first == one.last + 1
        assert one.first <= one.last
        assert (one.symbol, following.symbol) != (SILENCE, SILENCE)


def test_the_majority_of_the_raters_is_the_label() -> None:
    for label in LABELS:
        for number in range(50):
            turn = Turn(f"Ses01F_impro01_F{number:03d}", "01F", label, "x")
            others = [o for o in ratings.rate(0, turn).opinions if o.rater.startswith("E")]
            votes = Counter(category for opinion in others for category in opinion.categories)
            best = max(votes.values())
            if label == "xxx":
                assert best == 1
            else:
                assert votes[ratings.CATEGORIES[label]] == best >= 2


def test_lines_of_ratings() -> None:
    opinion = ratings.Opinion("E2", ("Neutral", "Other"), "(curious)")
    scales = ratings.Scales("F1", 3, 2, None, "()")
    assert ratings.opinion_line(opinion) == "C-E2:\tNeutral; Other;\t(curious)"
    assert ratings.scales_line(scales) == "A-F1:\tval 3; act 2; dom  ;\t()"
    assert (
        ratings.categorical_line("Ses01F_impro01_F000", opinion)
        == "Ses01F_impro01_F000 :Neutral state; :Other; "
    )
    assert (
        ratings.attribute_line("Ses01F_impro01_F000", scales) == "Ses01F_impro01_F000 :act 2; :val 3; :dom ; "
    )


def test_means_leave_out_the_speaker_and_what_was_not_given() -> None:
    scales = tuple(
        ratings.Scales(rater, v, a, d, "")
        for rater, v, a, d in (("E3", 3, 2, 4), ("E4", 4, 2, None), ("F1", 1, 5, 1))
    )
    assert ratings.Ratings((), scales).means() == (3.5, 2.0, 4.0)


def test_turns_are_placed_in_order_and_as_long_as_they_are() -> None:
    dialog = plan(0, 0.5)[0]
    lengths = {turn.name: 16000 + 37 * i for i, turn in enumerate(dialog.turns)}
    placed = place(dialog, lengths, seed=0)
    for item in placed:
        assert abs((item.end - item.start) * 16000 - lengths[item.turn.name]) < 1.01
        assert item.start == round(item.start, 4)
    gaps = [b.start - a.end for a, b in zip(placed, placed[1:], strict=False)]
    assert -0.401 < min(gaps) < 0 < max(gaps) < 1.201


def test_an_espeak_voice() -> None:
    assert voice_lines(SPEAKERS["01M"]).splitlines() == [
        "language variant",
        "name mini01m",
        "gender male",
        "pitch 88 128",
        "formant 0 100 95 105",
        "formant 1 100 95 105",
        "formant 2 98 95 105",
        *(f"formant {k} 99 90 105" for k in range(3, 9)),
        "flutter 3",
    ]


def test_formants_speak_the_phones_they_say() -> None:
    """A vowel is louder than the silence before it; S has its energy high, AE has it low."""
    words = ["pass", "the", "other"]
    samples, spoken = Formant().speak(words, SPEAKERS["01M"], NEUTRAL, random_state(0))
    assert [phone.symbol for phone in spoken] == "SIL P AE S DH IY AH DH AXR".split()
    starts = [int(phone.start) for phone in spoken] + [len(samples)]

    def spectrum(place: int) -> np.ndarray:
        return np.abs(np.fft.rfft(samples[starts[place] + 200 : starts[place + 1] - 200], 16000)) ** 2

    silence, vowel, fricative = spectrum(0), spectrum(2), spectrum(3)
    assert vowel.sum() > 1000 * silence.sum()
    assert fricative[4000:].sum() > 10 * fricative[:1500].sum()
    assert vowel[:1500].sum() > 10 * vowel[4000:].sum()


@pytest.mark.parametrize(("tag", "text"), [("LAUGHTER", "He came back."), ("BREATHING", "")])
def test_a_tag_is_heard_and_aligned(tag: str, text: str) -> None:
    turn = Turn("Ses01F_impro01_F000", "01F", "hap", text, tag)
    speech = say(Formant(), turn, SPEAKERS["01F"], NEUTRAL, random_state(0))
    sound = speech.phones[-1]
    assert (sound.symbol, speech.words[sound.word]) == (f"+{tag}+", f"++{tag}++")
    assert speech.words[:-1] == [phones.spelling(word).upper() for word in text.split()]
    assert np.abs(speech.samples[int(sound.start) :]).max() > 0.01
    assert turn.transcription == f"{text} [{tag}]".strip()


def _square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    if number == 14:
        raise PermissionError(13, "not allowed", "here")
    if number == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


# forking is refused by Python 3.12 where there are threads, as other tests may have left some
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
class TestChildren:
    @pytest.mark.parametrize("num_jobs", [1, 3])
    def test_each_item_once(self, num_jobs: int) -> None:
        results = each_in_its_own(_square, range(10), num_jobs)
        assert sorted(results) == [number * number for number in range(10)]

    @pytest.mark.parametrize(
        ("number", "kind", "message"),
        [(13, RuntimeError, "unlucky"), (14, PermissionError, "not allowed"), (15, RuntimeError, "killed")],
    )
    def test_a_failure_comes_through(self, number: int, kind: type[Exception], message: str) -> None:
        with pytest.raises(kind, match=message):
            list(each_in_its_own(_square, [1, number, 2, 3], 2))
