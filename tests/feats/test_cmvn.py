from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from ser.data import tables
from ser.errors import DataError
from ser.feats import cmvn
from tests.lost import check_made_again


def features(num_frames: int, seed: int = 0) -> cmvn.Floats:
    """Log energies as of speech, (num_frames, 23)."""
    return np.random.default_rng(seed).normal(12.0, 3.0, (num_frames, 23)).astype(np.float32)


def test_statistics_are_kaldis_sums() -> None:
    x = np.array([[1, 2], [3, 4], [5, 9]], dtype=np.float32)
    assert cmvn.stats(x).tolist() == [[9, 15, 3], [35, 101, 0]]
    assert cmvn.stats(x).dtype == np.float64


def test_statistics_add_up_to_those_of_all_frames() -> None:
    x = features(500)
    together = cmvn.stats(x[:123]) + cmvn.stats(x[123:400]) + cmvn.stats(x[400:])
    np.testing.assert_allclose(together, cmvn.stats(x), rtol=1e-12)


def test_mean_becomes_0_and_variance_1() -> None:
    x = features(1000)
    y = cmvn.normalise(x, cmvn.stats(x))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.mean(axis=0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=0, dtype=np.float64), 1, atol=1e-5)


def test_normalising_is_what_numpy_says_in_float64() -> None:
    x, others = features(50, 1), features(300, 2)
    z = others.astype(np.float64)
    expected = (x - z.mean(axis=0)) / z.std(axis=0)
    np.testing.assert_allclose(cmvn.normalise(x, cmvn.stats(others)), expected, rtol=1e-5, atol=1e-6)


def test_statistics_of_all_values_are_one_mean_and_one_deviation() -> None:
    x = np.array([[1, 2], [3, 4], [5, 9]], dtype=np.float32)  # mean 4, variance 136 / 6 - 16
    mean, std = cmvn.mean_and_std(cmvn.over_values(cmvn.stats(x)))
    np.testing.assert_allclose(mean, [4, 4], rtol=1e-12)
    np.testing.assert_allclose(std, [np.sqrt(136 / 6 - 16)] * 2, rtol=1e-12)
    many = features(300, 2)
    y = cmvn.normalise(many, cmvn.over_values(cmvn.stats(many)))
    wanted = (many - many.astype(np.float64).mean()) / many.astype(np.float64).std()
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(y.mean(axis=0)).max() > 1e-3  # a filter alone keeps its own


@pytest.mark.parametrize("num_frames", [1, 7])
def test_a_filter_that_never_changes_becomes_0(num_frames: int) -> None:
    x = np.full((num_frames, 4), -15.942385, dtype=np.float32)
    np.testing.assert_allclose(cmvn.normalise(x, cmvn.stats(x)), 0, atol=1e-6)


def test_statistics_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(DataError, match="shape \\(2, 5\\) that count no frames cannot be used"):
        cmvn.mean_and_std(np.zeros((2, 5)))
    with pytest.raises(DataError, match="of 23 values a frame do not fit features of 40"):
        cmvn.normalise(np.zeros((3, 40)), cmvn.stats(features(5)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the sets ``fbank``, its main one, and ``vectors``."""
    for name in ("fbank", "vectors"):
        with tables.ArkWriter(tmp_path / name / "feats") as writer:
            for number, key in enumerate("abc"):
                writer.write(key, features(10 + number, number) if name == "fbank" else np.ones(5))
        (tmp_path / name / "settings.yaml").write_text("audio: {}\n")
    tables.write_table(tmp_path / "fbank" / "utt2num_frames", {"a": 10, "b": 11, "c": 12})
    (tmp_path / "feats.yaml").write_text("set: fbank\n")
    return tmp_path


@pytest.mark.parametrize("options", [(), ("--set", "fbank")])
def test_the_verb_writes_statistics_of_every_utterance(
    data: Path, run_verb: Callable[..., CompletedProcess[str]], options: tuple[str, ...]
) -> None:
    first = run_verb("compute_cmvn", *options, data)
    assert (first.returncode, first.stdout) == (0, "")
    reader = tables.ArkReader(data / "fbank" / "cmvn_utt.scp")
    assert list(reader.places) == ["a", "b", "c"]
    for number, key in enumerate("abc"):
        np.testing.assert_array_equal(reader.read(key), cmvn.stats(features(10 + number, number)))
    again = run_verb("compute_cmvn", *options, data)
    assert again.returncode == 0
    assert again.stderr.endswith(f"{data}/fbank/cmvn_utt.scp: up to date\n")


def test_lost_statistics_are_made_again(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    cmvn.compute(data, "fbank", lambda keys, _: keys)
    names = {"../cmvn_utt.scp", "cmvn_utt.ark", "cmvn_utt.scp"}
    check_made_again(
        data / "fbank" / "cmvn", names, lambda: cmvn.compute(data, "fbank", lambda keys, _: keys), caplog
    )


def test_new_features_give_new_statistics(data: Path) -> None:
    cmvn.compute(data, "fbank", lambda keys, _: keys)
    with tables.ArkWriter(data / "fbank" / "feats") as writer:
        writer.write("a", features(99))
    cmvn.compute(data, "fbank", lambda keys, _: keys)
    reader = tables.ArkReader(data / "fbank" / "cmvn_utt.scp")
    assert list(reader.places) == ["a"]
    assert reader.read("a")[0, -1] == 99


def test_other_recordings_of_the_same_length_give_new_statistics(data: Path) -> None:
    tables.write_table(data / "fbank" / "utt2digest", {"a": "1", "b": "2", "c": "3"})
    cmvn.compute(data, "fbank", lambda keys, _: keys)
    with tables.ArkWriter(data / "fbank" / "feats") as writer:
        for number, key in enumerate("abc"):
            writer.write(key, features(10 + number, 100 + number))
    tables.write_table(data / "fbank" / "utt2digest", {"a": "4", "b": "5", "c": "6"})
    cmvn.compute(data, "fbank", lambda keys, _: keys)
    np.testing.assert_array_equal(
        tables.ArkReader(data / "fbank" / "cmvn_utt.scp").read("c"), cmvn.stats(features(12, 102))
    )


def test_vectors_have_none(data: Path) -> None:
    with pytest.raises(DataError) as error:
        cmvn.compute(data, "vectors", lambda keys, _: keys)
    assert (
        str(error.value)
        == f"{data}/vectors: has a vector for each utterance, no frames; name a set of frames"
    )
    assert cmvn.frame_sets(data) == ["fbank"]


def test_without_features_the_stage_is_named(
    tmp_path: Path, run_verb: Callable[..., CompletedProcess[str]]
) -> None:
    result = run_verb("compute_cmvn", tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"ser: error: {tmp_path}: has no features; run stage 1\n"
    result = run_verb("compute_cmvn", "--set", "align_fbank", tmp_path)
    assert result.stderr == f"ser: error: {tmp_path}/align_fbank/feats.scp: no such file; run stage 1\n"
