"""Settings of systems: every committed file loads, the paper's are the paper's, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser import systems
from ser.errors import ConfigError
from ser.feats.base import Layout
from ser.systems.base import Network, Sizes
from ser.systems.settings import AugmentationSettings

ROOT = Path(__file__).resolve().parents[2]
OTHER_NAMES = {  # files whose name is not their system's
    **dict.fromkeys(("cnn_gru", "cnn_seqcap", "cnn_reccap"), "cnn_capsules"),
    **dict.fromkeys(("ivector", "eigenvoice"), "factor_analysis"),
}
FILES = sorted(
    path
    for folder in (ROOT / "conf", *ROOT.glob("egs/*/conf"))
    for path in folder.glob("*.yaml")
    if path.name.startswith((*systems.SYSTEMS, *OTHER_NAMES))
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_files_load(path: Path) -> None:
    _, settings = systems.load_settings(path)
    code = {prefix: prefix for prefix in systems.SYSTEMS} | OTHER_NAMES
    assert settings.system == code[max(filter(path.name.startswith, code), key=len)]


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_the_registry_knows_whose_seed_matters(name: str) -> None:
    system = systems.find(name, "test")
    assert system.seeded == systems.is_seeded(name, "test")
    assert system.seeded or not isinstance(system, Network)


def test_the_papers_blstmatt() -> None:
    _, paper = systems.load_settings(ROOT / "conf/blstmatt.yaml")
    model, optim, training = paper.model, paper.optim, paper.training
    assert (model.hidden, model.layers, model.attention_dim, model.frame_stack) == (512, 2, 128, 1)
    assert (optim.lr, optim.schedule, optim.plateau.patience, optim.plateau.factor) == (
        1e-4,
        "plateau",
        4,
        0.8,
    )
    assert (optim.weight_decay, optim.clip_norm, model.dropout) == (0.0, None, 0.0)
    assert paper.augmentation == AugmentationSettings(0, 0, 0, 0, 0.0)
    assert (training.batch_size, training.class_weights, training.select) == (1, "none", "last")
    assert (paper.features.norm, optim.plateau.metric) == ("none", "train_loss")


def test_the_papers_csa() -> None:
    _, paper = systems.load_settings(ROOT / "conf/csa.yaml")
    assert (paper.unit.context, paper.unit.hop, paper.model.channels[-1]) == (30, 20, 128)
    assert (paper.unit.tail, paper.unit.short_utt) == ("drop", "drop")
    assert set(paper.model.kernels) <= set(range(2, 7))
    assert (paper.optim.lr, paper.model.gamma_mode, paper.model.gamma_init) == (1e-4, "scalar", 0.0)
    assert paper.augmentation == AugmentationSettings(0, 0, 0, 0, 0.0)


BLSTMATT, CSA = ROOT / "conf/blstmatt.yaml", ROOT / "conf/csa.yaml"


@pytest.mark.parametrize(
    ("path", "override", "message"),
    [
        (BLSTMATT, "optim.learning_rate=1.0", "unknown key optim.learning_rate; known are lr, "),
        (BLSTMATT, "model.hiden=4", "unknown key model.hiden; did you mean model.hidden?"),
        (BLSTMATT, "optim.lr=x", "optim.lr must be a number, got 'x'; "),
        (
            BLSTMATT,
            "features.norm=no",
            "features.norm must be one of none, utterance, speaker, global, auto, got False",
        ),
        (BLSTMATT, "optim.plateau.factor=1.5", "optim.plateau.factor must be above 0 and below 1, got 1.5"),
        (BLSTMATT, "model.dropout=1.0", "model.dropout must be at least 0 and below 1, got 1.0; "),
        (
            BLSTMATT,
            "augmentation.filter_gain=-0.5",
            "augmentation.filter_gain must be from 0 to 100, got -0.5; correct it",
        ),
        (BLSTMATT, "training.epochs=0", "training.epochs must be from 1 to 100000, got 0; correct it"),
        (
            BLSTMATT,
            "training.epochs=null",
            "training.epochs or steps must be a number, or both, got null; correct it",
        ),
        (BLSTMATT, "training.steps=0", "training.steps must be from 1 to 1000000000, got 0; correct it"),
        (
            CSA,
            "model.kernels=[5,4]",
            "model.channels, kernels and pool must be equally long lists, an entry a ",
        ),
        (
            CSA,
            "unit.overlap=30",
            "unit.overlap must be below context (30), got 30; correct it",
        ),
        (
            CSA,
            "system=cs",
            "system cs is unknown; did you mean csa?",
        ),
        (
            CSA,
            "system=null",
            f"system must name one of {', '.join(systems.SYSTEMS)}, or my_package.my_module:NAME, got None; "
            "add it",
        ),
        (CSA, "features.sets=[]", "features.sets must name feature sets, each once, got none; correct it"),
        (BLSTMATT, "optim.clip_norm=-1.0", "optim.clip_norm must be above 0, got -1.0; correct it"),
        (BLSTMATT, "optim.lr=.nan", "optim.lr must be a finite number, got nan; correct it"),
        (BLSTMATT, "optim.lr=.inf", "optim.lr must be a finite number, got inf; correct it"),
        (BLSTMATT, f"optim.lr=1{'0' * 400}", "optim.lr must be a finite number, got 1000"),
        (
            BLSTMATT,
            "model.hidden=1000000000",
            "model.hidden must be from 1 to 16384, got 1000000000; correct it",
        ),
        (CSA, "model.gamma_init=-.inf", "model.gamma_init must be a finite number, got -inf; correct it"),
        (CSA, "model.kernels=[5,0,3]", "model.kernels[1] must be from 1 to 64, got 0; correct it"),
        (
            CSA,
            "unit={context: 1, overlap: 0, shift: null, tail: drop, short_utt: drop, pooling: mean}",
            "model.pool leaves nothing of chunks of 1 frames (unit.context); correct it",
        ),
        (
            CSA,
            "model.pool=[8,8,1]",
            "model.pool leaves nothing of chunks of 30 frames (unit.context); correct it",
        ),
        (CSA, "unit=utterance", "unit must be a mapping, got 'utterance'; correct it"),
    ],
)
def test_mistakes(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        systems.load_settings(path, [override])
    assert str(error.value).startswith(f"{path}: {message}"), str(error.value)


@pytest.mark.parametrize(
    ("epochs", "steps", "num_batches", "num_epochs"),
    [
        ("30", "null", 7, 30),
        ("null", "100", 10, 10),
        ("null", "104", 10, 10),
        ("null", "105", 10, 11),
        ("null", "1", 10, 1),
        ("30", "100", 10, 10),
        ("30", "1000", 10, 30),
        ("30", "4", 10, 1),
    ],
)
def test_length_in_steps(epochs: str, steps: str, num_batches: int, num_epochs: int) -> None:
    overrides = [f"training.epochs={epochs}", f"training.steps={steps}"]
    training = systems.load_settings(BLSTMATT, overrides)[1].training
    assert training.num_epochs(num_batches) == num_epochs


@pytest.mark.parametrize(("name", "epochs"), [("blstmatt_small", 30), ("csa_small", 12)])
def test_large_corpora_take_fewer_epochs(name: str, epochs: int) -> None:
    training = systems.load_settings(ROOT / f"conf/{name}.yaml")[1].training
    assert [training.num_epochs(batches) for batches in (18, 80, 1250)] == [epochs, epochs, 5]


GOOD = """\
from dataclasses import dataclass
from ser.systems.base import Estimator, Network

