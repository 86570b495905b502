"""Masking and integrated gradients, on networks whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("captum", reason="utils/install.sh --extra interpret is not done")

from ser import config
from ser.data import tables
from ser.data.tsv import read_tsv, write_tsv
from ser.errors import CheckpointError, DataError
from ser.interpret import masking
from ser.interpret.maps import Attended
from ser.interpret.masking import CONDITIONS, Gradient, Masked, choose_frames
from ser.interpret.nulls import CONSONANT, VOWEL
from ser.interpret.probing import Probe, ProbeSettings, probe_folder, read_tasks
from ser.learn.models import save_model
from ser.systems.base import Inputs, Network, Outputs, Sizes
from ser.systems.blstmatt import Blstmatt, BlstmattSettings
from tests.interpret.conftest import FBANK, write_set
from tests.lost import check_made_again

CODE = "tests.interpret.test_probing:SYSTEM"


class Linear(nn.Module):
    """Logit 0 is the mean of value 0 over frames, and of any vector; logit 1 is 0; attention is uniform."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, inputs: Inputs) -> Outputs:
        x, num_frames = inputs.main
        assert num_frames.eq(x.shape[1]).all()
        logit = self.scale * x[..., 0].mean(1)
        if "vector" in inputs.features:
            assert len(inputs.features["vector"]) == len(x)
            logit = logit + inputs.features["vector"].mean(1)
        weights = torch.full(x.shape[:2], 1.0 / x.shape[1])
        return Outputs(torch.stack([logit, 0 * logit], dim=1), weights)


SYSTEM = Network(BlstmattSettings, lambda _settings, _sizes: Linear(), frame_attention=True)
SILENT = Network(BlstmattSettings, lambda _settings, _sizes: Linear())


def utterance(x: np.ndarray, **vectors: np.ndarray) -> Inputs:
    """A batch of one."""
    more = {name: torch.from_numpy(vector)[None] for name, vector in vectors.items()}
    return Inputs({"fbank": torch.from_numpy(x)[None], **more}, {"fbank": torch.tensor([len(x)])})


def rows(kinds: list[tuple[str, int]]) -> list[Attended]:
    made, first = [], 0
    for kind, frames in kinds:
        made.append(
            Attended("u", "s", "ang", "ang", "right", kind, kind[0], first, frames, 0.1, 1.0, 1.0, 0.5)
        )
        first += frames
    return made


KINDS = [("silence", 5), ("vowel", 6), ("consonant", 6), ("vowel", 6), ("consonant", 6), ("silence", 3)]


def features(seed: int = 0) -> np.ndarray:
    """Value 0 is 1 in vowels and 0 elsewhere; the others are noise."""
    x = np.random.default_rng(seed).normal(size=(32, 4)).astype(np.float32)
    x[:, 0] = 0
    x[5:11, 0] = x[17:23, 0] = 1
    return x


def test_a_linear_network_is_explained_exactly() -> None:
    """Attribution of frame t to logit 0: 8 (x_t0 - mean x_0) / T."""
    x = features()
    by_frame, hyp = Probe(Linear(), ("ang", "sad"), 8).integrated_gradients(utterance(x))
    assert hyp == 0
    np.testing.assert_allclose(by_frame, 8 * (x[:, 0] - x[:, 0].mean()) / 32, atol=1e-6)


