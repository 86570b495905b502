"""Every reader of what comes from elsewhere: a good file of its kind, and how it is read."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ser import config, plan
from ser.align.lexicon import read_lexicon
from ser.align.textgrid import read_textgrid
from ser.corpora.csv_reader import open_table
from ser.corpora.csv_table import read_rows
from ser.corpora.iemocap.recipe import count_samples, read_lines
from ser.corpora.iemocap.release import unreadable
from ser.data import tables
from ser.data.alignment import read_ctm, read_frames
from ser.data.audio_meta import audio_meta
from ser.data.confounding import SpeakerGroup, read_training_speakers
from ser.data.corpus import AudioConfig, load_corpus
from ser.data.datadir import source_of
from ser.data.files import file_digest
from ser.data.folds import read_folds
from ser.data.labels import read_emotions, read_utt2emo
from ser.data.manifests import read_manifests
from ser.data.phones import load_phones
from ser.data.segments import read_segments
from ser.data.tuning import read_tuning
from ser.data.validate import validate
from ser.errors import DataError
from ser.feats.audio import load_samples
from ser.learn import models
from ser.learn.tasks import read_task
from ser.scoring.posteriors import read_posteriors
from ser.systems import load_settings
from ser.systems.base import Sizes

REPO = Path(__file__).resolve().parents[2]
AUDIO = AudioConfig(16000, None, "convert")
SIZES = Sizes({"fbank": 6}, 2, {})
SMALL = ("model.channels=[2, 2, 8]", "unit.context=20", "unit.overlap=10")
GRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"phones"
0
1.5
2
0
0.5
"a"
0.5
1.5
"b"
"""


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        name: of the file, below a folder.
        make: fills a folder with it and all that belongs to it.
        read: reads the file of a folder.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]


def _text(name: str, text: str | bytes, read: Callable[[Path], object]) -> Reader:
    content = text.encode() if isinstance(text, str) else text
    return Reader(
        name, lambda folder: (folder / name).write_bytes(content), lambda folder: read(folder / name)
    )


