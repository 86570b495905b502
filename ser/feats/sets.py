"""Feature sets: what is made of recordings, as ``conf/<set>.yaml`` asks for it or as a data folder has it.

``<data>/<set>/`` holds the tables of a set.  ``<data>/{feats.scp,utt2num_frames,frame_shift}`` are copies of
those of the main set, where Kaldi looks for them; ``<data>/feats.yaml`` says which set that is.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ser import config
from ser.data import registry
from ser.data.corpus import AudioConfig, load_corpus
from ser.data.datadir import MAIN, main_set, source_of
from ser.data.durations import Shortest
from ser.errors import ConfigError, DataError, shown
from ser.feats.base import ONE_SCALE, Extractor, Layout, Timing
from ser.feats.speed import SPEED, Played, SpeedSettings

Compress = Literal["none", "CM", "CM2"]

EXTRACTORS = {
    "fbank": "ser.feats.fbank:Fbank",
    "functionals": "ser.feats.functionals:Functionals",
    "mel_functionals": "ser.feats.mel_functionals:MelFunctionals",
    "energy": "ser.feats.energy:Energy",
    "silero": "ser.feats.silero:Silero",
    "spectrogram": "ser.feats.spectrogram:Spectrogram",
    "pretrained": "ser.feats.pretrained:Pretrained",
}
DEFAULT_SET = "fbank"
TRACKS = {
    "fbank": "log-mel",
    "mel_functionals": "log-mel",
    "spectrogram": "spectrogram",
    "functionals": "functionals",
    "pretrained": "pretrained",
}  # what results are compared in; others: open
EXTRAS = {
    "functionals": "baselines",
    "silero": "vad",
    "pretrained": "pretrained",
}  # what utils/install.sh --extra must have installed for an extractor
PATHS = {
    "pretrained": ("model",)
}  # keys of an extractor that may be a path, written with a leading / ./ or ~
SETTINGS = "settings.yaml"
EXTRACTOR = _KEY = "extractor"
_HOME = "ser/feats/base.py"
_NAME = re.compile(r"(?!(?:text|source|log|vad|q|(utt|spk|reco)2\w*)$)[A-Za-z][\w-]*", re.ASCII)


@dataclass(frozen=True)
class FeatureSet:
    """All that the features of a set depend on besides the recordings."""

    name: str
    settings: Mapping[str, Any]  # of the extractor, and its name
    audio: AudioConfig
    compress: Compress  # of the archives: none, CM (a byte a value) or CM2 (two bytes); frames only
    timing: Timing | None  # of the frames; None for a set of one vector an utterance
    layout: Layout = ONE_SCALE  # of the values of a frame or vector
    # what was asked for, where it is more than is recorded: where files lie, what computes
    asked: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def make(self, use_gpu: str = "auto") -> Extractor:
        """The extractor; imports the code that the settings name.

        Args:
            use_gpu: auto, yes or no; what a setting ``device`` means that is ``auto``.

        Raises:
            ConfigError: there is no such extractor, or the settings do not fit it.
        """
        settings = self.asked or self.settings
        if settings.get("device") == "auto":
            settings = {**settings, "device": {"yes": "cuda", "no": "cpu"}.get(use_gpu, "auto")}
        return _make(settings, self.audio, f"the feature set {self.name}")

    def shortest(self) -> Shortest:
        """The shortest utterance that the set can be made of; of any length if the extractor names none."""
        return Shortest(self.name, getattr(self.make(), "min_samples", 1), self.audio.sampling_rate_hz)

    def to_dict(self) -> dict[str, Any]:
        """What ``<data>/<set>/settings.yaml`` holds."""
        tree = config.to_dict(self)
        del tree["name"]
        if self.layout == ONE_SCALE:
            del tree["layout"]  # as of sets that were made before there were others
        return tree


@dataclass(frozen=True)
class _Common:
    """The keys of ``settings.yaml`` that do not depend on the extractor."""

    audio: AudioConfig
    compress: Compress
    timing: Timing | None
    layout: Layout = ONE_SCALE


def load_set(
    path: Path, corpus: Path | AudioConfig, compress: Compress = "none", overrides: Sequence[str] = ()
) -> FeatureSet:
    """A feature set as a settings file asks for it.

    Args:
        path: ``conf/<set>.yaml``; its stem is the name of the set.  Relative paths are seen from its folder.
        corpus: ``conf/corpus.yaml``, or what it says of the recordings.
        compress: of the archives; has no effect on vectors.
        overrides: ``"a.b=value"`` each.

    Raises:
        ConfigError: a file cannot be used, the extractor does not exist or lacks pieces of its contract, or
            it wants another sampling rate than the corpus's.
    """
    name = path.stem
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{path}: a feature set cannot be called {name}; name the file with letters, digits, _ and -, "
            "and not like a table of a data folder"
        )
    tree = config.resolve(path, overrides)
    tree |= {key: absolute(value, path.parent) for key, value in paths_of(tree).items()}
    given = load_corpus(corpus).audio if isinstance(corpus, Path) else corpus
    audio = AudioConfig(given.sampling_rate_hz, given.channel, given.resample)  # all that features depend on
    own = {key: value for key, value in tree.items() if key != SPEED}
    settings = config.to_dict(config.build(_find(tree, str(path)).Settings, own, str(path))) | _speed(tree)
    rate_hz = settings.get("sampling_rate_hz", audio.sampling_rate_hz)
    if rate_hz != audio.sampling_rate_hz:
        where = f" in {corpus}" if isinstance(corpus, Path) else ""
        raise ConfigError(
            f"{path}: sampling_rate_hz is {rate_hz}, but audio.sampling_rate_hz{where} is "
            f"{audio.sampling_rate_hz}; make them the same"
        )
    extractor = _make(settings, audio, str(path))
    recorded: Mapping[str, Any] = {**getattr(extractor, "recorded", settings), **_speed(tree)}
    layout = getattr(extractor, "layout", ONE_SCALE)
    if extractor.timing is None:
        compress = "none"
    elif compress == "none":
        compress = getattr(extractor, "compress", "none")
    return FeatureSet(name, recorded, audio, compress, extractor.timing, layout, settings)


def is_path(value: object) -> bool:
    """Whether a setting that may be a path is one, and no name."""
    return isinstance(value, str) and (value in (".", "..") or value.startswith(("/", "./", "../", "~")))


def paths_of(tree: Mapping[str, Any]) -> dict[str, str]:
    """Those settings of a set that are paths: key -> path."""
    found = {key: tree.get(key) for key in PATHS.get(str(tree.get(_KEY)), ())}
    return {key: str(value) for key, value in found.items() if is_path(value)}


def absolute(path: str, folder: Path) -> str:
    """A path seen from ``folder``."""
    return str((folder / Path(path).expanduser()).resolve())


def read_set(data: Path, name: str | None = None) -> FeatureSet:
    """A feature set as it was made; imports none of the code that made it.

    Args:
        data: a data folder, or a view on one.
        name: of the set; None is the folder's main set.

    Raises:
        DataError: the folder does not have it.
        ConfigError: its settings cannot be used.
    """
    if name is None or name == main_set(data):
        path = data / MAIN
        made_by = "stage 1 (steps/extract.sh)"
    else:
        path = set_folder(data, name) / SETTINGS
        made_by = f"stage 1 (steps/extract.sh) with the feature set {name}"
    if not path.exists():
        raise DataError(f"{path}: no such file; run {made_by}")
    tree = config.read_yaml(path)
    return parse_set(str(tree.pop("set", name)), tree, str(path))


def parse_set(name: str, tree: Mapping[str, Any], source: str) -> FeatureSet:
    """A feature set from what :meth:`FeatureSet.to_dict` gave.

    Args:
        name: of the set.
        tree: nested mappings.
        source: where they stood, for messages.

    Raises:
        ConfigError: they are no such settings.
    """
    rest = dict(tree)
    settings = rest.pop("settings", None)
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{source}: missing key settings (a mapping); make the features again")
    for key in PATHS.get(str(settings.get(_KEY)), ()):
        if is_path(value := settings.get(key)):
            raise ConfigError(
                f"{source}: {key} must be a name where features or a model are received, got the path "
                f"{shown(value)}; make them again"
            )
    common = config.build(_Common, rest, source)
    return FeatureSet(name, settings, common.audio, common.compress, common.timing, common.layout)


def set_folder(data: Path, name: str) -> Path:
    """The folder with the tables of a set: ``<data>/<name>``, of a view that of its source."""
    return source_of(data) / name


def _find(tree: Mapping[str, Any], source: str) -> type[Extractor]:
    """The class that the key ``extractor`` names."""
    name = tree.get(_KEY)
    if not isinstance(name, str):
        raise ConfigError(
            f"{source}: {_KEY} must name one of {', '.join(EXTRACTORS)}, or my_package.my_module:NAME, got "
            f"{name!r}; add it"
        )
    extractor: type[Extractor] = registry.find(_KEY, name, EXTRACTORS, source)
    if not isinstance(extractor, type):
        raise ConfigError(f"{source}: {_KEY} {name}: is no class; {_HOME} says what it needs")
    registry.require(_KEY, name, extractor, ("Settings", "compute"), source, _HOME)
    settings: Any = extractor.Settings
    fields = dataclasses.fields(settings) if dataclasses.is_dataclass(settings) else ()
    if _KEY not in [field.name for field in fields]:
        raise ConfigError(
            f"{source}: {_KEY} {name}: its Settings are no dataclass with a field {_KEY}; {_HOME} says what "
            "it needs"
        )
    return extractor


def _speed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The key ``speed`` of settings that have it."""
    return {SPEED: tree[SPEED]} if SPEED in tree else {}


def _make(settings: Mapping[str, Any], audio: AudioConfig, source: str) -> Extractor:
    played = config.build(SpeedSettings, _speed(settings), source)
    settings = {key: value for key, value in settings.items() if key != SPEED}
    kind = _find(settings, source)
    name = settings[_KEY]
    where = f"{source}: {_KEY} {name}"
    _check_call(kind, ("settings", "sampling_rate_hz"), f"{where}: its constructor")
    try:
        extractor: Extractor = kind(config.build(kind.Settings, settings, source), audio.sampling_rate_hz)
        _check_made(extractor, name, where, source)
        if played.speed != 1.0:
            extractor = Played(extractor, played.speed, audio.sampling_rate_hz)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}; correct it") from error
    return extractor


def _check_made(extractor: Extractor, name: str, where: str, source: str) -> None:
    registry.require(_KEY, name, extractor, ("dim", "timing", "versions"), source, _HOME)
    _check_call(extractor.compute, ("samples", "key"), f"{where}: its compute")


def _check_call(function: Callable[..., Any], arguments: Sequence[str], where: str) -> None:
    """Make sure that a function takes just these arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ConfigError(
            f"{where} does not take ({', '.join(arguments)}): {error}; {_HOME} says what it needs"
        ) from error
