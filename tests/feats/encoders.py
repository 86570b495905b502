"""Tiny encoders with random weights, one of each family, made from their configurations; second opinions.

The forward passes are written from the equations of the papers (Radford et al. 2022, Baevski et al. 2020) in
numpy, and read the weights from the file themselves.

Shapes: N samples, T frames, H values of a layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch

# a module that imports this one is skipped without it
transformers = pytest.importorskip("transformers", reason="utils/install.sh --extra pretrained is not done")

Doubles = npt.NDArray[np.float64]
CONVS: dict[str, Any] = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (5, 4)}
SMALL: dict[str, Any] = {
    **CONVS,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
}
LARGE: dict[str, Any] = {
    **SMALL,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
}
WHISPER: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 20,
    "max_source_positions": 100,  # 2 s
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "whisper": ("Whisper", WHISPER),
    "wav2vec2": ("Wav2Vec2", SMALL),
    "wav2vec2-large": ("Wav2Vec2", LARGE),
    "hubert": ("Hubert", SMALL),
    "wavlm": ("WavLM", SMALL),
    "wavlm-large": ("WavLM", LARGE),
    "data2vec-audio": ("Data2VecAudio", {**SMALL, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "unispeech-sat": ("UniSpeechSat", SMALL),
}


def make_encoder(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """A model of a family in ``folder``, as the library saves it."""
    kind, settings = FAMILIES[family]
    config = getattr(transformers, f"{kind}Config")(**{**settings, **changes})
    torch.manual_seed(seed)
    network = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():
        for weights in network.parameters():  # far from 0, so that every term counts
            weights.add_(0.1 * torch.randn_like(weights))
    network.save_pretrained(folder)
    if family == "whisper":
        front: Any = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=2)
    else:
        front = transformers.Wav2Vec2FeatureExtractor(do_normalize="large" in family)
    front.save_pretrained(folder)
    return folder


# ------------------------------------------------------------------------------------------ second opinions


def read_weights(folder: Path) -> dict[str, Doubles]:
    """All weights, float64."""
    return {
        name: values.astype(np.float64)
        for name, values in safetensors.numpy.load_file(folder / "model.safetensors").items()
    }


def log_mel(samples: npt.NDArray[Any], num_filters: int) -> Doubles:
    """Whisper's log-Mel spectrum, (T, F): 25 ms Hann windows each 10 ms, centred, the last one dropped."""
    padded = np.pad(samples.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.stack([padded[i : i + 400] for i in range(0, len(samples) + 1, 160)])[:-1]
    if len(samples) % 160:  # a window for each whole hop, and one at the start: the last is not counted
        frames = frames[: len(samples) // 160]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    energies = np.log10(np.maximum(power @ slaney_filters(num_filters).T, 1e-10))
    return (np.maximum(energies, energies.max() - 8) + 4) / 4


def slaney_filters(number: int) -> Doubles:
    """Triangles of area 1 on Slaney's Mel scale: linear to 1 kHz, then 27 steps a factor of 6.4; (F, 201)."""

    def hz(mel: Doubles) -> Doubles:
        return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))

    highest = 15 + 27 * math.log(8) / math.log(6.4)
    corners = hz(np.linspace(0, highest, number + 2))
    lines = np.arange(201) * 40.0
    rows = []
    for low, middle, high in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
        triangle = np.minimum((lines - low) / (middle - low), (high - lines) / (high - middle))
        rows.append(np.maximum(triangle, 0) * 2 / (high - low))
    return np.stack(rows)


def gelu(x: Doubles) -> Doubles:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def normalise(x: Doubles, weights: Mapping[str, Doubles], name: str, axis: int = -1) -> Doubles:
    """Layer normalisation of (T, H); over time (axis 0) the group normalisation with a group a channel."""
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Doubles, weights: Mapping[str, Doubles], name: str) -> Doubles:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", np.zeros(1))


def convolve(
    x: Doubles, kernel: Doubles, bias: Doubles | None, stride: int, pad: int, groups: int = 1
) -> Doubles:
    """(T, C) to (T', C'), window by window; the kernel is (C', C / groups, K)."""
    x = np.pad(x, ((pad, pad), (0, 0)))
    width = kernel.shape[2]
    rows = []
    for start in range(0, len(x) - width + 1, stride):
        window = x[start : start + width].T.reshape(groups, -1)  # (G, C / G * K)
        rows.append(np.einsum("goc,gc->go", kernel.reshape(groups, -1, window.shape[1]), window).ravel())
    return np.stack(rows) + (0 if bias is None else bias)