def _of_recipe(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """The recipe of IEMOCAP knows ValueError and OSError only; what calls it makes DataErrors of them."""

    def reader(path: Path) -> object:
        try:
            return read(path)
        except OSError as error:
            raise unreadable(path, error) from error
        except ValueError as error:
            raise DataError(str(error)) from error

    return reader


def _read_header(folder: Path) -> object:
    return _of_recipe(count_samples)(folder / "a.wav")


def recording(name: str) -> dict[str, object]:
    """An entry of recordings.jsonl.gz."""
    source = {"type": "file", "channels": [0], "source": f"/corpus/{name}.wav"}
    return {"id": name, "sources": [source], "sampling_rate": 16000, "num_samples": 24000, "duration": 1.5}


def supervision(name: str) -> dict[str, object]:
    """An entry of supervisions.jsonl.gz."""
    return {
        "id": name, "recording_id": name, "start": 0.0, "duration": 1.5, "channel": 0, "text": "well hello",
        "speaker": "a", "gender": "f", "custom": {"emotion": "sad", "style": "scripted"},
        "alignment": {"phone": [["a", 0.0, 0.5], ["b", 0.5, 0.25]]},
    }  # fmt: skip


def write_items(path: Path, items: list[dict[str, object]]) -> None:
    """Write a manifest."""
    path.write_bytes(gzip.compress("".join(json.dumps(item) + "\n" for item in items).encode()))


def _manifests(folder: Path) -> None:
    write_items(folder / "recordings.jsonl.gz", [recording(name) for name in "ab"])
    write_items(folder / "supervisions.jsonl.gz", [supervision(name) for name in "ab"])


def _ark(compress: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with tables.ArkWriter(folder / "x", compress) as archive:
            archive.write("a", np.arange(60, dtype=np.float32).reshape(12, 5))

    return make


def _text_ark(folder: Path) -> None:
    (folder / "x.ark").write_text("a  [\n 1.0 2.0\n 3.0 4.0 ]\n")
    (folder / "x.scp").write_text(f"a {folder}/x.ark:2\n")


def _sound(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        soundfile.write(folder / name, np.sin(np.arange(1600) / 5), 16000)

    return make


def _read_sound(name: str) -> Callable[[Path], object]:
    return lambda folder: (audio_meta(folder / name), load_samples(folder / name, AUDIO))


def make_model(folder: Path) -> None:
    """A small network that has not learnt anything."""
    system, settings = load_settings(REPO / "conf/csa.yaml", [*SMALL, "features.norm=global"])
    state = system.build(settings, SIZES).state_dict()
    models.save_model(
        folder,
        settings=settings,
        emotions=["ang", "sad"],
        sets={"fbank": {"num_mel_bins": 6}},
        sizes=SIZES,
        arrays={name: values.numpy() for name, values in state.items()},
        stats={"fbank": np.ones((2, 7))},
        facts={"seed": 1},
    )


def read_model(folder: Path) -> object:
    """The network of a model folder."""
    return models.load_model(folder).network


def _read_weights(folder: Path) -> object:
    """The same, of weights whose digest is right."""
    path = folder / "model.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"weights": file_digest(folder / "model.safetensors")}))
    return read_model(folder)


def _package(folder: Path) -> None:
    """A deflated package of a small model, with a calibration."""
    make_model(folder)
    calibration = json.dumps({"format": 1, "emotions": ["ang", "sad"], "temperature": 0.5}).encode()
    digest = hashlib.sha256(calibration).hexdigest()
    record = json.loads((folder / "model.json").read_text()) | {"calibration": digest}
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(record))
        archive.writestr("calibration.json", calibration)
        archive.write(folder / "model.safetensors", "model.safetensors")


def _calibration(folder: Path) -> None:
    make_model(folder)
    text = json.dumps({"format": 1, "emotions": ["ang", "sad"], "temperature": 0.5})
    (folder / "calibration.json").write_text(text)


def _posteriors(folder: Path) -> None:
    (folder / "emotions.txt").write_text("ang 0\nsad 1\n")
    (folder / "post").write_text("a  [ 0.25 0.75 ]\nb  [ 1.0 0.0 ]\n")
    (folder / "notes").write_text("normalisation speaker\n")


def _plan(folder: Path) -> None:
    system = {
        "name": "csa_20", "stem": "csa", "context": 20, "seeds": [7], "sets": ["fbank"], "norm": "global",
        "code": "csa", "settings": "conf/csa.yaml", "seeded": True,
    }  # fmt: skip
    tree = {"systems": [system], "fusions": [], "folds": "data/folds", "data": "data/all", "also": []}
    (folder / "plan.json").write_text(json.dumps(tree))


def _data(folder: Path) -> None:
    """Of one recording."""
    _sound("a.wav")(folder)
    _posteriors(folder)
    for name, value in {
        "wav.scp": folder / "a.wav",
        "utt2spk": "s",
        "utt2emo": "sad",
        "utt2dur": 0.1,
    }.items():
        (folder / name).write_text(f"a {value}\n")


def _read_data(folder: Path) -> object:
    paths = tables.read_table(folder / "wav.scp").values()
    return validate(folder, need=["wav.scp"]), [load_samples(Path(path), AUDIO) for path in paths]


PHONES = load_phones(REPO / "conf/phones.yaml")
CORPUS = (REPO / "egs/csv/conf/corpus.yaml").read_bytes()
TASK = f"train\t-\tmodel\t7\t{REPO}/conf/csa.yaml\toptim.lr=0.1\n"
TABLE = 'path,speaker,emotion,text,gender,fold\na.wav,anna,happy,"Well, hello",f,1\nb.wav,ben,sad,,m,2\n'
READERS = {
    "yaml": _text("corpus.yaml", CORPUS, load_corpus),
    "override": _text(
        "override", "a.b={c: [1, 2.5, x]}", lambda p: config.apply({}, p.read_bytes().decode("latin-1"))
    ),
    "table": _text("utt2spk", "a x\nb y z\n", tables.read_table),
    "segments": _text("segments", "a c 0 1.5\nb c 1.5 -1\n", read_segments),
    "counts": _text(
        "frames", "a 12\nb 7\n", lambda p: tables.convert(tables.read_table(p), p, tables.positive_int, "<n>")
    ),
    "utt2emo": _text("utt2emo", "a ang\nb sad\n", lambda p: read_utt2emo(p, ("ang", "sad"))),
    "emotions": _text("emotions.txt", "ang 0\nsad 1\n", read_emotions),
    "source": _text("source", "/data/all\n", lambda p: source_of(p.parent)),
    "ctm": _text("x.ctm", "a 1 0.0 0.5 AH\na 1 0.5 0.25 B\n", read_ctm),
    "frames": _text("x.frames", "a 1 0 5 AH\na 1 5 7 B\n", lambda p: read_frames(p, {"a": 12})),
    "lexicon": _text("lexicon", "HELLO HH AH0 L OW1\nWELL W EH1 L\n", lambda p: read_lexicon(p, PHONES)),
    "textgrid": _text("a.TextGrid", GRID, lambda p: read_textgrid(p, {})),
    "csv": _text("table.csv", TABLE, lambda path: read_rows(open_table(path))),
    "iemocap_text": _text("dialog.txt", "Ses01F_impro01_F000 [0-1]: Well.\n", _of_recipe(read_lines)),
    "folds": _text("folds.tsv", "fold\ttune_fold\ttune_set\n1\t-\t-\n", lambda p: read_folds(p.parent)),
    "tuning": _text(
        "tuning.tsv",
        "fold\tmodel_fold\tdata_fold\tsubset\n1\t2-dev\t2\ttest\n",
        lambda p: read_tuning(p, ("1", "2", "2-dev")),
    ),
    "training_speakers": _text(
        "training_speakers.tsv",
        "\t".join(SpeakerGroup._fields) + "\n1\t4\t4\t9\t300\t52.87\t94.35\t133.46\n",
        read_training_speakers,
    ),
    "tasks": _text("train.tsv", TASK, lambda p: read_task(p, 1)),
    "plan": Reader("plan.json", _plan, plan.read_plan),
    "recordings": Reader("recordings.jsonl.gz", _manifests, read_manifests),
    "supervisions": Reader("supervisions.jsonl.gz", _manifests, read_manifests),
    "posteriors": Reader("post", _posteriors, read_posteriors),
    "data": Reader("wav.scp", _data, _read_data),
    "scp": Reader("x.scp", _ark("none"), lambda folder: tables.ArkReader(folder / "x.scp").read("a")),
    "ark": Reader("x.ark", _ark("none"), lambda folder: tables.ArkReader(folder / "x.scp").read("a")),
    "ark_cm": Reader("x.ark", _ark("CM"), lambda folder: tables.ArkReader(folder / "x.scp").read("a")),
    "ark_cm2": Reader("x.ark", _ark("CM2"), lambda folder: tables.ArkReader(folder / "x.scp").read("a")),
    "ark_text": Reader("x.ark", _text_ark, lambda folder: tables.ArkReader(folder / "x.scp").read("a")),
    "wav": Reader("a.wav", _sound("a.wav"), _read_sound("a.wav")),
    "flac": Reader("a.flac", _sound("a.flac"), _read_sound("a.flac")),
    "wav_header": Reader("a.wav", _sound("a.wav"), _read_header),
    "model": Reader("model.json", make_model, read_model),
    "calibration": Reader("calibration.json", _calibration, models.load_model),
    "package": Reader("a.zip", _package, lambda folder: read_model(folder / "a.zip")),
    "weights": Reader("model.safetensors", make_model, _read_weights),
}