@dataclass(frozen=True)
class Settings:
    system: str

class Plain:
    pass

ESTIMATOR = Estimator(Settings, lambda *a: {}, lambda *a: None)
NETWORK = Network(Settings, lambda *a: None)
SETTINGS = Estimator(Plain, lambda *a: {}, lambda *a: None)
OTHER = 3
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("mine:OTHER", "is no Network and no Estimator but int; ser/systems/base.py says what it needs"),
        ("mine:SETTINGS", "its settings are no dataclass; ser/systems/base.py says what it needs"),
        (
            "mine:NETWORK",
            "its settings have no features, unit, augmentation, optim, training; ser/systems/base.py "
            "says what "
            "it needs",
        ),
        ("mine:NONE", "mine has no NONE; correct the name behind the colon"),
        (
            "nobody:SYSTEM",
            "nobody cannot be imported (ModuleNotFoundError: No module named 'nobody'); correct the "
            "name, or put "
            "its folder on PYTHONPATH",
        ),
    ],
)
def test_a_system_file_that_lacks_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    (tmp_path / "x.yaml").write_text(f"system: {code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as error:
        systems.load_settings(tmp_path / "x.yaml")
    assert str(error.value) == f"{tmp_path}/x.yaml: system {code}: {message}"
    (tmp_path / "x.yaml").write_text("system: mine:ESTIMATOR\n")
    assert systems.load_settings(tmp_path / "x.yaml")[1].system == "mine:ESTIMATOR"


@pytest.mark.parametrize(
    ("path", "override", "message"),
    [
        (CSA, "unit.context=300", None),
        (CSA, "model.pool=[6,4,1]", "model.pool leaves nothing of 23 values a frame; correct it"),
        (
            BLSTMATT,
            "model={hidden: 16384, layers: 64, attention_dim: 1, frame_stack: 1, dropout: 0.0}",
            "the network would have 408,041,881,608 parameters, more than 1,073,741,824; lower the sizes in "
            "model",
        ),
    ],
)
def test_networks_that_cannot_be_made_are_told_without_making_them(
    path: Path, override: str, message: str | None
) -> None:
    system, settings = systems.load_settings(path, [override])
    sizes = Sizes({"fbank": 23}, 4, {})
    if message is None:
        systems.check_network(system, settings, sizes, path)
        return
    with pytest.raises(ConfigError) as error:
        systems.check_network(system, settings, sizes, path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("path", "overrides", "message"),
    [
        (BLSTMATT, [], None),
        (CSA, ["model.conv_dim=1"], None),
        (
            BLSTMATT,
            ["augmentation.freq_masks=1", "augmentation.filter_gain=0.3"],
            "augmentation.freq_masks and augmentation.filter_gain change neighbouring filters, but the "
            "values of the set 'fbank' have no order; set to 0: augmentation.freq_masks, "
            "augmentation.filter_gain",
        ),
        (
            CSA,
            [],
            "model.conv_dim must be 1 (over time), the values of the set 'fbank' have no order, got 2; "
            "correct it",
        ),
    ],
)
def test_what_needs_an_order_is_refused_of_values_that_have_none(
    path: Path, overrides: list[str], message: str | None
) -> None:
    system, settings = systems.load_settings(path, overrides)
    sizes = Sizes({"fbank": 24}, 4, {}, {"fbank": Layout((2, 3), ordered=False)})
    if message is None:
        systems.check_network(system, settings, sizes, path)
        return
    with pytest.raises(ConfigError) as error:
        systems.check_network(system, settings, sizes, path)
    assert str(error.value) == f"{path}: {message}"
