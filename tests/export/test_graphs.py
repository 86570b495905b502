"""Exported graphs say what the model says in use: any batch, any length, features inside or outside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ser import config
from ser.data.corpus import AudioConfig
from ser.errors import CheckpointError
from ser.export import build, write
from ser.export.features import Filterbank
from ser.export.graph import chunks_of
from ser.feats import cmvn
from ser.feats.base import Floats
from ser.feats.chunking import ChunkingConfig, chunk_table
from ser.feats.fbank import FbankSettings, log_mel
from ser.feats.sets import load_set
from ser.learn.calibration import FILE
from ser.learn.models import load_model, save_model
from ser.predict.model import Model
from ser.predict.result import Piece
from ser.systems import load_settings
from ser.systems.base import Sizes
from ser.systems.layers.speaker_norm import speaker_norm

onnxruntime = pytest.importorskip("onnxruntime")
REPO = Path(__file__).resolve().parents[2]
RATE = 16000
AUDIO = AudioConfig(RATE, None, "refuse")
EMOTIONS = ["ang", "hap", "neu", "sad"]
SYSTEMS = {
    "utterances": ("blstmatt_small", ["model.hidden=8", "features.norm=global", "features.vad.use=frames"]),
    "utterance_norm": ("blstmatt_small", ["model.hidden=8", "features.norm=utterance"]),
    "chunks": ("csa_small", ["model.channels=[4,8,16]", "features.norm=global", "features.level=utterance"]),
    "whole": ("csa_small", ["model.channels=[4,8,16]", "features.norm=none", "features.vad.use=none",
                            "features.cmvn.over=all", "unit.tail=pad", "unit.pooling=vote",
                            "model.head_pool=mean"]),
    "parts": ("csa_small", ["model.channels=[4,8,16]", "features.norm=global", "features.vad.use=none",
                            "unit.cut=parts", "unit.short_utt=pad", "unit.fill=zeros",
                            "unit.pooling=logmean"]),
    "speakers": ("blstmatt_small", ["model.hidden=8", "features.norm=speaker", "features.vad.use=none",
                                    "features.cmvn.over=all"]),
    "chunks_of_speakers": ("csa_small", ["model.channels=[4,8,16]", "features.norm=speaker",
                                         "features.vad.use=none", "features.cmvn.over=all"]),
    "segments": ("attention_pooling", ["features.sets=[fbank]", "model.channels=[2,4,4,4,8]"]),
    "convolutions": ("cnn_lstm", ["features.sets=[fbank]", "model.channels=[2,3,4]", "model.hidden=8"]),
    "capsules": ("cnn_gru_seqcap", ["features.sets=[fbank]", "model.hidden=8", "model.channels=4",
                                    "model.primary_values=4"]),
    "recurrent": ("cnn_reccap", ["features.sets=[fbank]", "model.channels=4", "model.primary_values=4",
                                 "features.norm=utterance", "features.cmvn={over: all, values: together}"]),
}  # fmt: skip
FILTERS = {"capsules": ["num_mel_bins=40"], "recurrent": ["num_mel_bins=40"]}


def make(folder: Path, name: str, *fbank: str) -> Path:
    """A model folder of a network that has not learnt anything, with statistics of noise."""
    conf, overrides = SYSTEMS[name]
    system, settings = load_settings(REPO / "conf" / f"{conf}.yaml", overrides)
    features = load_set(REPO / "conf" / "fbank.yaml", AUDIO, overrides=fbank)
    energy = load_set(REPO / "conf" / "energy.yaml", AUDIO)
    vad = config.read_yaml(REPO / "conf" / "vad.yaml") | {"made": energy.to_dict()}
    sizes = Sizes({"fbank": features.make().dim}, 4, {})
    torch.manual_seed(3)
    network = system.build(settings, sizes)
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(2.0)
    noise = features.make().compute(noise_of(8.0, 9), "x")
    noise = noise - (noise.mean() if settings.features.level == "utterance" else 0)
    save_model(
        folder,
        settings=settings,
        emotions=EMOTIONS,
        sets={"fbank": features.to_dict()},
        sizes=sizes,
        arrays={key: values.numpy() for key, values in network.state_dict().items()},
        stats={"fbank": cmvn.stats(noise)},
        facts={"seed": 3, "vad": vad},
    )
    return folder


def noise_of(seconds: float, seed: int, samples: int = 400) -> Floats:
    """Bursts of noise between silence: so many seconds behind the samples of a frame."""
    number = samples + round(seconds * RATE)
    random = np.random.default_rng(seed)
    loud = np.repeat(random.choice([1e-4, 0.02, 0.3], size=number // 3000 + 1), 3000)[:number]
    noise: Floats = (loud * random.standard_normal(number)).clip(-1, 1).astype(np.float32)
    return noise


RECORDINGS = [noise_of(seconds, seed) for seed, seconds in enumerate((0.0, 0.01, 0.33, 0.9, 2.7, 6.1, 130.0))]


def pieces(recordings: Sequence[Floats]) -> list[Piece]:
    return [Piece(f"{i}", "a", 0.0, len(x) / RATE, x) for i, x in enumerate(recordings)]


def load_script(path: Path, told: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """A TorchScript file and its metadata; torch says that its loader is deprecated."""
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        loaded = torch.jit.load(path, _extra_files=told)  # type: ignore[no-untyped-call]
    return loaded, told


def run(path: Path, kind: str, inputs: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    if kind == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given: list[np.ndarray[Any, Any]] = session.run(None, inputs)
        return given
    loaded, _ = load_script(path, {})
    return [value.numpy() for value in loaded(*map(torch.from_numpy, inputs.values()))]


def padded(rows: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Arrays of unlike lengths as one, with what must not matter behind them."""
    batch = np.full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), 0.77, np.float32)
    for row, values in zip(batch, rows, strict=True):
        row[: len(values)] = values
    return batch


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_graph_says_what_the_model_says(tmp_path: Path, name: str, kind: str) -> None:
    folder = make(tmp_path / "model", name, *FILTERS.get(name, []))
    (folder / FILE).write_text(json.dumps({"format": 1, "temperature": 1.7, "emotions": EMOTIONS}))
    model = Model(load_model(folder), use_gpu="no")
    speakers = model.speakers(pieces(RECORDINGS)) if model.needs_speakers else None
    expected = list(model.results(pieces(RECORDINGS), speakers))
    statistics = {}
    if speakers is not None:
        mean, std = cmvn.mean_and_std(speakers.sums["fbank"]["a"])
        statistics = {"fbank_mean": mean, "fbank_std": std}
        norm = speaker_norm(model.trained.network)
        assert norm is not None
        pooled_mean, pooled_std = norm.scales(speakers.sums[""]["a"]).numpy()
        statistics |= {"pooled_mean": pooled_mean, "pooled_std": pooled_std}
    made = [model._preparation.front_end.make(x, "x", "x") for x in RECORDINGS]
    export = write.export_onnx if kind == "onnx" else write.export_torchscript
    for inside in (True, False):
        path = tmp_path / f"{name}_{inside}"
        names = export(model.trained, path, features_inside=inside)
        lengths = {True: [len(x) for x in RECORDINGS], False: [len(each.values["fbank"]) for each in made]}
        for rows in ([5, 0, 3, 2], [1], [4], [6]):
            inputs = {
                "samples": padded([RECORDINGS[i] for i in rows]),
                "num_samples": np.array([lengths[True][i] for i in rows]),
                "fbank": padded([made[i].values["fbank"] for i in rows]),
                "fbank_frames": np.array([lengths[False][i] for i in rows]),
                "speech": padded([np.float32(made[i].speech if made[i].speech is not None else [1])
                                  for i in rows]),
            }  # fmt: skip
            inputs |= {key: np.tile(value, (len(rows), 1)).astype("f4") for key, value in statistics.items()}
            posterior, calibrated, *attention = run(path, kind, {key: inputs[key] for key in names})
            for row, i in enumerate(rows):
                assert posterior[row] == pytest.approx(expected[i].posterior, abs=1e-4)
                assert calibrated[row] == pytest.approx(expected[i].calibrated, abs=1e-4)
                if attention:
                    weights = attention[0][row, : lengths[False][i]]
                    assert weights == pytest.approx(expected[i].attention, abs=1e-4)
    spread = np.ptp([each.posterior for each in expected], axis=0)
    assert spread.max() > 0.01  # there is something to tell apart


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_graph_says_what_it_is(tmp_path: Path, kind: str) -> None:
    model = load_model(make(tmp_path / "model", "chunks"))
    export = write.export_onnx if kind == "onnx" else write.export_torchscript
    export(model, tmp_path / "graph", features_inside=True)
    if kind == "onnx":
        session = onnxruntime.InferenceSession(str(tmp_path / "graph"), providers=["CPUExecutionProvider"])
        told = session.get_modelmeta().custom_metadata_map
        assert [each.shape for each in session.get_inputs()] == [["utterances", "samples"], ["utterances"]]
    else:
        told = dict.fromkeys(build.metadata(model, build.make_graph(model, features_inside=True)), "")
        _, told = load_script(tmp_path / "graph", told)
    values = {key: json.loads(value) for key, value in told.items()}
    assert values["emotions"] == EMOTIONS
    assert (values["normalisation"], values["sampling_rate_hz"], values["least_samples"]) == (
        "global", RATE, 400,
    )  # fmt: skip
    assert values["inputs"] == ["samples", "num_samples"]
    assert values["outputs"] == ["posterior"]
    assert values["sets"]["fbank"]["settings"]["num_mel_bins"] == 23