def attend(x: Doubles, weights: Mapping[str, Doubles], name: str, heads: int) -> Doubles:
    """Self-attention of (T, H)."""
    q, k, v = (linear(x, weights, f"{name}.{part}_proj") for part in "qkv")
    parts = []
    for own in np.split(np.arange(x.shape[1]), heads):
        scores = q[:, own] @ k[:, own].T / math.sqrt(len(own))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        parts.append(powers / powers.sum(axis=1, keepdims=True) @ v[:, own])
    return linear(np.concatenate(parts, axis=1), weights, f"{name}.out_proj")


def whisper_layers(folder: Path, samples: npt.NDArray[Any]) -> list[Doubles]:
    """Radford et al. 2022: what goes into the first layer, and every layer's output, (T, H) each."""
    config = json.loads((folder / "config.json").read_text())
    weights = {
        name.removeprefix("model.").removeprefix("encoder."): values
        for name, values in read_weights(folder).items()
        if "decoder" not in name
    }
    x = log_mel(samples, config["num_mel_bins"])
    x = gelu(convolve(x, weights["conv1.weight"], weights["conv1.bias"], 1, 1))
    x = gelu(convolve(x, weights["conv2.weight"], weights["conv2.bias"], 2, 1))
    x = x + weights["embed_positions.weight"][: len(x)]
    outputs = [x]
    for number in range(config["encoder_layers"]):
        name = f"layers.{number}"
        normal = normalise(x, weights, f"{name}.self_attn_layer_norm")
        x = x + attend(normal, weights, f"{name}.self_attn", config["encoder_attention_heads"])
        hidden = gelu(linear(normalise(x, weights, f"{name}.final_layer_norm"), weights, f"{name}.fc1"))
        x = x + linear(hidden, weights, f"{name}.fc2")
        outputs.append(x)
    outputs[-1] = normalise(x, weights, "layer_norm")
    return outputs


def wav2vec2_layers(folder: Path, samples: npt.NDArray[Any]) -> list[Doubles]:
    """Baevski et al. 2020, base (norm behind each block) and large (before it)."""
    config = json.loads((folder / "config.json").read_text())
    front = json.loads((folder / "preprocessor_config.json").read_text())
    weights, large = read_weights(folder), config["do_stable_layer_norm"]
    x = samples.astype(np.float64)[:, None]
    if front["do_normalize"]:
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    for number, stride in enumerate(config["conv_stride"]):
        name = f"feature_extractor.conv_layers.{number}"
        x = convolve(x, weights[f"{name}.conv.weight"], weights.get(f"{name}.conv.bias"), stride, 0)
        if large or number == 0:
            x = normalise(x, weights, f"{name}.layer_norm", -1 if large else 0)
        x = gelu(x)
    x = linear(
        normalise(x, weights, "feature_projection.layer_norm"), weights, "feature_projection.projection"
    )
    x = x + positions(x, weights, config)
    if not large:
        x = normalise(x, weights, "encoder.layer_norm")
    outputs = [x]
    for number in range(config["num_hidden_layers"]):
        x = wav2vec2_block(x, weights, f"encoder.layers.{number}", config["num_attention_heads"], large=large)
        outputs.append(x)
    if large:
        outputs[-1] = normalise(x, weights, "encoder.layer_norm")
    return outputs


def positions(x: Doubles, weights: Mapping[str, Doubles], config: Mapping[str, Any]) -> Doubles:
    """A grouped convolution, whose weights have a norm of their own for each place of the kernel."""
    name, width = "encoder.pos_conv_embed.conv", config["num_conv_pos_embeddings"]
    length, direction = (weights[f"{name}.parametrizations.weight.original{i}"] for i in (0, 1))
    kernel = length * direction / np.sqrt((direction**2).sum(axis=(0, 1), keepdims=True))
    groups = config["num_conv_pos_embedding_groups"]
    return gelu(convolve(x, kernel, weights[f"{name}.bias"], 1, width // 2, groups)[: len(x)])


def wav2vec2_block(
    x: Doubles, weights: Mapping[str, Doubles], name: str, heads: int, *, large: bool
) -> Doubles:
    def feed(x: Doubles) -> Doubles:
        hidden = gelu(linear(x, weights, f"{name}.feed_forward.intermediate_dense"))
        return linear(hidden, weights, f"{name}.feed_forward.output_dense")

    if large:
        x = x + attend(normalise(x, weights, f"{name}.layer_norm"), weights, f"{name}.attention", heads)
        return x + feed(normalise(x, weights, f"{name}.final_layer_norm"))
    x = normalise(x + attend(x, weights, f"{name}.attention", heads), weights, f"{name}.layer_norm")
    return normalise(x + feed(x), weights, f"{name}.final_layer_norm")
