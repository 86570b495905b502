"""Fitting the calibration of a trained model on posteriors of held-out speakers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ser import reading
from ser.cli import log
from ser.data import files, tables
from ser.errors import DataError, examples, plural
from ser.learn.calibration import FILE, FORMAT, TEMPERATURES, Calibration
from ser.learn.models import read_facts
from ser.learn.tasks import MODEL, learnt
from ser.plan import PLAN, read_plan
from ser.scoring.calibration import fit_temperature, log_loss, reliability, temper
from ser.scoring.evaluate import References, match, read_references
from ser.scoring.metrics import Counts, Floats
from ser.scoring.posteriors import Posteriors, pool, read_posteriors

_GROUPS = 10  # of speakers, each of which is calibrated by the others
_DECIMALS = 6


@dataclass(frozen=True)
class Measured:
    """How well posteriors mean what they say."""

    ece: float  # expected calibration error, in [0, 1]
    log_loss: float  # nats

    @classmethod
    def of(cls, posteriors: Floats, references: Counts) -> Measured:
        """Of posteriors (N, K) and class indices (N,)."""
        return cls(
            round(reliability(posteriors, references).ece, _DECIMALS),
            round(log_loss(posteriors, references), _DECIMALS),
        )


def calibrate(model: Path, data: Path, folders: Sequence[Path]) -> Calibration:
    """Fit one temperature and write it into a model folder as ``calibration.json``.

    Args:
        model: a model folder.
        data: a data folder that has the labels and speakers of all that was decoded, such as ``data/all``.
        folders: posteriors of speakers that the models behind them were not trained on, such as those of
            the test subsets of all folds; no utterance in two.

    Raises:
        DataError: posteriors of utterances that a model was trained on, or that cannot be used, or that tell
            nothing of the references.
        CheckpointError: there is no usable model.
    """
    emotions = read_facts(model)["emotions"]
    outputs = [read_posteriors(folder) for folder in folders]
    for output in outputs:
        if list(output.emotions) != emotions:
            raise DataError(f"{output.name}: is of other classes than {model}; name posteriors of its kind")
    references = read_references(data)
    _check_held_out(model, folders, outputs)
    pooled = pool(outputs)
    scored = match(pooled, _only(references, pooled))
    temperature = fit_temperature(scored.posteriors, scored.references)
    if not TEMPERATURES.holds(temperature):
        raise DataError(
            f"{pooled.name}: the posteriors tell nothing of the labels, no temperature suits them; calibrate "
            "on those of a model that has learnt"
        )
    temperature = round(temperature, _DECIMALS)
    before = Measured.of(scored.posteriors, scored.references)
    crossed = _cross_tempered(scored.posteriors, scored.references, scored.speakers)
    after = Measured.of(crossed, scored.references)
    facts = {
        "format": FORMAT,
        "temperature": temperature,
        "emotions": emotions,
        "utterances": len(scored.keys),
        "speakers": len(set(scored.speakers)),
        "posteriors": [_name(folder) for folder in folders],
        "ece": {"before": before.ece, "after": after.ece},
        "log_loss": {"before": before.log_loss, "after": after.log_loss},
    }
    with files.whole_file(model / FILE) as stream:
        json.dump(facts, stream, indent=1)
        stream.write("\n")
    return Calibration(temperature, facts)


def summary(model: Path, calibration: Calibration) -> str:
    """A calibration, for display."""
    facts = calibration.facts
    ece, loss = facts["ece"], facts["log_loss"]
    return (
        f"{model / FILE}\n"
        f"  temperature {calibration.temperature:.3f}, of {plural(facts['utterances'], 'utterance')} of "
        f"{plural(facts['speakers'], 'speaker')}\n"
        f"  expected calibration error {100 * ece['before']:.1f} % before, {100 * ece['after']:.1f} % after\n"
        f"  log loss {loss['before']:.3f} before, {loss['after']:.3f} after (even posteriors: "
        f"{math.log(len(facts['emotions'])):.3f})"
    )


def _only(references: References, pooled: Posteriors) -> References:
    """The references of what was decoded, of a data folder that has more."""
    labels = {key: index for key, index in references.labels.items() if key in pooled.keys}
    return References(references.folder, references.emotions, labels, references.speakers)


def _cross_tempered(posteriors: Floats, references: Counts, speakers: Sequence[str]) -> Floats:
    """Posteriors of each group of speakers, calibrated by the others; of one speaker by his own."""
    names = sorted(set(speakers))
    groups = np.array([names.index(name) % _GROUPS for name in speakers])
    tempered = np.empty_like(posteriors)
    for group in range(min(_GROUPS, len(names))):
        own = groups == group
        others = ~own if len(names) > 1 else own
        temperature = fit_temperature(posteriors[others], references[others])
        held = min(max(temperature, float(TEMPERATURES.least or 0)), float(TEMPERATURES.most or math.inf))
        tempered[own] = temper(posteriors[own], held)
    return tempered


def _name(folder: Path) -> str:
    """A folder of posteriors without what is above the experiment: ``<fold>/<system>/seed1/decode_test``."""
    return "/".join(folder.resolve().parts[-4:])


# ----------------------------------------------------------------------------------- held-out speakers


def _check_held_out(model: Path, folders: Sequence[Path], outputs: Sequence[Posteriors]) -> None:
    """Refuse posteriors of utterances that the model behind them was trained on; say where none is known."""
    unknown = []
    for folder, output in zip(folders, outputs, strict=True):
        sources = list(_models_of(folder))
        if not sources:
            unknown.append(str(folder))
        for source, decoded in sources:
            trained = _trained_on(source)
            keys = output.keys if decoded is None else read_posteriors(decoded).keys
            if known := sorted(keys & trained):
                raise DataError(
                    f"{folder}: its model was trained on {plural(len(known), 'utterance')} of it "
                    f"({examples(known)}), of which it is too sure; name posteriors of held-out speakers"
                )
            if changed := _other_settings(model, source):
                log.warning(
                    "%s: its model has other settings than %s (%s); its posteriors may be surer or less so",
                    folder, model, "; ".join(changed[:3]),
                )  # fmt: skip
    if unknown:
        log.warning(
            "%s: which model made it is not known, nor whether it was trained on these speakers; it must not "
            "have been",
            examples(unknown),
        )


def _models_of(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """The model folders behind posteriors, each with the decoding that was pooled, if it was."""
    if (folder.parent / MODEL).exists():
        yield folder.parent, None
        return
    made = folder / files.MADE
    if not made.exists():
        return
    record = reading.read_json(made, "decode or pool again")
    settings = record.get("settings") if isinstance(record, dict) else None
    pooled = settings.get("pooled") if isinstance(settings, dict) else None
    for name in pooled if isinstance(pooled, list) else ():
        member = Path(str(name))
        if (member.parent / MODEL).exists() and (member / "post").exists():
            yield member.parent, member


def _trained_on(model: Path) -> set[str]:
    """The utterances that a model of an experiment was trained on; none where that is not known."""
    exp = model.resolve().parents[2] if len(model.resolve().parents) > 2 else model
    if not (exp / PLAN).exists():
        return set()
    folds = read_plan(exp).folds
    train = folds / model.resolve().parents[1].name / "train" / "utt2spk"
    return set(tables.read_table(train)) if train.exists() else set()


def _other_settings(model: Path, source: Path) -> list[str]:
    """What differs between the settings of two models, but for those of decoding."""
    one, two = (learnt(read_facts(folder)["settings"]) for folder in (model, source))
    return files.differences(one, two)
