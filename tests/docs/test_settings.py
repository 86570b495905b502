"""docs/settings.md lists every key of every settings file, as its declaration says it.

``python3 -m tests.docs.test_settings`` writes the page again.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import pytest

from ser import config
from ser.align.phone_model import AlignConfig
from ser.data.alignment import AlignmentConfig
from ser.data.corpus import CorpusConfig
from ser.data.phones import PhoneSet
from ser.feats.energy import EnergySettings
from ser.feats.fbank import FbankSettings
from ser.feats.functionals import FunctionalsSettings
from ser.feats.mel_functionals import MelFunctionalsSettings
from ser.feats.pretrained import PretrainedSettings
from ser.feats.silero import SileroSettings
from ser.feats.spectrogram import SpectrogramSettings
from ser.feats.speed import SpeedSettings
from ser.feats.vad import VadConfig
from ser.interpret.figures import FigureConfig
from ser.ranges import Range
from ser.systems.attention_pooling import AttentionPoolingSettings
from ser.systems.blstmatt import BlstmattSettings
from ser.systems.cnn_capsules import CnnCapsulesSettings
from ser.systems.cnn_lstm import CnnLstmSettings
from ser.systems.csa import CsaSettings
from ser.systems.factor_analysis import FactorAnalysisSettings
from ser.systems.finetuned import FineTunedSettings
from ser.systems.majority import MajoritySettings
from ser.systems.multimodal import MultimodalSettings
from ser.systems.pooled import PooledSettings
from ser.systems.svm import SvmSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
FILES: dict[str, Any] = {
    "blstmatt.yaml": BlstmattSettings,
    "csa.yaml": CsaSettings,
    "cnn_lstm.yaml": CnnLstmSettings,
    "attention_pooling.yaml": AttentionPoolingSettings,
    "cnn_gru.yaml, cnn_seqcap.yaml, cnn_gru_seqcap.yaml, cnn_reccap.yaml": CnnCapsulesSettings,
    "ivector.yaml, eigenvoice.yaml": FactorAnalysisSettings,
    "multimodal.yaml": MultimodalSettings,
    "svm_*.yaml": SvmSettings,
    "pooled_*.yaml": PooledSettings,
    "finetuned_*.yaml": FineTunedSettings,
    "majority.yaml": MajoritySettings,
    "fbank.yaml, align_fbank.yaml": FbankSettings,
    "egemaps.yaml, compare.yaml": FunctionalsSettings,
    "mel_functionals.yaml": MelFunctionalsSettings,
    "*_sp09.yaml, *_sp11.yaml": SpeedSettings,
    "spectrogram.yaml": SpectrogramSettings,
    "whisper.yaml, whisper_all.yaml": PretrainedSettings,
    "energy.yaml": EnergySettings,
    "silero.yaml": SileroSettings,
    "vad.yaml, vad_silero.yaml": VadConfig,
    "corpus.yaml": CorpusConfig,
    "alignment.yaml": AlignmentConfig,
    "align.yaml": AlignConfig,
    "phones.yaml": PhoneSet,
    "figures.yaml": FigureConfig,
}
HEAD = """\
# Settings

Every key of every file of `conf/`: what it may be, and what it means. A number that is not within its range,
a key that is missing or unknown, and values that do not go together are refused before anything runs:
`conf/csa.yaml: optim.clip_norm must be above 0, got -1.0; correct it`. Numbers are finite. A file may begin
with `base: <file>` and say only what differs from that one; `--set KEY=VALUE` changes one key. What an
experiment may ask for is in [experiments.md](experiments.md).

This page follows from the declarations; a test (`tests/docs/test_settings.py`) holds it to them.
"""


class Row(NamedTuple):
    """A key of a settings file."""

    key: str
    kind: str
    meaning: str
    source: object  # the class and field that declare it


def comments(cls: type) -> dict[str, str]:
    """What stands beside each field of a class and its bases: comments above it, then the one behind it."""
    above = [base for base in cls.__bases__ if is_dataclass(base)]
    inherited = {name: text for base in above for name, text in comments(base).items()}
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    tree = ast.parse("\n".join(lines)).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        assert node.end_lineno is not None
        first, text = node.lineno - 1, []
        while lines[first - 1].lstrip().startswith("#"):
            first -= 1
        text += [line.strip().lstrip("# ") for line in lines[first : node.lineno - 1]]
        text.append(lines[node.end_lineno - 1][node.end_col_offset or 0 :].strip().lstrip("# "))
        found[node.target.id] = " ".join(filter(None, text))
    return inherited | found


def rows(cls: Any, prefix: str = "") -> Iterator[Row]:
    """All keys of a settings class, those of nested ones dotted."""
    meanings = comments(cls)
    for name, kind in config.key_types(cls).items():
        args = get_args(kind)
        inner = next((each for each in (kind, *args) if isinstance(each, type) and is_dataclass(each)), None)
        if inner is None or type(None) in args:
            words = config.describe(kind)
            yield Row(f"{prefix}{name}", words, meanings[name], (cls, name))
        if inner is not None:
            step = f"{name}.<name>" if get_origin(kind) is dict else name
            yield from rows(inner, f"{prefix}{step}.")


def page() -> str:
    """The text of the page."""
    parts, known = [HEAD], set[object]()
    for files, cls in FILES.items():
        names = ", ".join(f"`conf/{name}`" for name in files.split(", "))
        own = [row for row in rows(cls) if row.source not in known]
        groups = dict.fromkeys(row.key.partition(".")[0] for row in rows(cls) if row.source in known)
        parts.append(f"\n## {names}\n\n| key | may be | meaning |\n|---|---|---|\n")
        for row in own:
            cells = (f"`{row.key}`", row.kind, row.meaning)
            parts.append(
                "| " + " | ".join(cell.replace("|", "\\|").replace("``", "`") for cell in cells) + " |\n"
            )
        if groups:
            shared = ", ".join(f"`{name}`" for name in groups)
            parts.append(f"\nAnd {shared}, as in `conf/blstmatt.yaml`.\n")
        known |= {row.source for row in own}
    return "".join(parts)


def test_the_page_is_what_the_declarations_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python3 -m tests.docs.test_settings"


@pytest.mark.parametrize("cls", FILES.values())
def test_every_key_has_a_meaning_and_every_whole_number_a_range(cls: Any) -> None:
    assert [row.key for row in rows(cls) if not row.meaning] == []
    assert [row.key for row in rows(cls) if re.search(r"a whole number(?! (from|above|at))", row.kind)] == []


def test_ranges_are_shown() -> None:
    assert config.describe(Annotated[float, Range(above=0, below=1)]) == "a number above 0 and below 1"
    assert "| `optim.clip_norm` | a number above 0 or null |" in page()
    assert "| `protocols.<name>.dev.speakers` | a whole number from 1 to 1000000 |" in page()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
