"""The model that comes with ser: there after an installation, says its limits, does what its card says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ser
from ser import systems
from ser.config import resolve
from ser.learn.models import load_model
from ser.predict.names import DEFAULT, SHIPPED, find_model, split_words
from tests.fuzz.readers import make_model

CLASSES = {"W": "ang", "F": "hap", "N": "neu", "T": "sad"}  # the letter in EMO-DB's file names
LIMITS = (
    "It has heard ten speakers, all German, all acting; on anything else it is often wrong.",
    "It knows four classes and always names one of them: anger, happiness, neutral, sadness.",
    "It must not be used to decide about people.",
)


def test_it_is_what_the_recipe_trains(repo: Path) -> None:
    """Its settings are those of the recipe today, and its data all of EMO-DB's four classes."""
    model = load_model(find_model(DEFAULT))
    recipe = resolve(repo / "egs" / "emodb" / "conf" / "csa_level.yaml", ["unit.context=30"])
    assert systems.build_settings(recipe, "csa_level.yaml")[1] == model.settings
    assert model.facts["training_data"] == {
        "utterances": 339, "speakers": 10, "seconds": pytest.approx(955, abs=5),
        "classes": {"ang": 127, "hap": 71, "neu": 79, "sad": 62},
    }  # fmt: skip
    assert (model.facts["seed"], model.facts["corpus"], model.facts["license"]) == (1, "emodb", "cc0-1.0")
    assert tuple(model.facts["limits"]) == LIMITS
    assert model.calibration is not None
    assert sum(path.stat().st_size for path in (SHIPPED / DEFAULT).iterdir()) < 3_000_000
    card = (SHIPPED / DEFAULT / "README.md").read_text()
    assert f"at the temperature {model.calibration.temperature:.3f}." in card
    for limit in LIMITS:
        assert f"- {limit}\n" in card


@pytest.mark.slow
def test_it_knows_the_corpus_that_it_was_trained_on(emodb: Path) -> None:
    """As often as it did when it was made; and the level of a recording changes nothing."""
    model = ser.load(DEFAULT)
    paths = [path for path in sorted((emodb / "wav").glob("*.wav")) if path.stem[5] in CLASSES]
    right = [model.predict(path).emotion == CLASSES[path.stem[5]] for path in paths]
    assert len(right) == 339
    assert np.mean(right) >= 0.93
    for path in paths[:5]:
        samples, rate_hz = soundfile.read(path, dtype="float32")
        quiet = model.predict((samples * np.float32(0.1), rate_hz))
        assert quiet.posterior == pytest.approx(model.predict(path).posterior, abs=5e-3)
        silence = np.zeros(rate_hz, np.float32)
        padded = model.predict((np.concatenate([silence, samples, silence]), rate_hz))
        assert padded.posterior == pytest.approx(model.predict(path).posterior, abs=0.25)


def test_words_are_divided_into_a_model_and_recordings(tmp_path: Path) -> None:
    model, wavs, wav = tmp_path / "model", tmp_path / "wavs", tmp_path / "a.wav"
    make_model(model)
    wavs.mkdir()
    wav.touch()
    package = tmp_path / "a.zip"
    package.touch()
    for first in (model, tmp_path, package, tmp_path / "no" / "model", tmp_path / "no.zip", DEFAULT):
        assert split_words([str(first), str(wav)]) == (str(first), [str(wav)], False)
    for first in (wav, wavs, tmp_path / "no.wav", "-"):
        assert split_words([str(first), str(wav)]) == (DEFAULT, [str(first), str(wav)], True)


@pytest.mark.slow
def test_it_predicts_after_an_installation(repo: Path, tmp_path: Path) -> None:
    """From a wheel, outside the checkout, with nothing trained; its limits are said when nobody named it."""
    source = tmp_path / "source"
    names = ["ser", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "requirements*.txt"]
    line = ["git", "ls-files", "-z", *names]
    tracked = subprocess.run(line, cwd=repo, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((repo / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "-q"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run([*pip, *wheel], check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(built)], check=True)
    time_s = np.arange(24000) / 16000
    soundfile.write(tmp_path / "x.wav", 0.3 * np.sin(2 * np.pi * 220 * time_s) * np.hanning(24000), 16000)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    line = [sys.executable, "-m", "ser", "predict", "x.wav"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    head, row = done.stdout.splitlines()
    assert head.split("\t")[:8] == ["file", "start", "end", "emotion", "p_ang", "p_hap", "p_neu", "p_sad"]
    assert row.startswith("x.wav\t0.0\t1.5\t")
    said = f"no model was named, {DEFAULT} is taken, which comes with ser: {' '.join(LIMITS)}"
    assert said in done.stderr
