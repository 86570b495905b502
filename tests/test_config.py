"""Settings: every key once, every mistake named with the nearest key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from ser import config
from ser.errors import ConfigError


@dataclass(frozen=True)
class Optim:
    lr: float
    patience: int
    name: Literal["adam", "sgd"]

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")


@dataclass(frozen=True)
class Settings:
    seed: int
    flag: bool
    optim: Optim
    classes: tuple[str, ...]
    keep: dict[str, tuple[str, ...]]
    dropout: float | None
    test: Literal["each"] | tuple[str, ...]
    dev: Optim | None


GOOD = """\
seed: 1
flag: true
optim: {lr: 1.0e-4, patience: 3, name: adam}
classes: [ang, hap]
keep: {style: [improvised]}
dropout: null
test: each
dev: null
"""


def load(folder: Path, text: str = GOOD, *overrides: str) -> Settings:
    (folder / "c.yaml").write_text(text)
    return config.load(Settings, folder / "c.yaml", overrides)


def refusal(folder: Path, text: str = GOOD, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(folder, text, *overrides)
    return str(error.value).replace(str(folder / "c.yaml"), "c.yaml")


def test_a_file_becomes_dataclasses(tmp_path: Path) -> None:
    settings = load(tmp_path)
    optim = Optim(1e-4, 3, "adam")
    assert settings == Settings(
        1, True, optim, ("ang", "hap"), {"style": ("improvised",)}, None, "each", None
    )
    assert hash(settings.optim) == hash(optim)


def test_a_whole_number_is_a_number_too(tmp_path: Path) -> None:
    dropout = load(tmp_path, GOOD, "dropout=1").dropout
    assert dropout == 1.0
    assert type(dropout) is float


def test_overrides_are_yaml_and_the_last_one_wins(tmp_path: Path) -> None:
    settings = load(
        tmp_path, GOOD, "optim.lr=0.5", "optim.lr=5.0e-5", "classes=[a, b, c]", "test=['5']", "flag=false"
    )
    assert settings.optim.lr == 5e-5
    assert settings.classes == ("a", "b", "c")
    assert settings.test == ("5",)
    assert settings.flag is False


def test_a_key_with_a_default_may_be_left_out(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Optional:
        seed: int
        optim: Optim = Optim(0.5, 1, "sgd")

    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\n")
    assert config.load(Optional, path) == Optional(3, Optim(0.5, 1, "sgd"))
    path.write_text("seed: 3\noptim: {lr: 0.1, patience: 1}\n")
    with pytest.raises(ConfigError) as error:
        config.load(Optional, path)
    assert str(error.value) == f"{path}: missing key optim.name; add it (one of adam, sgd)"


def test_an_override_can_fill_what_was_null(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD, "dev={lr: 1, patience: 2, name: sgd}").dev == Optim(1.0, 2, "sgd")


def test_settings_survive_a_dump(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert load(tmp_path, config.dump(config.to_dict(settings))) == settings
    assert list(yaml.safe_load(config.dump(config.to_dict(settings)))) == list(yaml.safe_load(GOOD))


def swap(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "sed: 1\n", "c.yaml: unknown key sed; did you mean seed?"),
        (
            swap("patience: 3", "pateince: 3"),
            "c.yaml: unknown key optim.pateince; did you mean optim.patience?",
        ),
        (
            GOOD + "xyz: 1\n",
            "c.yaml: unknown key xyz; known are seed, flag, optim, classes, keep, dropout, test, dev",
        ),
        (swap("seed: 1\n", ""), "c.yaml: missing key seed; add it (a whole number)"),
        (swap(", name: adam", ""), "c.yaml: missing key optim.name; add it (one of adam, sgd)"),
        (swap("dropout: null\n", ""), "c.yaml: missing key dropout; add it (a number or null)"),
        (swap("1.0e-4", "1e999"), "c.yaml: optim.lr must be a finite number, got inf; correct it"),
        (swap("1.0e-4", "1e"), "c.yaml: optim.lr must be a number, got '1e'; correct it"),
        (swap("seed: 1", "seed: 1e3"), "c.yaml: seed must be a whole number, got 1000.0; correct it"),
        (swap("seed: 1", "seed: 1.5"), "c.yaml: seed must be a whole number, got 1.5; correct it"),
        (swap("seed: 1", "seed: '1'"), "c.yaml: seed must be a whole number, got '1'; correct it"),
        (
            swap("seed: 1", "seed: yes"),
            "c.yaml: seed must be a whole number, got True "
            "(YAML reads a bare on, off, yes or no as true or false; quote it); correct it",
        ),
        (swap("flag: true", "flag: 1"), "c.yaml: flag must be true or false, got 1; correct it"),
        (swap("seed: 1", "seed:"), "c.yaml: seed must be a whole number, got None; correct it"),
        (
            swap("adam", "adamw"),
            "c.yaml: optim.name must be one of adam, sgd, got 'adamw'; correct it",
        ),
        (swap("ang, hap", "ang, 3"), "c.yaml: classes[1] must be a string, got 3; correct it"),
        (swap("[ang, hap]", "ang"), "c.yaml: classes must be a list of a string, got 'ang'; correct it"),
        (
            swap("ang, hap", "on, hap"),
            "c.yaml: classes[0] must be a string, got True "
            "(YAML reads a bare on, off, yes or no as true or false; quote it); correct it",
        ),
        (
            swap("[improvised]", "improvised"),
            "c.yaml: keep.style must be a list of a string, got 'improvised'; correct it",
        ),
        (swap("{style: [improvised]}", "[]"), "c.yaml: keep must be a mapping, got []; correct it"),
        (
            swap("{lr: 1.0e-4, patience: 3, name: adam}", "3"),
            "c.yaml: optim must be a mapping, got 3; correct it",
        ),
        (swap("1.0e-4", "-1"), "c.yaml: optim.lr must be above 0, got -1.0; correct it"),
        (GOOD + "seed: 2\n", "c.yaml:9: not YAML (the key 'seed' stands twice); correct the line"),
        (
            swap("lr: 1.0e-4", "lr: 1.0e-4, lr: 2.0"),
            "c.yaml:3: not YAML (the key 'lr' stands twice); correct the line",
        ),
        ("[1, 2]\n", "c.yaml: must hold '<key>: <value>' lines, got [1, 2]; correct the file"),
        ("", "c.yaml: must hold '<key>: <value>' lines, got None; correct the file"),
        ("a: !!python/object/apply:os.getcwd []\n", None),
        ("a: [1\n", None),
        ("a: \x07\n", None),
        ("? [1]\n: 2\n", "c.yaml:1: not YAML (found unhashable key); correct the line"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str | None) -> None:
    told = refusal(tmp_path, text)
    if message is None:
        assert told.startswith("c.yaml:")
        assert "\n" not in told.strip() or "not YAML" in told
    else:
        assert told == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: expected <key>=<value>, such as optim.lr=5e-5"),
        ("=1", "--set =1: expected <key>=<value>, such as optim.lr=5e-5"),
        ("seed.x=1", "--set seed.x=1: seed has no keys of its own; correct the key"),
        ("optim.lr=[", "--set optim.lr=[: the value is not YAML; quote it"),
        ("optim.lrr=1", "c.yaml: unknown key optim.lrr; did you mean optim.lr?"),
        ("optimm.lr=1", "c.yaml: unknown key optimm; did you mean optim?"),
        ("optim.lr='5e-5'", "c.yaml: optim.lr must be a number, got '5e-5'; correct it"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    assert refusal(tmp_path, GOOD, override) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1.0e6", 1e6),
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("1.E+2", 100.0),
        (".5e1", 5.0),
        ("2", 2.0),
    ],
)
def test_numbers_with_an_exponent(tmp_path: Path, text: str, value: float) -> None:
    """YAML 1.1 takes some of these for text; everybody else, YAML 1.2 too, for numbers."""
    assert load(tmp_path, GOOD, f"optim.lr={text}").optim.lr == value
    assert load(tmp_path, swap("1.0e-4", text)).optim.lr == value
    assert load(tmp_path, GOOD, f"optim.lr=+{text}").optim.lr == value


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    tree = {"id": "12e1", "lr": 1e-05, "more": ["1e-3", "e3", "1e3x", 1e300, "1.5"]}
    (tmp_path / "d.yaml").write_text(config.dump(tree))
    assert config.read_yaml(tmp_path / "d.yaml") == tree


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(Settings, tmp_path / "no.yaml")
    assert str(error.value) == f"{tmp_path}/no.yaml: no such file; name an existing settings file"
    with pytest.raises(ConfigError, match="is a folder where a file is expected"):
        config.load(Settings, tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="c.yaml:1: is not UTF-8; save it"):
        config.load(Settings, tmp_path / "c.yaml")


# -------------------------------------------------------------------------------------------------- base


def test_a_file_with_a_base_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(GOOD)
    (tmp_path / "second.yaml").write_text("base: first.yaml\noptim: {lr: 0.5}\nclasses: [a]\n")
    settings = load(tmp_path, "base: second.yaml\nseed: 2\n", "flag=false")
    assert settings == Settings(
        2, False, Optim(0.5, 3, "adam"), ("a",), {"style": ("improvised",)}, None, "each", None
    )


def test_a_base_of_the_same_name_is_the_shared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, recipe = tmp_path / "conf", tmp_path / "egs"
    shared.mkdir()
    recipe.mkdir()
    monkeypatch.setattr(config, "SHARED", shared)
    (shared / "c.yaml").write_text(GOOD)
    assert load(recipe, "base: c.yaml\nseed: 5\n").seed == 5
    monkeypatch.chdir(recipe)
    assert config.find_conf("c.yaml") == shared / "c.yaml"
    (recipe / "conf").mkdir()
    (recipe / "conf" / "c.yaml").write_text(GOOD)
    assert config.find_conf("c.yaml") == Path("conf/c.yaml")
    assert config.find_conf("d.yaml") == Path("conf/d.yaml")


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("none.yaml", "base none.yaml is neither beside it nor in {shared}; name a file that is"),
        ("c.yaml", "base c.yaml is neither beside it nor in {shared}; name a file that is"),
        ("../c.yaml", "base must be the name of a file beside it or in the shared conf/, got "
         "'../c.yaml'; write "
         "it without a folder"),
        ("/etc/passwd", "base must be the name of a file beside it or in the shared conf/, got "
         "'/etc/passwd'; "
         "write it without a folder"),
        ("[a]", "base must be the name of a file beside it or in the shared conf/, got ['a']; write it "
         "without a "
         "folder"),
        ("..", "base must be the name of a file beside it or in the shared conf/, got '..'; write it "
         "without a "
         "folder"),
    ],
)  # fmt: skip
def test_a_base_that_is_missing_or_outside(tmp_path: Path, base: str, message: str) -> None:
    assert refusal(tmp_path, f"base: {base}\n") == "c.yaml: " + message.format(shared=config.SHARED)


def test_a_base_that_leads_back(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("base: e.yaml\n")
    (tmp_path / "e.yaml").write_text("base: c.yaml\n")
    with pytest.raises(ConfigError) as error:
        load(tmp_path, "base: d.yaml\n")
    assert str(error.value) == (
        f"{tmp_path}/e.yaml: base c.yaml leads back to itself (c.yaml -> d.yaml -> e.yaml -> c.yaml); "
        f"take one of "
        "them out"
    )


def test_mistakes_are_told_of_the_file_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(GOOD)
    assert refusal(tmp_path, "base: first.yaml\nsede: 2\n") == "c.yaml: unknown key sede; did you mean seed?"
