"""TextGrids."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser.align.textgrid import read_textgrid, write_textgrid
from ser.errors import DataError

pytest.importorskip("praatio", reason="utils/install.sh --extra interpret is not done")

SHORT = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1.5\n<exists>\n{size}\n'
TIER = '"{kind}"\n"{name}"\n0\n1.5\n{rows}\n'


def intervals(name: str, *rows: tuple[float, float, str]) -> str:
    lines = [str(len(rows)), *(f'{start}\n{end}\n"{label}"' for start, end, label in rows)]
    return TIER.format(kind="IntervalTier", name=name, rows="\n".join(lines))


def grid(tmp_path: Path, *tiers: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "u1.TextGrid"
    path.write_text(SHORT.format(size=len(tiers)) + "".join(tiers), encoding=encoding)
    return path


PHONES = intervals("Phones", (0, 0.5, ""), (0.5, 0.75, "ə"), (0.75, 1.5, "two words"))
WORDS = intervals("words", (0, 0.5, ""), (0.5, 1.5, "hello"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tiers_are_found_by_their_names(tmp_path: Path, encoding: str) -> None:
    tiers = read_textgrid(grid(tmp_path, WORDS, PHONES, encoding=encoding), {})
    assert tiers == {
        "phone": [("ə", 0.5, 0.25), ("two_words", 0.75, 0.75)],
        "word": [("hello", 0.5, 1.0)],
    }


def test_a_tier_can_be_named(tmp_path: Path) -> None:
    path = grid(tmp_path, intervals("Laute", (0, 1.5, "a")), WORDS)
    assert read_textgrid(path, {"phone": "Laute"})["phone"] == [("a", 0.0, 1.5)]


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_textgrid(grid(tmp_path, intervals("Laute", (0, 1.5, "a")), intervals("x", (0, 1.5, "b"))), {})
    assert str(error.value) == (
        f"{tmp_path}/u1.TextGrid: which tier holds the phones, which the words? It has Laute, x; say it with "
        "--tier phone=NAME --tier word=NAME"
    )
    with pytest.raises(
        DataError, match=r"several tiers of phones \(Phones, phone\); choose with --tier phone=NAME"
    ):
        read_textgrid(grid(tmp_path, PHONES, intervals("phone", (0, 1.5, "a"))), {})
    with pytest.raises(DataError, match=r"has no tier Laut \(it has words\); correct --tier phone="):
        read_textgrid(grid(tmp_path, WORDS), {"phone": "Laut"})
    points = TIER.format(kind="TextTier", name="phone", rows='1\n0.5\n"x"')
    with pytest.raises(DataError, match=r"the tier phone is one of points; name an interval tier"):
        read_textgrid(grid(tmp_path, points), {})
    (tmp_path / "u1.TextGrid").write_text("no grid\n")
    with pytest.raises(
        DataError, match=r"u1\.TextGrid: cannot be read as a TextGrid .*save it again in Praat"
    ):
        read_textgrid(tmp_path / "u1.TextGrid", {})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    tiers = {"phone": [('say "a"', 0.1, 0.2), ("ü", 0.3, 0.4), ("late", 0.9, 0.2)], "word": [("x", 0.0, 1.0)]}
    write_textgrid(tmp_path / "u1.TextGrid", tiers, 1.0)
    tiers = read_textgrid(tmp_path / "u1.TextGrid", {})
    assert [symbol for symbol, _, _ in tiers["phone"]] == ['say_"a"', "ü", "late"]
    assert [start for _, start, _ in tiers["phone"]] == [0.1, 0.3, 0.9]
    assert [length for _, _, length in tiers["phone"]] == pytest.approx([0.2, 0.4, 0.1])  # cut at the end
    assert tiers["word"] == [("x", 0.0, 1.0)]
