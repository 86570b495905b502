"""Settings of systems: every committed file loads, the paper's are the paper's, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ser.errors import ConfigError
from ser.learn import settings

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in (ROOT / "conf", *ROOT.glob("egs/*/conf"))
    for path in folder.glob("*.yaml")
    if path.name.startswith(("blstmatt", "csa"))
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_files_load(path: Path) -> None:
    assert settings.load(path).system == path.name.split("_")[0].removesuffix(".yaml")


def test_the_papers_blstmatt() -> None:
    paper = settings.load(ROOT / "egs/iemocap/conf/blstmatt.yaml")
    assert isinstance(paper, settings.BlstmattSettings)
    model, optim, training = paper.model, paper.optim, paper.training
    assert (model.hidden, model.layers, model.attention_dim, model.frame_stack) == (512, 2, 128, 1)
    assert (optim.lr, optim.schedule, optim.plateau.patience, optim.plateau.factor) == (
        1e-4,
        "plateau",
        4,
        0.8,
    )
    assert (optim.weight_decay, optim.clip_norm, model.dropout) == (0.0, None, 0.0)
    assert paper.augmentation == settings.AugmentationSettings(0, 0, 0, 0, 0.0)
    assert (training.batch_size, training.class_weights, training.select) == (1, "none", "last")
    assert (paper.features.norm, optim.plateau.metric) == ("none", "train_loss")


def test_the_papers_csa() -> None:
    paper = settings.load(ROOT / "egs/iemocap/conf/csa.yaml")
    assert isinstance(paper, settings.CsaSettings)
    assert (paper.chunking.context, paper.chunking.hop, paper.model.channels[-1]) == (30, 20, 128)
    assert (paper.chunking.tail, paper.chunking.short_utt) == ("drop", "drop")
    assert set(paper.model.kernels) <= set(range(2, 7))
    assert (paper.optim.lr, paper.model.gamma_mode, paper.model.gamma_init) == (1e-4, "scalar", 0.0)
    assert paper.augmentation == settings.AugmentationSettings(0, 0, 0, 0, 0.0)


BLSTMATT, CSA = ROOT / "conf/blstmatt.yaml", ROOT / "conf/csa.yaml"


@pytest.mark.parametrize(
    ("path", "override", "message"),
    [
        (BLSTMATT, "optim.learning_rate=1.0", "unknown key optim.learning_rate; known are lr, "),
        (BLSTMATT, "model.hiden=4", "unknown key model.hiden; did you mean model.hidden?"),
        (BLSTMATT, "optim.lr=1e-4", "optim.lr must be a number, got '1e-4' (YAML wants 1.0e-4, not 1e-4); "),
        (
            BLSTMATT,
            "features.norm=no",
            "features.norm must be one of none, utterance, speaker, global, got False",
        ),
        (BLSTMATT, "optim.plateau.factor=1.5", "optim.plateau.factor must be between 0 and 1; correct it"),
        (BLSTMATT, "model.dropout=1.0", "model.dropout must be from 0 up to, not including, 1; correct it"),
        (
            BLSTMATT,
            "augmentation.filter_gain=-0.5",
            "augmentation.time_masks and the others must not be negative; correct it",
        ),
        (BLSTMATT, "training.epochs=0", "training.epochs and batch_size must be at least 1; correct it"),
        (
            CSA,
            "model.kernels=[5,4]",
            "model.channels, kernels and pool must be equally long lists, an entry a ",
        ),
        (
            CSA,
            "chunking.overlap=30",
            "chunking.overlap must be from 0 to below context (30), got 30; correct it",
        ),
        (CSA, "system=lstm", "system must be one of csa, got 'lstm'; correct it"),
    ],
)
def test_mistakes(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.load(path, [override])
    assert str(error.value).startswith(f"{path}: {message}"), str(error.value)


def test_no_known_system(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("system: svm\n")
    with pytest.raises(ConfigError) as error:
        settings.load(path)
    assert str(error.value) == f"{path}: system must be blstmatt or csa, got 'svm'; correct it"
