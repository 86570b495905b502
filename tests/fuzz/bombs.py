"""Files that would take all of the memory or hours; each is made and read in a process of its own.

``python3 -m tests.fuzz.bombs <folder> <name> ..`` writes ``<folder>/<name>.json``: what the reader says, the
seconds of processor time that reading took, and the peak of its memory in MiB.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import shutil
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ser.errors import SerError
from tests.fuzz import readers
from tests.fuzz.readers import READERS, REPO, recording

GUARD = 6 << 30  # bytes of address space: should a bound be missing, the machine must not suffer


def _put(name: str, raw: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    """Read ``raw`` in place of the good file of a reader."""

    def explode(folder: Path) -> object:
        (folder / READERS[name].name).write_bytes(raw() if callable(raw) else raw)
        return READERS[name].read(folder)

    return explode


def _line() -> bytes:
    return b"a " + b"x" * 100_000_000 + b"\n"


def _laughs() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines).encode()


def _members(block: bytes, number: int) -> bytes:
    """Gzip members one behind the other, which unpack to ``number`` times ``block``."""
    return gzip.compress(block, 9) * number


def _ark(kind: bytes, *sizes: int) -> bytes:
    head = b"".join(b"\4" + struct.pack("<i", size) for size in sizes)
    if kind.startswith(b"CM"):
        head = struct.pack("<ffii", 0.0, 1.0, *sizes)
    return b"a \0B" + kind + head + bytes(100)


def _wav(rate: int, size: int, channels: int = 1) -> bytes:
    block = min(2 * channels, 65535)
    layout = struct.pack("<HHIIHH", 1, channels, rate, min(rate * block, (1 << 32) - 1), block, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + layout
        + b"data"
        + struct.pack("<I", size)
        + bytes(3200)
    )


def _flac(folder: Path) -> object:
    """A good file whose header claims 2^36 - 1 samples."""
    path = folder / "a.flac"
    raw = bytearray(path.read_bytes())
    raw[21] |= 0x0F
    raw[22:26] = b"\xff" * 4
    path.write_bytes(raw)
    return READERS["flac"].read(folder)


def _model(**settings: object) -> Callable[[Path], object]:
    def explode(folder: Path) -> object:
        path = folder / "model.json"
        record = json.loads(path.read_text())
        for key, value in settings.items():
            tree = record
            *above, leaf = key.split("__")
            for name in above:
                tree = tree[name]
            tree[leaf] = value
        path.write_text(json.dumps(record))
        return READERS["model"].read(folder)

    return explode


def _layers(folder: Path) -> object:
    """A BLSTM of as many and as wide layers as its settings may say, with the weights of another network."""
    from ser.config import to_dict
    from ser.systems import load_settings

    _, settings = load_settings(REPO / "conf/blstmatt.yaml")
    tree = to_dict(settings)
    tree["model"] |= {"layers": 1_000_000_000, "hidden": 1_000_000_000}
    return _model(settings=tree)(folder)


def _wide(folder: Path) -> object:
    return _model(sizes__features={"fbank": 1_000_000})(folder)


def _weights(folder: Path) -> object:
    """Tensors that claim 10^12 numbers."""
    claim = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    head = json.dumps({"model.x": claim}).encode()
    raw = struct.pack("<Q", len(head)) + head + bytes(1000)
    (folder / "model.safetensors").write_bytes(raw)
    return _model(weights=hashlib.sha256(raw).hexdigest())(folder)


def _csv(rows: Iterator[str]) -> Callable[[Path], object]:
    def explode(folder: Path) -> object:
        from ser.corpora.csv_table import prepare_csv
        from ser.data.corpus import load_corpus

        (folder / "table.csv").write_text("path,speaker,emotion\n" + "".join(rows))
        READERS["wav"].make(folder)
        return prepare_csv(folder / "table.csv", config=load_corpus(REPO / "egs/csv/conf/corpus.yaml"))

    return explode


def _dense(folder: Path) -> object:
    """300,000 good entries about nothing: each a fault."""
    readers.write_items(folder / "recordings.jsonl.gz", [recording("a")])
    line = json.dumps(readers.supervision("b")).encode() + b"\n"
    (folder / "supervisions.jsonl.gz").write_bytes(gzip.compress(line * 300_000, 1))
    return READERS["supervisions"].read(folder)


PRONUNCIATIONS = [b"A" + b" AH" * (i % 97) + b" B" * (i % 89) + b" K\n" for i in range(60_000)]
# name -> what is to be said, and how to make and read it
BOMBS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "yaml_aliases": ("aliases (*name) are not read", _put("yaml", _laughs())),
    "yaml_large": ("such a file may have", _put("yaml", lambda: b"a: [" + b"x, " * 10_000_000 + b"]")),
    "yaml_dense": ("got ", _put("yaml", b"[" + b"x," * 200_000 + b"x]")),
    "gzip_zeros": ("unpacks to more than", _put("recordings", _members(bytes(1 << 26), 64))),
    "gzip_newlines": ("no manifest entry", _put("recordings", _members(b"\n" * (1 << 26), 64))),
    "gzip_entries": ("appears twice", _put("recordings", _members(b'{"id": "a"}\n' * (1 << 22), 64))),
    "gzip_faults": ("(1000 lines: 1, 2, 3, ...)", _dense),
    "ark_floats": ("cut short", _put("ark", _ark(b"FM ", 10**6, 10**6))),
    "ark_doubles": ("cut short", _put("ark", _ark(b"DV ", 2**31 - 1))),
    "ark_negative": ("cut short", _put("ark", _ark(b"FM ", -5, 7))),
    "ark_compressed": ("cut short", _put("ark", _ark(b"CM ", 10**6, 10**6))),
    "ark_integers": ("cut short", _put("ark", _ark(b"", 2**31 - 1))),
    "wav_long": ("cut short", _put("wav", _wav(16000, 2**31 - 100_000))),
    "wav_rate": ("is the most", _put("wav", _wav(2**31 - 1, 3200))),
    "wav_channels": ("", _put("wav", _wav(16000, 3200, 60_000))),
    "flac_long": ("a.flac: ", _flac),
    "model_layers": ("model.json", _layers),
    "model_sizes": ("must be from 1 to 1000000", _model(sizes__features={"fbank": 10**9})),
    "model_wide": ("has no statistics", _wide),
    "model_weights": ("is no safetensors file", _weights),
    "textgrid": ("TextGrid", _put("textgrid", lambda: readers.GRID.encode() * 40_000)),
    "labels": ("100000 values that labels", _csv(f"a{i}.wav,anna,label{i}\n" for i in range(100_000))),
    "duplicates": ("again; keep one", _csv("a.wav,anna,happy\n" for _ in range(300_000))),
    "duplicate_speakers": ("again; keep one", _csv(f"a.wav,s{i},happy\n" for i in range(100_000))),
    "line_table": ("", _put("table", _line)),
    "line_emotions": ("expected", _put("emotions", _line)),
    "line_ctm": ("expected", _put("ctm", _line)),
    "line_lexicon": ("phone", _put("lexicon", _line)),
    "line_csv": ("", _put("csv", _line)),
    "pronunciations": ("", _put("lexicon", b"".join(PRONUNCIATIONS))),
}  # fmt: skip


def detonate(name: str, folder: Path) -> tuple[str, float, float]:
    """What the reader says, the seconds that it took, and the peak of this process's memory in MiB."""
    resource.setrlimit(resource.RLIMIT_AS, (GUARD, GUARD))
    for reader in READERS.values():
        if reader.name.startswith(("recordings", "a.", "model.json", "x.ark")):
            reader.make(folder)
    begun = time.process_time()
    try:
        BOMBS[name][1](folder)
        message = ""
    except SerError as error:
        message = str(error)
    return message, time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(folder: Path, names: list[str]) -> None:
    """Each in a process of its own, forked so that the imports are paid once."""
    for name in names:
        place = folder / name
        place.mkdir()
        child = os.fork()
        if child == 0:
            try:
                (folder / f"{name}.json").write_text(json.dumps(detonate(name, place)))
            except BaseException:
                (folder / f"{name}.json").write_text(json.dumps([traceback.format_exc(), 0.0, 0.0]))
            os._exit(0)
        os.waitpid(child, 0)
        shutil.rmtree(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
