"""From a trained model to the :class:`~ser.export.graph.Graph` that is exported, and what is said with it."""

from __future__ import annotations

import json
from typing import Any

from torch import Tensor

import ser
from ser import config
from ser.errors import CheckpointError, ConfigError
from ser.export.features import Filterbank, SpeechActivity
from ser.export.frames import Kept, Normalise
from ser.export.graph import NUM_SAMPLES, SAMPLES, Graph, Reading
from ser.feats.base import Timing
from ser.feats.chunking import ChunkingConfig
from ser.feats.energy import Energy, EnergySettings
from ser.feats.fbank import Fbank, FbankSettings
from ser.feats.speech import SpeechUse
from ser.feats.vad import VadConfig
from ser.learn.models import TrainedModel, check_audio_alone
from ser.systems.base import Network

OUTSIDE = "export it with --features outside"
FORMAT = 1  # of the metadata


def make_graph(model: TrainedModel, *, features_inside: bool) -> Graph:
    """The module of a trained model.

    Args:
        model: a network.
        features_inside: take samples; False: the features of each set, as they were made.

    Raises:
        CheckpointError: the model is no network, reads more than recordings, or makes features that only ser
            can.
    """
    check_audio_alone(model)
    if not isinstance(model.system, Network):
        raise CheckpointError(
            f"{model.folder}: its system {model.settings.system} is no network, which alone become graphs; "
            "export a package, or a network"
        )
    use = SpeechUse.of(model.settings)
    timings = {name: _timing(settings) for name, settings in model.sets.items()}
    front_end = _front_end(model) if features_inside else None
    activity = None
    main = next(iter(timings.values()))
    over_speech = use.over_speech and "utterance" in (str(model.norm), use.level)
    asks_speech = use.vad.use != "none" or over_speech  # statistics of others were taken over speech already
    if asks_speech and front_end is not None:
        activity = _activity(model, main)
    if front_end is None and asks_speech and any(timing != main for timing in timings.values()):
        raise CheckpointError(
            f"{model.folder}: reads speech activity in sets of unlike frames; export a package"
        )
    readings = {}
    for name, timing in timings.items():
        margin = 0 if timing is None else round(use.vad.margin_ms / 1000 / timing.shift_s)
        normalise = Normalise(str(model.norm), use, model.stats.get(name))
        readings[name] = Reading(normalise, timing is not None, Kept(use.vad.use, margin))
    graph = Graph(
        model.network,
        model.settings.unit,
        readings,
        front_end=front_end,
        activity=activity,
        asks_speech=asks_speech,
        over_speech=over_speech,
        temperature=None if model.calibration is None else model.calibration.temperature,
        has_attention=model.system.frame_attention and not isinstance(model.settings.unit, ChunkingConfig),
    )
    return graph.eval().requires_grad_(False)


def _timing(settings: dict[str, Any]) -> Timing | None:
    timing = settings.get("timing")
    return None if timing is None else config.build(Timing, timing, "timing")


def _front_end(model: TrainedModel) -> Filterbank:
    (name, settings), *others = model.sets.items()
    own = settings.get("settings", {})
    if others or own.get("extractor") != "fbank":
        raise CheckpointError(
            f"{model.folder}: reads {', '.join(model.sets)}; only the set of a single filterbank can be made "
            f"inside the graph; {OUTSIDE}"
        )
    where = f"{model.folder} (features {name})"
    try:
        fbank = config.build(FbankSettings, own, where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if fbank.dither:
        raise CheckpointError(f"{where}: adds noise (dither {fbank.dither:g}), which no graph can; {OUTSIDE}")
    return Filterbank(fbank)


def _activity(model: TrainedModel, main: Timing | None) -> SpeechActivity:
    tree = dict(model.facts.get("vad") or {})
    made = tree.pop("made", {})
    own = made.get("settings", {}) if isinstance(made, dict) else {}
    if own.get("extractor") != "energy":
        raise CheckpointError(
            f"{model.folder}: finds speech with {own.get('extractor')}; only log energies can be made inside "
            f"the graph; {OUTSIDE}"
        )
    where = f"{model.folder} (vad)"
    other = model.facts.get("vad_main")
    if isinstance(other, dict) and _timing(other) != main:
        raise CheckpointError(f"{where}: is in frames of another set than the model reads; {OUTSIDE}")
    try:
        vad, frames = config.build(VadConfig, tree, where), config.build(EnergySettings, own, where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    rate_hz = sampling_rate(model)
    timing = Energy(frames, rate_hz).timing
    activity = SpeechActivity(vad, frames, rate_hz, timing, main or timing)
    if activity.length > least_samples(model):
        raise CheckpointError(
            f"{where}: its frames of {activity.length} samples are longer than the shortest recording, of "
            f"{least_samples(model)}; {OUTSIDE}"
        )
    return activity


def sampling_rate(model: TrainedModel) -> int:
    """Of the samples that features are made of."""
    audio = next(iter(model.sets.values())).get("audio", {})
    return int(audio["sampling_rate_hz"])


def least_samples(model: TrainedModel) -> int:
    """The fewest samples that a graph with a filterbank inside takes."""
    settings = config.build(FbankSettings, next(iter(model.sets.values()))["settings"], str(model.folder))
    return Fbank(settings, settings.sampling_rate_hz).min_samples


def metadata(model: TrainedModel, graph: Graph) -> dict[str, str]:
    """What a user of the graph must know, as JSON values."""
    values: dict[str, Any] = {
        "format": FORMAT,
        "emotions": list(model.emotions),
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "system": model.settings.system,
        "normalisation": str(model.norm),
        "features": "inside" if SAMPLES in graph.inputs else "outside",
        "sets": model.sets,
        "weights": model.facts["weights"],
        "ser": ser.__version__,
        "sampling_rate_hz": sampling_rate(model),
    }
    if NUM_SAMPLES in graph.inputs:
        values["least_samples"] = least_samples(model)
    for name in ("license", "limits"):
        if name in model.facts:
            values[name] = model.facts[name]
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def axes(name: str, tensor: Tensor) -> dict[int, str]:
    """Names of the free axes of an input or an output."""
    second = {SAMPLES: "samples"}.get(name, "frames")
    free = {0: "utterances"}
    if tensor.dim() == 3 or name in (SAMPLES, "speech", "attention"):
        free[1] = second
    return free
