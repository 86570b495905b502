"""A pretrained encoder at work, through the library transformers: samples in, outputs of its layers out.

Layer 0 is what goes into the first Transformer layer, layer l the output of the l-th one; the last one's is
that of the whole encoder, after its last normalisation where it has one.

Shapes: N samples, T frames, H values of a layer's output, L layers that are wanted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser import reading
from ser.errors import DataError, MissingPackageError, UsageError
from ser.feats.base import Floats
from ser.feats.encoder_files import CONFIG, MISSING, EncoderFiles, Front

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Encoder:
    """An encoder with as many layers as are wanted."""

    def __init__(
        self, files: EncoderFiles, front: Front, layers: Sequence[int], dtype: str, device: str, *, pad: bool
    ) -> None:
        """Load it.

        Args:
            files: of the model.
            front: what they say of frames.
            layers: whose outputs are wanted.
            dtype: of weights and arithmetic, a key of :data:`DTYPES`.
            device: cpu, cuda, or auto: a GPU where there is one.
            pad: Whisper's input is padded with zeros to the longest it takes, as it was trained.

        Raises:
            UsageError: transformers cannot be loaded, or there is no GPU.
            DataError: the weights are not those of the model that the folder says it is.
        """
        self._front, self._layers, self._pad = front, layers, pad
        self._dtype, self._device = DTYPES[dtype], _choose(device)
        self._network = load_network(files, front, max(layers)).to(self._device, self._dtype).eval()
        self._normalize = bool(files.front.get("do_normalize", False))
        self._mel = _mel_extractor(files) if front.kind == "mel" else None

    @torch.inference_mode()
    def hidden(self, samples: Floats) -> Floats:
        """Outputs of the layers that are wanted, side by side, (T, L * H).

        Args:
            samples: one channel in [-1, 1], (N,), no more than the encoder takes at once.
        """
        states = self._of_mel(samples) if self._mel else self._of_samples(samples)
        rows = self._front.num_frames(len(samples))
        joined = torch.cat([states[layer][0, :rows] for layer in self._layers], dim=1)  # (T, L * H)
        values: Floats = joined.float().cpu().numpy()
        return values

    def _of_mel(self, samples: Floats) -> dict[int, Tensor]:
        """Whisper's layers; of the positions only as many are added as there are frames."""
        assert self._mel is not None
        padding = "max_length" if self._pad else "do_not_pad"
        rate_hz = self._front.rate_hz
        mel = self._mel(samples, sampling_rate=rate_hz, padding=padding, return_tensors="pt")[
            "input_features"
        ]
        encoder = self._network
        x = torch.nn.functional.gelu(encoder.conv1(mel.to(self._device, self._dtype)))
        x = torch.nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)  # (1, T, H)
        x = x + encoder.embed_positions.weight[: x.shape[1]]
        states = {0: x}
        for number, layer in enumerate(encoder.layers, 1):
            x = states[number] = layer(x, None)
        if len(encoder.layers) == self._front.num_layers:
            states[self._front.num_layers] = encoder.layer_norm(x)
        return states

    def _of_samples(self, samples: Floats) -> dict[int, Tensor]:
        """The layers of an encoder that takes samples."""
        if self._normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        states: dict[int, Tensor] = {}
        layers = self._network.encoder.layers
        hooks = [layers[0].register_forward_pre_hook(_keep_input(states), with_kwargs=True)]
        hooks += [layer.register_forward_hook(_keep_output(states, n)) for n, layer in enumerate(layers, 1)]
        try:
            wave = torch.from_numpy(np.array(samples, np.float32))[None].to(self._device, self._dtype)
            last = self._network(wave).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        if len(layers) == self._front.num_layers:
            states[self._front.num_layers] = last
        return states


def _keep_input(states: dict[int, Tensor]) -> Any:
    def keep(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG001  (a hook's)
        states[0] = args[0] if args else kwargs["hidden_states"]

    return keep


def _keep_output(states: dict[int, Tensor], number: int) -> Any:
    def keep(layer: Any, args: Any, output: Any) -> None:  # noqa: ARG001  (a hook's)
        states[number] = output[0] if isinstance(output, tuple) else output

    return keep


# ------------------------------------------------------------------------------------------------- loading


def load_network(files: EncoderFiles, front: Front, top: int) -> Any:
    """The library's network of an encoder with its first ``top`` layers, at least one, in float32 on the CPU.

    Raises:
        UsageError: transformers cannot be loaded.
        DataError: the weights are not those of the model that the folder says it is.
    """
    transformers = _library()
    path = files.folder / CONFIG
    options: dict[str, Any] = {
        "use_safetensors": True,
        "trust_remote_code": False,
        "local_files_only": True,
        "dtype": torch.float32,
        "output_loading_info": True,
    }
    with _quiet(transformers), reading.guarded(files.folder, "copy it again", what="cannot be loaded"):
        config = transformers.AutoConfig.from_pretrained(
            files.folder, trust_remote_code=False, local_files_only=True
        )
        if front.kind == "mel":
            config.encoder_layers = max(top, 1)
            options["key_mapping"] = {r"^(model\.)?encoder\.": ""}
            kind = transformers.models.whisper.modeling_whisper.WhisperEncoder
        else:
            config.num_hidden_layers = max(top, 1)
            config.add_adapter = False  # it comes behind the layers, and has frames of its own
            kind = transformers.AutoModel
        network, info = kind.from_pretrained(files.folder, config=config, **options)
    missing = sorted(name for name in info["missing_keys"] if name != "masked_spec_embed")  # training's alone
    wrong = missing or sorted(str(item) for item in info["mismatched_keys"]) or list(info["error_msgs"])
    if wrong:
        raise DataError(
            f"{path}: its weights are of another model ({wrong[0]} is not among them); copy it again"
        )
    return network


def _choose(device: str) -> torch.device:
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise UsageError("device cuda: torch finds no GPU here; say cpu or auto, or use a machine with one")
    return torch.device("cpu" if device == "cpu" or not found else "cuda")


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingPackageError(MISSING) from error
    return transformers


def _mel_extractor(files: EncoderFiles) -> Any:
    return _library().WhisperFeatureExtractor.from_dict({**files.front, "dither": 0.0})


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep what the library prints while it loads: a bar, and a table of the layers that are not wanted."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