def test_attributions_sum_to_the_rise_of_the_logit() -> None:
    """Completeness, on a BLSTMATT."""
    torch.manual_seed(3)
    network = Blstmatt(
        num_values=4, num_classes=3, hidden=8, layers=2, attention_dim=6, frame_stack=3, dropout=0.0
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    x = features(1)
    probe = Probe(network, ("ang", "hap", "sad"), 200)
    by_frame, hyp = probe.integrated_gradients(utterance(x))
    mean = np.tile(x.mean(0), (len(x), 1))
    with torch.inference_mode():
        rise = [float(network(utterance(v)).logits[0, hyp]) for v in (x, mean)]
    assert abs(rise[0] - rise[1]) > 1e-3
    assert by_frame.sum() == pytest.approx(rise[0] - rise[1], rel=1e-3)


def test_masking_vowels_lowers_what_rests_on_vowels() -> None:
    probe = Probe(Linear(), ("ang", "sad"), 8)
    outcomes = {row.condition: row for row in probe.mask(utterance(features()), rows(KINDS), 0.25, 5, 0)}
    assert tuple(outcomes) == CONDITIONS
    assert {row.frames for row in outcomes.values()} == {6}  # a quarter of 24
    mean = 12 / 32
    vowel = 8 * (12 - 6 + 6 * mean) / 32  # six vowel frames become the mean frame
    consonant = 8 * (12 + 6 * mean) / 32
    logistic = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    assert outcomes["vowel"].posterior == pytest.approx(logistic(8 * mean))
    assert outcomes["vowel"].masked == pytest.approx(logistic(vowel))
    assert outcomes["consonant"].masked == pytest.approx(logistic(consonant))
    assert outcomes["vowel"].log_odds == pytest.approx(8 * mean - vowel)
    assert outcomes["vowel"].changed == 0


def test_kinds_in_gradients() -> None:
    by_kind = {
        row.kind: row
        for row in Probe(Linear(), ("ang", "sad"), 8).attribute(utterance(features()), rows(KINDS))
    }
    assert {kind: row.frames for kind, row in by_kind.items()} == {"consonant": 12, "silence": 8, "vowel": 12}
    expected = np.abs(features()[:, 0] - 12 / 32)
    assert by_kind["vowel"].magnitude == pytest.approx((1 - 12 / 32) / expected.mean(), rel=1e-5)
    assert by_kind["vowel"].attention == pytest.approx(1)
    assert np.isnan(by_kind["vowel"].correlation)  # uniform attention has no ranks


def test_other_feature_sets_stay_as_they_are() -> None:
    """The logit of a vector beside the frames is the same in all variants, and gets no attribution."""
    x, vector = features(), np.array([0.5, 1.5], np.float32)
    probe = Probe(Linear(), ("ang", "sad"), 8)
    alone = {row.condition: row for row in probe.mask(utterance(x), rows(KINDS), 0.25, 5, 0)}
    for row in probe.mask(utterance(x, vector=vector), rows(KINDS), 0.25, 5, 0):
        odds = np.log(row.masked / (1 - row.masked))
        other = alone[row.condition].masked
        assert row.frames == 6
        if row.condition in ("vowel", "consonant"):  # all draws fall alike
            assert odds == pytest.approx(np.log(other / (1 - other)) + 1, abs=1e-4)
    by_frame, _ = probe.integrated_gradients(utterance(x, vector=vector))
    np.testing.assert_allclose(by_frame, probe.integrated_gradients(utterance(x))[0], atol=1e-6)


def test_nothing_is_masked_where_there_is_too_little() -> None:
    few = rows([("vowel", 2), ("consonant", 28), ("silence", 2)])
    assert Probe(Linear(), ("ang", "sad"), 8).mask(utterance(features()), few, 0.25, 3, 0) == []


def test_frames_are_chosen_within_the_budget() -> None:
    random = np.random.default_rng(0)
    segments = np.array([(4 * i, 4, VOWEL if i % 2 else CONSONANT) for i in range(10)])
    weights = random.random(40)
    chosen = choose_frames(segments, weights, 10, 4, 1)
    assert chosen is not None
    for condition, draws in chosen.items():
        assert len(draws) == (1 if condition in ("top", "bottom") else 4)
        for frames in draws:
            assert len(set(frames.tolist())) == 10
            kinds = {int(frame) // 4 % 2 for frame in frames}
            assert condition not in ("vowel", "consonant") or kinds == {int(condition == "vowel")}
    a_phone = weights.reshape(10, 4).mean(1)
    assert set((chosen["top"][0] // 4).tolist()) == set(np.argsort(-a_phone)[:3].tolist())
    assert set((chosen["bottom"][0] // 4).tolist()) == set(np.argsort(a_phone)[:3].tolist())


# ---------------------------------------------------------------------------------------------------- folders


@pytest.fixture
def probed(tmp_path: Path, repo: Path) -> tuple[Path, Path, Path]:
    """A model of a system that only this file knows, two utterances, and the map of one of them."""
    data, model, mapped = tmp_path / "data", tmp_path / "model", tmp_path / "map"
    utts = {"u1": features(), "u2": features(1)}
    write_set(data, FBANK, {utt: len(x) for utt, x in utts.items()}, main=True)
    with tables.ArkWriter(data / "feats") as writer:
        for utt, x in utts.items():
            writer.write(utt, x)
    tables.write_table(data / "utt2spk", dict.fromkeys(utts, "s"))
    tree = config.resolve(repo / "conf" / "blstmatt.yaml", [f"system={CODE}", "features.norm=none"])
    save_model(
        model, settings=config.build(BlstmattSettings, tree, "test"), emotions=("ang", "sad"),
        sets={"fbank": FBANK.to_dict()}, sizes=Sizes({"fbank": 4}, 2, {}),
        arrays={"scale": np.array(8.0, np.float32)}, stats={}, facts={},
    )  # fmt: skip
    write_tsv(mapped / "phone_attn.tsv", Attended, [row._replace(utt="u1") for row in rows(KINDS)])
    return model, data, mapped


SETTINGS = ProbeSettings(fraction=0.25, num_draws=2, num_steps=8, max_utterances=0, seed=0)


def test_any_system_with_frame_attention_is_probed(probed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    probe_folder(*probed, out, SETTINGS, [CODE])
    outcomes = read_tsv(out / masking.MASKING, Masked)
    assert [(row.utt, row.condition, row.frames) for row in outcomes] == [("u1", c, 6) for c in CONDITIONS]
    gradients = read_tsv(out / masking.GRADIENTS, Gradient)
    assert [(row.utt, row.kind) for row in gradients] == [
        ("u1", k) for k in ("consonant", "silence", "vowel")
    ]
    stamp = (out / masking.MASKING).stat().st_mtime_ns
    probe_folder(*probed, out, SETTINGS, [CODE])
    assert (out / masking.MASKING).stat().st_mtime_ns == stamp


def test_phones_are_found_among_the_frames_that_are_read(
    probed: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The silences at both ends are cut off; a phone that is not read is none, and u2's whole map is not."""
    model, data, mapped = probed
    speech = {"u1": np.arange(32), "u2": np.arange(32)}
    with tables.ArkWriter(data / "vad") as writer:
        for utt, frame in speech.items():
            writer.write(utt, ((frame >= 5) & (frame < 29 if utt == "u1" else frame < 8)).astype(np.float32))
    (data / "vad.yaml").write_text("set: energy\n")
    path = model / "model.json"
    tree = json.loads(path.read_text())
    tree["settings"]["features"]["vad"] = {"use": "trim", "margin_ms": 0.0}
    path.write_text(json.dumps(tree | {"vad": {"set": "energy"}}))
    late = Attended("u2", "s", "ang", "ang", "right", "vowel", "v", 20, 4, 0.1, 1.0, 1.0, 0.5)
    write_tsv(mapped / "phone_attn.tsv", Attended, [row._replace(utt="u1") for row in rows(KINDS)] + [late])
    out = tmp_path / "out"
    caplog.set_level("INFO")
    probe_folder(*probed, out, SETTINGS, [CODE])
    assert f"{data}: the system reads no phone of u2, which is not probed" in caplog.messages
    outcomes = {row.condition: row for row in read_tsv(out / masking.MASKING, Masked)}
    logit = 8 * (12 - 6 + 6 * 12 / 24) / 24  # of 24 frames six of vowels become the mean frame
    assert outcomes["vowel"].masked == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)
    gradients = read_tsv(out / masking.GRADIENTS, Gradient)
    assert [(row.kind, row.frames) for row in gradients] == [("consonant", 12), ("vowel", 12)]
    assert {row.attention for row in gradients} == {1.0}  # against uniform over the frames that are read


def test_lost_outcomes_are_made_again(
    probed: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    probe_folder(*probed, out, SETTINGS, [CODE])
    names = {masking.MASKING, masking.GRADIENTS}
    check_made_again(out, names, lambda: probe_folder(*probed, out, SETTINGS, [CODE]), caplog)


def test_code_that_is_not_allowed(probed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"allow it by name: --allow-code {CODE}$"):
        probe_folder(*probed, tmp_path / "out", SETTINGS)


def test_a_system_without_frame_attention(probed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model = probed[0]
    path = model / "model.json"
    path.write_text(path.read_text().replace(":SYSTEM", ":SILENT"))
    with pytest.raises(DataError) as error:
        probe_folder(*probed, tmp_path / "out", SETTINGS, [CODE.replace("SYSTEM", "SILENT")])
    assert str(error.value) == (
        f"{model}: has no attention over the frames of utterances; probe a system that has"
    )


def test_a_map_of_other_utterances(probed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, data, mapped = probed
    write_tsv(mapped / "phone_attn.tsv", Attended, rows(KINDS))
    with pytest.raises(DataError) as error:
        probe_folder(model, data, mapped, tmp_path / "out", SETTINGS, [CODE])
    assert str(error.value) == f"{mapped}: has no utterance of {data}; map the attention of this subset"


def test_a_task_list(tmp_path: Path) -> None:
    path = tmp_path / "probe.tsv"
    path.write_text(f"m\td\ta\to\nm\td\ta\tp\t{CODE}\n")
    one = (Path("m"), Path("d"), Path("a"))
    assert read_tasks(path) == [(*one, Path("o"), ()), (*one, Path("p"), (CODE,))]
    path.write_text("m\td\ta\n")
    with pytest.raises(DataError) as error:
        read_tasks(path)
    assert str(error.value) == (
        f"{path}:1: expected '<model><TAB><data><TAB><map><TAB><out>' and any allowed code, got 'm\\td\\ta'; "
        "correct the line"
    )
