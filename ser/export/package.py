"""A trained model as one file, or one folder, for others: weights, settings, card, licence, calibration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser import reading
from ser.data.files import whole_file
from ser.errors import CheckpointError, DataError
from ser.export.card import Measured, write_card
from ser.learn import packages
from ser.learn.models import REMEDY, TrainedModel, check_audio_alone, load_model
from ser.learn.packages import CALIBRATION, CARD, CONFIG, LICENSE, WEIGHTS, ModelFiles
from ser.learn.tasks import MODEL
from ser.plan import PLAN, read_plan


@dataclass(frozen=True)
class Said:
    """What the one who makes a package says of the model; what is empty is left out of the card.

    Attributes:
        name: of the model.
        license: an identifier that the Hugging Face hub knows, such as ``cc0-1.0``.
        license_text: the licence itself.
        language: codes such as ``de``.
        limits: sentences that every user should know.
        cite: how the corpus or the model is to be cited, a line each.
        measured: results of models with the same settings, of speakers they had not heard.
    """

    name: str
    license: str = ""
    license_text: str = ""
    language: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    cite: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()


def export_package(folder: Path, out: Path, said: Said, allow: Sequence[str] = ()) -> None:
    """Write a package; the same model and words give the same bytes.

    Args:
        folder: a model folder, or a package.
        out: the file; a folder that exists, or a name without ``.zip``, becomes one in the hub's layout.
        said: what goes into the card.
        allow: code outside ``ser`` that the model may name.

    Raises:
        CheckpointError: there is no usable model, or it reads more than recordings.
        DataError: it cannot be written.
    """
    members = package_members(folder, load_model(folder, allow), said)
    if out.suffix == packages.SUFFIX:
        packages.write_package(out, members)
        return
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file; name a file that ends in {packages.SUFFIX}, or a folder")
    for name, content in members.items():
        with whole_file(out / name, "wb") as stream:
            stream.write(content)


def package_members(folder: Path, model: TrainedModel, said: Said) -> dict[str, bytes]:
    """The files of a package."""
    check_audio_alone(model)
    files = ModelFiles(folder, MODEL, REMEDY)
    record: dict[str, Any] = {"model_type": "ser", **model.facts}
    for key in (packages.DIGEST, packages.LIMITS, "license", "name"):
        record.pop(key, None)
    if corpus := _corpus_of(folder):
        record["corpus"] = corpus
    members: dict[str, bytes] = {WEIGHTS: files.read(WEIGHTS)}
    if model.calibration is not None:
        members[CALIBRATION] = files.read(CALIBRATION)
        record[packages.DIGEST] = hashlib.sha256(members[CALIBRATION]).hexdigest()
    record["name"] = said.name
    if said.license:
        record["license"] = said.license
        members[LICENSE] = (said.license_text or f"{said.license}\n").encode()
    if said.limits:
        record[packages.LIMITS] = list(said.limits)
    members[CONFIG] = (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
    members[CARD] = write_card(model, said, str(record.get("corpus", ""))).encode()
    return members


def _corpus_of(folder: Path) -> str:
    """The corpus of the experiment that a model folder belongs to; nothing where that is not known."""
    above = folder.resolve().parents
    return read_plan(above[2]).corpus if len(above) > 2 and (above[2] / PLAN).exists() else ""


def license_text(path: Path) -> str:
    """The text of a licence.

    Raises:
        CheckpointError: it cannot be read.
    """
    return reading.read_text(
        path, "name the text of the licence", CheckpointError, limit=packages.MEMBERS[LICENSE]
    )
