"""Phone sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser.corpora.emodb import prepare_emodb
from ser.corpora.mini import phones as mini_phones
from ser.data.phones import PhoneSet, load_phones
from ser.errors import ConfigError, DataError

LINES = """\
name: tiny
vowel: [a]
consonant: [t]
silence: [sil]
filler: []
parts: {t: [t, "!t"]}
silence_words: [<sil>]
filler_words: [++COUGH++]
"""


def tiny(tmp_path: Path, text: str = LINES) -> PhoneSet:
    path = tmp_path / "phones.yaml"
    path.write_text(text)
    return load_phones(path)


def test_kinds(tmp_path: Path) -> None:
    phones = tiny(tmp_path)
    assert [phones.kind(phone) for phone in ("a", "t", "!t", "sil")] == [
        "vowel",
        "consonant",
        "consonant",
        "silence",
    ]
    assert [phones.word_kind(word) for word in ("<sil>", "++COUGH++", "HELLO")] == [
        "silence",
        "filler",
        "word",
    ]


def test_unknown_phones_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        tiny(tmp_path).check(["a", "AH0", "t", "Q", "AH0"], "my.ctm")
    assert str(error.value) == (
        "my.ctm: phones that the phone set tiny does not have: AH0 (2), Q (1); add them to vowel, consonant, "
        "silence or filler in conf/phones.yaml"
    )


def test_a_phone_of_two_kinds_and_parts_of_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "phones.yaml"
    with pytest.raises(ConfigError) as error:
        tiny(tmp_path, LINES.replace("consonant: [t]", "consonant: [t, a]"))
    assert str(error.value) == (f"{path}: vowel, consonant, silence and filler: a appears twice; correct it")
    with pytest.raises(ConfigError, match=r"parts: d is no vowel, consonant, silence or filler; correct it"):
        tiny(tmp_path, LINES.replace("{t:", "{d:"))
    with pytest.raises(ConfigError, match=r"consonant\[1\] must be a string, got False .*quote it"):
        tiny(tmp_path, LINES.replace("consonant: [t]", "consonant: [t, n]".replace("n]", "no]")))


def test_sphinx_has_the_52_symbols_of_iemocap(repo: Path) -> None:
    phones = load_phones(repo / "conf" / "phones.yaml")
    numbers = (len(phones.vowel), len(phones.consonant), len(phones.silence), len(phones.filler))
    assert numbers == (18, 29, 1, 4)
    assert set(phones.vowel) == mini_phones.VOWELS
    assert set(phones.filler) == mini_phones.FILLERS


def test_emodb_has_every_symbol_of_the_release(repo: Path, emodb: Path) -> None:
    phones = load_phones(repo / "egs" / "emodb" / "conf" / "phones.yaml")
    supervisions = list(prepare_emodb(emodb)["supervisions"])
    rows = [
        [(i.symbol, i.start, i.duration) for i in s.alignment["phone"]] for s in supervisions if s.alignment
    ]
    phones.check((symbol for segments in rows for symbol, _, _ in segments), emodb)
    merged = [phones.merge(segments) for segments in rows]
    assert (sum(map(len, rows)), len(rows)) == (14079, 338)
    symbols = {symbol for segments in merged for symbol, _, _ in segments}
    assert not {s for s in symbols if s.startswith(("!", "_")) or s.endswith("asp")}
    for before, after in zip(rows, merged, strict=True):  # nothing but boundaries inside a phone goes
        assert sum(length for _, _, length in after) == pytest.approx(sum(length for _, _, length in before))