FBANKS = [
    [],
    ["snip_edges=false", "window=povey", "preemphasis=0.97", "remove_dc_offset=true", "use_power=false"],
    ["sample_scale=unit", "num_mel_bins=40", "frame_shift_ms=7.5", "low_freq_hz=20.0", "high_freq_hz=-400.0"],
]


@pytest.mark.parametrize("overrides", FBANKS, ids=["recipe", "kaldi", "other"])
def test_the_filterbank_is_the_recipes(overrides: list[str]) -> None:
    settings = config.load(FbankSettings, REPO / "conf" / "fbank.yaml", overrides)
    recordings = [
        noise_of(seconds, seed) + np.float32(0.01) for seed, seconds in ((1, 0.0), (2, 0.5), (3, 2.0))
    ]
    with torch.no_grad():
        values, frames = Filterbank(settings)(
            torch.from_numpy(padded(recordings)), torch.tensor([len(x) for x in recordings])
        )
    for row, samples in enumerate(recordings):
        expected = log_mel(samples, settings)
        assert int(frames[row]) == len(expected)
        assert values[row, : len(expected)].numpy() == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("tail", ["drop", "pad", "shift_back"])
@pytest.mark.parametrize("cut", ["sliding", "parts"])
@pytest.mark.parametrize("shift", [None, 7, 45])
def test_chunks_are_the_recipes(tail: Any, cut: Any, shift: int | None) -> None:
    unit = ChunkingConfig(30, 10, shift, tail, "pad", "mean", cut)
    total = [1, 29, 30, 31, 50, 51, 120, 200]
    starts, lengths, real = (values.numpy() for values in chunks_of(unit, torch.tensor(total)))
    for row, number in enumerate(total):
        expected = chunk_table([number], unit.in_decoding)
        assert starts[row][real[row]].tolist() == expected.starts.tolist()
        assert lengths[row][real[row]].tolist() == expected.lengths.tolist()


