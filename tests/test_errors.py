from __future__ import annotations

from ser.errors import Problem, all_of, grouped


def test_up_to_three_of_a_kind_are_told_one_by_one_in_their_order() -> None:
    problems = ["t:4: a.wav: no such file; x", "t:5: bad; y", "t:6: b.wav: no such file; x", "t: odd"]
    assert grouped(problems) == problems


def test_more_are_told_in_one_line_with_the_first_three_places() -> None:
    problems = [f"t:{line}: emotion hapy is unknown; map it" for line in range(2, 50)]
    problems.insert(1, "t:3: speaker: is empty; fill it in")
    assert grouped(problems) == [
        "t:2: emotion hapy is unknown; map it (48 lines: 2, 3, 4, ...)",
        "t:3: speaker: is empty; fill it in",
    ]


def test_names_numbers_paths_and_quotes_make_no_other_kind() -> None:
    texts = ("'a b' has 3 of /x/y", "'c' has 14 of z/w", '"d" has 15 of /v', "n_1 has 92 of a.txt")
    assert grouped(f"f{i}.wav: {text}; copy it" for i, text in enumerate(texts)) == [
        "f0.wav: 'a b' has 3 of /x/y; copy it (4 places: f0.wav, f1.wav, f2.wav, ...)"
    ]


def test_each_of_a_few_texts_of_a_kind_has_its_own_count() -> None:
    problems = [f"t:{line}: has no fold {1 + line % 2}" for line in range(1, 11)]
    assert grouped(problems) == [
        "t:1: has no fold 2 (5 lines: 1, 3, 5, ...)",
        "t:2: has no fold 1 (5 lines: 2, 4, 6, ...)",
    ]


def test_a_kind_may_be_given() -> None:
    names = ("anna", "ben", "carl", "dora")
    problems = [Problem("t", line, f"{name} is f and m", "gender") for line, name in enumerate(names, 2)]
    assert grouped(problems) == ["t:2: anna is f and m (4 lines: 2, 3, 4, ...)"]


def test_lines_are_limited_and_all_problems_counted() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    problems = [f"t:{line}: emotion {letter}" for letter in letters for line in range(1, 5)]
    lines = str(all_of(problems)).splitlines()
    assert len(lines) == 21
    assert lines[0] == "t:1: emotion a (4 lines: 1, 2, 3, ...)"
    assert lines[20] == "... and 6 more lines; 104 problems in all"
