"""The model card: what is known of a trained model and nothing else, with the Hugging Face hub's metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ser import config
from ser.data import files, tables
from ser.errors import UsageError, plural
from ser.feats.speech import SpeechUse
from ser.learn.models import TrainedModel, read_facts
from ser.learn.tasks import learnt
from ser.plan import read_plan
from ser.scoring.table import read_systems

if TYPE_CHECKING:
    from ser.export.package import Said

DECODE = "decode_test"
_NORMS = {
    "none": "Features are not normalised.",
    "utterance": "Features are normalised by mean and variance of each recording.",
    "global": "Features are normalised by mean and variance of the training data.",
    "speaker": "Features are normalised by mean and variance of all that a speaker says: results need to "
    "know who speaks, and use all of his or her audio, without labels.",
}
_LEVELS = {
    "none": "",
    "utterance": " The level of each recording is subtracted first.",
    "speaker": " The level of each speaker is subtracted first.",
}


@dataclass(frozen=True)
class Measured:
    """Results on speakers that the models behind them had not heard.

    Attributes:
        corpus: its name.
        protocol: how speakers were divided, in words.
        seeds: how many trainings each number is the mean of.
        result: ``result.txt``: key -> value, of several seeds their mean.
    """

    corpus: str
    protocol: str
    seeds: int
    result: dict[str, str]

    def percent(self, key: str) -> str:
        """A share in per cent, or a dash."""
        value = self.result.get(key, "-")
        return "-" if value == "-" else f"{100 * float(value):.1f}"


def of_experiment(exp: Path, model: TrainedModel) -> Measured:
    """The results of an experiment's models that have the settings of a model.

    Args:
        exp: folder of an experiment that was scored.
        model: the system of the experiment that has its settings is taken.

    Raises:
        UsageError: no system of the experiment has these settings.
        DataError: it was not scored.
    """
    plan = read_plan(exp)
    wanted = learnt(model.facts["settings"])
    differing = ""
    for system in plan.systems if plan.tested else ():
        path = plan.model(plan.final[0].name, system.name, system.seeds[0])
        changed = files.differences(learnt(read_facts(path)["settings"]), wanted)
        if not changed:
            pools = {str(pool.seed): pool.folder for pool in plan.pools(system.name)}
            row = read_systems({system.name: pools})[0]
            folds = plural(len(plan.final), "fold")
            return Measured(plan.corpus, f"protocol {plan.protocol}, {folds}", len(pools), mean(row.results))
        differing = differing or f" ({system.name}: {'; '.join(changed[:3])})"
    raise UsageError(f"--experiment {exp}: no system of it has the settings of {model.folder}{differing}")


def of_scores(words: str) -> Measured:
    """The results of ``NAME=FOLDER``, posteriors that were scored.

    Raises:
        UsageError: it has no ``=``.
        DataError: there are no scores.
    """
    name, sign, folder = words.partition("=")
    if not sign or not name:
        raise UsageError(f"--scores {words}: write NAME=FOLDER, the name of the corpus and scored posteriors")
    result = tables.read_table(Path(folder) / "score" / "result.txt", made_by="steps/score.sh")
    return Measured(name, "another corpus than it was trained on, all of it", 1, result)


def mean(results: dict[str, dict[str, str]]) -> dict[str, str]:
    """The mean over seeds of what is a number in all of them; the rest of the first."""
    first, *others = results.values()
    means = {}
    for key, value in first.items():
        values = [value, *(other.get(key, "-") for other in others)]
        try:
            same = len(set(values)) == 1
            means[key] = value if same else f"{sum(map(float, values)) / len(values):.6f}"
        except ValueError:
            means[key] = value
    return means


def _who_speaks(model: TrainedModel) -> str:
    """What ``ser predict`` asks for besides, of a model with statistics of speakers."""
    asks = "speaker" in (model.norm, SpeechUse.of(model.settings).level)
    return " --speaker-of file" if asks else ""


def write_card(model: TrainedModel, said: Said, corpus: str) -> str:
    """The text of ``README.md``: YAML metadata, then Markdown; ``corpus`` may not be known, "" then."""
    metadata = yaml.safe_dump(_metadata(model, said), sort_keys=False, allow_unicode=True, width=1000)
    paragraphs = [
        f"# {said.name}",
        _opening(model),
        "## Use",
        f"```\nser predict{_who_speaks(model)} <this file or folder> recording.wav\n```\n\n"
        f"Recordings of any sampling rate are taken; features are made of {_rate(model)} Hz.",
        *_section("## Encoder", _encoders(model)),
        *_section("## Limits", [f"- {limit}" for limit in said.limits]),
        *_section("## Training data", _training_data(model, corpus)),
        *_section("## Results", _results(said)),
        *_section("## Calibration", _calibration(model)),
        "## Normalisation",
        _NORMS[str(model.norm)] + _LEVELS[SpeechUse.of(model.settings).level],
        "## Settings",
        "```yaml\n" + config.dump(config.to_dict(model.settings)).rstrip() + "\n```",
        *_section("## Licence", [f"{said.license}; see LICENSE."] if said.license else []),
        *_section("## Citation", [f"- {line}" for line in said.cite]),
    ]
    return f"---\n{metadata}---\n\n" + "\n\n".join(paragraphs) + "\n"


def _section(title: str, lines: list[str]) -> Iterator[str]:
    """A section, unless nothing is known for it."""
    if lines:
        yield title
        yield "\n".join(lines)


def _opening(model: TrainedModel) -> str:
    version = model.facts.get("versions", {}).get("ser", "")
    return (
        f"Speech emotion recognition, {len(model.emotions)} classes: {', '.join(model.emotions)}. "
        f"The system is {model.settings.system}, trained with ser {version} from the seed "
        f"{model.facts.get('seed', '(not known)')}."
    )


def _rate(model: TrainedModel) -> str:
    audio: dict[str, Any] = next((each.get("audio", {}) for each in model.sets.values()), {})
    return str(audio.get("sampling_rate_hz", "16000"))


def _encoders(model: TrainedModel) -> list[str]:
    """The pretrained encoders that its features come from: a package has none of them in it."""
    settings: Iterator[dict[str, Any]] = (each.get("settings", {}) for each in model.sets.values())
    encoders = {each["model"]: each for each in settings if "weights_sha256" in each}
    places = "the folders that the variable SER_PRETRAINED names"
    return [
        f"Features are made by the encoder {name}{_revision(each)}, which is not in here. It is looked for "
        f"in {places}{', then in the hub' * ('/' in name)}; the sha256 of its weights must be "
        f"{each['weights_sha256']}."
        for name, each in encoders.items()
    ]


def _revision(settings: dict[str, Any]) -> str:
    return f" at revision {settings['revision']}" if settings.get("revision") else ""


def _training_data(model: TrainedModel, corpus: str) -> list[str]:
    data = model.facts.get("training_data")
    if not isinstance(data, dict):
        return [corpus] if corpus else []
    classes = ", ".join(f"{count} {name}" for name, count in data["classes"].items())
    return [
        (f"{corpus}: " if corpus else "")
        + f"{plural(data['utterances'], 'utterance')} of {plural(data['speakers'], 'speaker')}, "
        f"{data['seconds'] / 60:.1f} minutes ({classes})."
    ]


def _results(said: Said) -> list[str]:
    if not said.measured:
        return []
    lines = [
        "On speakers that were not heard in training: of models with the same settings, of another corpus by "
        "this model itself. [..] is the 95 % interval of a bootstrap over the speakers.",
        "",
        "| corpus | protocol | utterances | speakers | trainings a number | accuracy % | UAR % | recall % |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for each in said.measured:
        result = each.result
        recalls = ", ".join(
            f"{key.removeprefix('recall_')} {each.percent(key)}"
            for key in sorted(result)
            if key.startswith("recall_")
        )
        shares = [
            f"{each.percent(key)} [{each.percent(f'{key}_boot_low')}, {each.percent(f'{key}_boot_high')}]"
            for key in ("acc", "uar")
        ]
        cells = [each.corpus, each.protocol, result["n_scored"], result["n_speakers"], str(each.seeds)]
        lines.append(f"| {' | '.join([*cells, *shares, recalls])} |")
    return lines


def _calibration(model: TrainedModel) -> list[str]:
    if model.calibration is None:
        return []
    facts = model.calibration.facts
    ece, loss = facts["ece"], facts["log_loss"]
    return [
        f"Posteriors are given as they are and at the temperature {model.calibration.temperature:.3f}. It "
        f"was fitted on {plural(facts['utterances'], 'utterance')} of {plural(facts['speakers'], 'speaker')} "
        "that models of the same settings had not heard. Expected calibration error "
        f"{100 * ece['before']:.1f} % before, {100 * ece['after']:.1f} % after; log loss "
        f"{loss['before']:.3f} before, {loss['after']:.3f} after."
    ]


def _metadata(model: TrainedModel, said: Said) -> dict[str, Any]:
    """What the hub reads."""
    tree: dict[str, Any] = {}
    if said.license:
        tree["license"] = said.license
    if said.language:
        tree["language"] = list(said.language)
    tree |= {
        "library_name": "ser",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", str(model.settings.system)],
    }
    if said.measured:
        tree["model-index"] = [{"name": said.name, "results": [_index(each) for each in said.measured]}]
    return tree


def _index(measured: Measured) -> dict[str, Any]:
    metrics = [
        {"type": kind, "name": name, "value": round(float(measured.result[key]), 4)}
        for kind, name, key in (
            ("accuracy", "accuracy", "acc"),
            ("recall", "unweighted average recall", "uar"),
        )
    ]
    return {
        "task": {"type": "audio-classification", "name": "speech emotion recognition"},
        "dataset": {"name": f"{measured.corpus}, {measured.protocol}", "type": measured.corpus},
        "metrics": metrics,
    }
