"""The files of a pretrained encoder: where they are, whether they may be used, what they say of the frames.

A model is a folder in the layout of the library transformers: ``config.json``, ``preprocessor_config.json``
and weights as safetensors.  Here it is only looked at; neither torch nor transformers is loaded.

Shapes: N samples, T frames, H values of a layer's output.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ser import reading
from ser.cli import log
from ser.data.files import file_digest
from ser.errors import DataError, MissingPackageError, UsageError, short, shown
from ser.feats.base import Timing

CONFIG, FRONT = "config.json", "preprocessor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PLACES = "SER_PRETRAINED"  # variable: folders, separated by colons, that hold folders of models, or are one
MISSING = "the Python package transformers is missing; install it with: utils/install.sh --extra pretrained"
_SHARD = "model-*-of-*.safetensors"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)
_NEEDED = f"a folder with {CONFIG}, {FRONT} and {WEIGHTS}"
# keys of config.json on which no value of a frame depends
_IDLE_KEYS = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True)
class EncoderFiles:
    """A model's folder that may be used.

    Attributes:
        name: of the hub, or of the folder.
        revision: the hub's commit, where it is known.
        folder: where the files are.
        config: what ``config.json`` says.
        front: what ``preprocessor_config.json`` says.
        weights: the safetensors files.
    """

    name: str
    revision: str | None
    folder: Path
    config: Mapping[str, Any]
    front: Mapping[str, Any]
    weights: tuple[Path, ...]

    def weights_sha256(self) -> str:
        """What ``sha256sum`` says of the weights; of several files the digest of what it prints."""
        digests = [f"{file_digest(path)}  {path.name}\n" for path in self.weights]
        if len(digests) == 1:
            return digests[0].split()[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def config_sha256(self) -> str:
        """The digest of all that the two other files say of values."""
        config = {key: value for key, value in self.config.items() if key not in _IDLE_KEYS}
        return hashlib.sha256(json.dumps([config, self.front], sort_keys=True).encode()).hexdigest()


# ------------------------------------------------------------------------------------------- where they are


def find_files(model: str, revision: str | None, sha256: str | None = None) -> EncoderFiles:
    """The files of a model.

    Args:
        model: a folder's path, which is absolute, or a name.
            A name is looked for in the folders that :data:`PLACES` names; one with a slash then in the hub's
            local cache, and in the hub, unless ``HF_HUB_OFFLINE`` is set.
        revision: of the hub: a branch, a tag or a commit; None: its main branch.
        sha256: of the weights, for messages.

    Raises:
        DataError: it is nowhere, or its files cannot be used.
        UsageError: :data:`PLACES` has a relative path.
        MissingPackageError: it would have to be fetched, and the library for that is not installed.
    """
    if model.startswith("/"):
        return _read_folder(Path(model).resolve().name, revision, Path(model))
    if not _NAME.fullmatch(model):
        raise DataError(
            f"model {shown(model)}: is neither a name, such as openai/whisper-base, nor a folder, which is "
            "written with a leading / or ./; correct it"
        )
    for place in _places():
        for folder in (place / model, place / model.rpartition("/")[2], place):
            if folder.name == model.rpartition("/")[2] and (folder / CONFIG).is_file():
                return _read_folder(model, revision, folder)
    if "/" not in model:
        which = f" with weights of the sha256 {sha256}" if sha256 else ""
        raise DataError(
            f"model {model}: no folder of that name{which} is in those that the variable {PLACES} names; "
            "name the folder that it lies in there"
        )
    folder = _from_hub(model, revision)
    commit = folder.name if re.fullmatch("[0-9a-f]{40}", folder.name) else revision
    return _read_folder(model, commit, folder)


def _places() -> Iterator[Path]:
    for text in filter(None, os.environ.get(PLACES, "").split(os.pathsep)):
        if not os.path.isabs(text):
            raise UsageError(f"{PLACES}: {shown(text)} is no absolute path; write it with a leading /")
        yield Path(text)


def _from_hub(model: str, revision: str | None) -> Path:
    """The local copy of a model of the hub, fetched if it is not there and may be."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingPackageError(f"model {model}: {MISSING}") from error
    patterns = [CONFIG, FRONT, WEIGHTS, INDEX, _SHARD]
    try:
        cached = Path(snapshot_download(model, revision=revision, local_files_only=True))
        files = [cached / CONFIG, cached / FRONT, next(cached.glob("model*.safetensors"), cached / WEIGHTS)]
        if all(path.is_file() for path in files):
            return cached
    except FileNotFoundError:
        pass  # it has never been fetched
    try:
        log.info("%s: looking in the hub", model)
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (FileNotFoundError, HfHubHTTPError, OSError) as error:
        here = (
            f" (there is a folder of that name; a folder is written ./{model})"
            if Path(model).is_dir()
            else ""
        )
        at = f" at revision {revision}" if revision else ""
        raise DataError(
            f"model {model}{at}: is not in the hub's cache here and cannot be fetched{here}; put "
            f"{CONFIG}, {FRONT} and {WEIGHTS} of https://huggingface.co/{model} into a folder "
            f"{model.rpartition('/')[2]}, and name that folder as model, or its parent in {PLACES}"
        ) from error


# --------------------------------------------------------------------------------- whether they may be used


def _read_folder(name: str, revision: str | None, folder: Path) -> EncoderFiles:
    if not folder.is_dir():
        raise DataError(f"{folder}: {reading.not_a_folder(folder)}; name {_NEEDED}")
    config, front = (_read_settings(folder / file) for file in (CONFIG, FRONT))
    return EncoderFiles(name, revision, folder, config, front, _find_weights(folder))


