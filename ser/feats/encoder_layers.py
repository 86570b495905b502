"""Transformer layers of a pretrained encoder, for a network that trains them further.

They are those above the layer whose output a feature set holds, of Whisper, wav2vec 2.0, HuBERT or data2vec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ser.errors import ConfigError
from ser.feats.encoder_files import EncoderFiles, find_files, read_front

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = "self_attn", "attention"  # what Whisper's layers call it, and those of wav2vec 2.0 and relatives
# our name -> name in Whisper's layers, and in those of wav2vec 2.0 and relatives
_NAMES = {
    "join": ("self_attn.out_proj", "attention.out_proj"),
    "norm1": ("self_attn_layer_norm", "layer_norm"),
    "linear1": ("fc1", "feed_forward.intermediate_dense"),
    "linear2": ("fc2", "feed_forward.output_dense"),
    "norm2": ("final_layer_norm", "final_layer_norm"),
}


@dataclass(frozen=True)
class LayerShape:
    """What a layer is, besides its weights and the values of a frame."""

    heads: int  # of its attention
    feedforward: int  # values within
    norm_first: bool  # whether it normalises what it reads (Whisper), or what it adds up (wav2vec 2.0 base)


def read_layers(settings: Mapping[str, Any], count: int, shape: LayerShape) -> list[dict[str, Tensor]]:
    """The weights of layers of an encoder.

    Args:
        settings: of the feature set, as it was made: ``model``, ``revision``, digests, and one of ``layers``.
        count: how many layers above that one.
        shape: what they are expected to be.

    Returns:
        The lowest first, by the names of :class:`ser.systems.layers.transformer.TransformerLayer`.

    Raises:
        ConfigError: the encoder has other layers, or not so many; the features are not one layer of one.
        DataError, UsageError: it cannot be found or read, as for the feature set.
    """
    layers = settings.get("layers")
    if not isinstance(layers, (list, tuple)) or len(layers) != 1 or "weights_sha256" not in settings:
        raise ConfigError("features.sets must name a set with one layer of a pretrained encoder")
    files = find_files(str(settings["model"]), settings.get("revision"))
    front, first = read_front(files), int(layers[0])
    if files.weights_sha256() != settings["weights_sha256"]:
        raise ConfigError(f"{files.folder}: its weights are not those that the features were made with")
    if first + count > front.num_layers:
        raise ConfigError(
            f"tuning.layers must be {front.num_layers - first} or less: {files.name} has {front.num_layers} "
            f"layers, and the features are layer {first}"
        )
    _check_shape(files, shape)
    from ser.feats.encoder import load_network

    network = load_network(files, front, first + count)
    kind = 0 if front.kind == "mel" else 1
    modules = network.layers if kind == 0 else network.encoder.layers
    return [_renamed(files, module.state_dict(), kind) for module in list(modules)[first : first + count]]


def _check_shape(files: EncoderFiles, shape: LayerShape) -> None:
    """Refuse an encoder whose layers are of another kind than the settings say."""
    config, mel = files.config, files.config.get("model_type") == "whisper"
    heads = config.get("encoder_attention_heads" if mel else "num_attention_heads")
    feedforward = config.get("encoder_ffn_dim" if mel else "intermediate_size")
    first = mel or bool(config.get("do_stable_layer_norm", False))
    found = {"heads": heads, "feedforward": feedforward, "norm_first": first}
    asked = {"heads": shape.heads, "feedforward": shape.feedforward, "norm_first": shape.norm_first}
    if wrong := [name for name in asked if found[name] != asked[name]]:
        needed = ", ".join(f"model.{name}={_yaml(found[name])}" for name in wrong)
        raise ConfigError(f"the layers of {files.name} are others; set {needed}")
    activation = config.get("activation_function" if mel else "hidden_act", "gelu")
    if activation != "gelu" or config.get("layer_norm_eps", 1e-5) != 1e-5:
        raise ConfigError(f"the layers of {files.name} cannot be tuned: they are of a kind that is not known")


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _renamed(files: EncoderFiles, state: Mapping[str, Tensor], kind: int) -> dict[str, Tensor]:
    """Weights of a layer under our names; those of queries, keys and values stand together."""
    import torch

    prefix = ATTENTION[kind]
    wanted = {f"{theirs[kind]}.{part}" for theirs in _NAMES.values() for part in ("weight", "bias")}
    wanted |= {f"{prefix}.{each}_proj.{part}" for each in "qkv" for part in ("weight", "bias")}
    if state.keys() - wanted:
        raise ConfigError(
            f"the layers of {files.name} cannot be tuned: they have {min(state.keys() - wanted)}, which the "
            "layers of Whisper, wav2vec 2.0, HuBERT and data2vec have not"
        )
    size = len(state[f"{prefix}.q_proj.bias"])

    def stack(part: str, missing: Tensor) -> Tensor:
        return torch.cat([state.get(f"{prefix}.{each}_proj.{part}", missing) for each in "qkv"])

    renamed = {f"project.{part}": stack(part, torch.zeros(size)) for part in ("weight", "bias")}
    for ours, theirs in _NAMES.items():
        renamed |= {f"{ours}.{part}": state[f"{theirs[kind]}.{part}"] for part in ("weight", "bias")}
    return renamed