def test_what_no_graph_can_is_refused(tmp_path: Path) -> None:
    def refusal(folder: Path, changes: dict[str, Any] | None = None) -> str:
        model = load_model(folder)
        if changes:
            model = replace(model, **changes)
        with pytest.raises(CheckpointError) as error:
            build.make_graph(model, features_inside=True)
        return str(error.value).removeprefix(str(folder))

    noisy = make(tmp_path / "noisy", "whole", "dither=1.0")
    outside = "export it with --features outside"
    assert refusal(noisy) == f" (features fbank): adds noise (dither 1), which no graph can; {outside}"
    model = load_model(make(tmp_path / "model", "chunks"))
    other = {"functionals": {"settings": {"extractor": "functionals"}}}
    assert refusal(model.folder, {"sets": other}) == (
        f": reads functionals; only the set of a single filterbank can be made inside the graph; {outside}"
    )
    neural = model.facts | {"vad": model.facts["vad"] | {"made": {"settings": {"extractor": "silero"}}}}
    assert refusal(model.folder, {"facts": neural}) == (
        f": finds speech with silero; only log energies can be made inside the graph; {outside}"
    )
    majority, settings = load_settings(REPO / "conf" / "majority.yaml")
    assert refusal(model.folder, {"system": majority, "settings": settings}) == (
        ": its system majority is no network, which alone become graphs; export a package, or a network"
    )


def test_a_file_that_would_say_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(make(tmp_path / "model", "whole"))
    monkeypatch.setattr(write, "TOLERANCE", -1.0)
    out = tmp_path / "graph.pt"
    with pytest.raises(CheckpointError, match=f"^{out}: not written, its posterior would be "):
        write.export_torchscript(model, out, features_inside=False)
    assert not out.exists()