def _read_settings(path: Path) -> dict[str, Any]:
    tree = reading.read_json(path, "copy it again from where the model is from", missing=f"name {_NEEDED}")
    if not isinstance(tree, dict):
        raise DataError(f"{path}: is no mapping; copy it again from where the model is from")
    if "auto_map" in tree:
        raise DataError(
            f"{path}: the model has code of its own (auto_map), which is never run; name a model that the "
            "library transformers knows"
        )
    return tree


def _find_weights(folder: Path) -> tuple[Path, ...]:
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if (folder / INDEX).is_file():
        return _shards(folder)
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise DataError(
            f"{folder}: its weights are in {pickles[0]}, which may run code when it is read; name a "
            f"revision or a copy of the model that has {WEIGHTS}"
        )
    raise DataError(f"{folder}: has no {WEIGHTS}; put it there, or name a revision that has it")


def _shards(folder: Path) -> tuple[Path, ...]:
    """The files that an index names."""
    path = folder / INDEX
    remedy = "copy it again from where the model is from"
    tree = reading.read_json(path, remedy)
    with reading.guarded(path, remedy, what="is no index of weights"):
        names = sorted(set(map(str, tree["weight_map"].values())))
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing or not names:
        raise DataError(
            f"{path}: names {short(missing[0]) if missing else 'no file'}, which is not there; {remedy}"
        )
    return tuple(folder / name for name in names)


# --------------------------------------------------------------------------------- what they say of frames


@dataclass(frozen=True)
class Front:
    """The way from samples to frames, and the layers behind it.

    Frame t is made of the ``span`` samples from ``start + t * shift`` on; of these a recording mirrors or
    pads what lies outside of it.

    Attributes:
        kind: ``mel`` (Whisper) or ``samples`` (wav2vec 2.0 and its relatives).
        rate_hz: sampling rate.
        dim: values of a layer's output, H.
        num_layers: Transformer layers.
        shift: samples from one frame to the next.
        span: samples that a frame is made of.
        max_frames: longest input in frames; None: any.
    """

    kind: str
    rate_hz: int
    dim: int
    num_layers: int
    shift: int
    span: int
    max_frames: int | None

    @property
    def timing(self) -> Timing:
        """Of the frames; a Mel frame is centred on its first sample."""
        middle = 0.0 if self.kind == "mel" else self.span / 2
        return Timing(self.shift / self.rate_hz, middle / self.rate_hz)

    @property
    def min_samples(self) -> int:
        """What makes a frame; Whisper's spectrum mirrors half a window at both ends."""
        return self.span // 2 + 1 if self.kind == "mel" else self.span

    def num_frames(self, num_samples: int) -> int:
        """Frames of so many samples, T; 0 of too few."""
        if num_samples < self.min_samples:
            return 0
        if (
            self.kind == "mel"
        ):  # a Mel frame each half shift, the last dropped; a convolution takes every second
            return math.ceil(num_samples // (self.shift // 2) / 2)
        return 1 + (num_samples - self.span) // self.shift

    def num_samples(self, num_frames: int) -> int:
        """The samples that so many frames are made of."""
        return num_frames * self.shift if self.kind == "mel" else self.span + (num_frames - 1) * self.shift


def read_front(files: EncoderFiles) -> Front:
    """What a model's files say of its frames.

    Raises:
        DataError: they are of a model that does not take audio, or say nothing of this kind.
    """
    path = files.folder / CONFIG
    remedy = "name a model of audio, such as openai/whisper-base or microsoft/wavlm-base-plus"
    config, kind = files.config, files.config.get("model_type")
    is_mel = kind == "whisper"
    if not is_mel and not {"conv_kernel", "conv_stride", "hidden_size"} <= config.keys():
        raise DataError(
            f"{path}: is of a model of the type {shown(kind)}, which makes no frames of audio; {remedy}"
        )
    what = "does not say what its frames are made of"
    with reading.guarded(path, remedy, what=what):
        return _mel_front(files) if is_mel else _samples_front(files)


def _mel_front(files: EncoderFiles) -> Front:
    config, front = files.config, files.front
    hop, positions = _whole(front, "hop_length"), _whole(config, "max_source_positions")
    return Front(
        kind="mel",
        rate_hz=_whole(front, "sampling_rate"),
        dim=_whole(config, "d_model"),
        num_layers=_whole(config, "encoder_layers"),
        shift=2 * hop,
        span=_whole(front, "n_fft"),
        max_frames=positions,
    )


def _samples_front(files: EncoderFiles) -> Front:
    config = files.config
    shift, span = 1, 1
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        span += (int(kernel) - 1) * shift
        shift *= int(stride)
    return Front(
        kind="samples",
        rate_hz=_whole(files.front, "sampling_rate"),
        dim=_whole(config, "hidden_size"),
        num_layers=_whole(config, "num_hidden_layers"),
        shift=shift,
        span=span,
        max_frames=None,
    )


def _whole(tree: Mapping[str, Any], key: str) -> int:
    number = tree[key]
    if type(number) is not int or not 0 < number < 1 << 31:
        raise reading.BadFileError(f"{key} must be a whole number above 0, got {shown(number)}")
    return number


def library_version() -> str:
    """Of transformers.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return version("transformers")
    except PackageNotFoundError as error:
        raise MissingPackageError(MISSING) from error
