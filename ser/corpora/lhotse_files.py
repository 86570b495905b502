"""Files of lhotse manifests: which they are, whatever they are called, and what stands in them."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ser import reading
from ser.data.manifests import MAX_BYTES, MAX_LINE
from ser.data.tables import KEY_BYTES
from ser.errors import DataError, all_of, short, shown

log = logging.getLogger("ser")

_SUFFIXES = (".jsonl", ".jsonl.gz")
_OTHER_SUFFIXES = (".json", ".json.gz", ".yaml", ".yaml.gz", ".yml")
_ODD = re.compile(r"[^\w.@%+=:,-]+", re.ASCII)  # what an id may not hold
_REMEDY = "make the manifest again"
_ROUNDING_S = 1e-3  # a supervision may end so much outside its cut and is still all in it


class Faults:
    """What is wrong with manifests, by kind: each is one line with its first places."""

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[str, str]]] = {}
        self._details: dict[str, str] = {}

    def add(self, where: str, name: str, what: str, detail: str = "") -> None:
        """Add a fault of an entry.

        Args:
            where: its ``<file>:<line>``.
            name: its id.
            what: what is wrong and what to do, with ``{}`` where the details of the first one are to stand.
            detail: these.
        """
        self._places.setdefault(what, []).append((where, name))
        self._details.setdefault(what, detail)

    def raise_if_any(self) -> None:
        """Raise a DataError of all faults."""
        lines = []
        for what, places in self._places.items():
            names = ", ".join(short(name) for _, name in places[:3])
            count = f" ({len(places)} entries: {names}{', ...' * (len(places) > 3)})" if places[1:] else ""
            told = what.replace("{}", self._details[what])
            lines.append(f"{places[0][0]}: {short(places[0][1])}: {told}{count}")
        if lines:
            raise all_of(lines)


class Manifests:
    """Recordings and supervisions, each entry as it stands, with ``where``: its ``<file>:<line>``.

    Attributes:
        paths: the files that are used.
        recordings: id -> entry.
        supervisions: entries on the time lines of their recordings; with ``part`` (train, ...) where the
            names of several files say it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.recordings: dict[str, dict[str, Any]] = {}
        self.supervisions: list[dict[str, Any]] = []

    def place_of(self, source: str, where: str) -> Path:
        """The path of an audio file; a relative one is looked for in the manifest's folder and above it."""
        if os.path.isabs(source):
            return Path(source)
        folder = Path(os.path.abspath(where.rpartition(":")[0])).parent
        for place in (folder, *folder.parents):
            if (place / source).exists():
                return place / source
        return folder / source


def safe_key(name: str) -> str:
    """An id in the characters that one may have.

    >>> safe_key("b1-03"), safe_key("b1/03 a")
    ('b1-03', 'b1_03_a-f8649120')
    """
    safe = _ODD.sub("_", name).lstrip(".-")
    if safe == name and len(name) <= KEY_BYTES:
        return safe
    return f"{safe[: KEY_BYTES - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # two may become one


def read_manifest_files(path: Path) -> Manifests:
    """Find and read manifests.

    Args:
        path: a folder with recordings and supervisions, or cuts; or a file of supervisions, with its
            recordings beside it, or of cuts.

    Raises:
        DataError: there are none, or entries that cannot be used.
    """
    kinds = _kinds(path)
    supervised = kinds["cuts"]
    if kinds["supervisions"]:
        if not kinds["recordings"]:
            folder = path if path.is_dir() else path.parent
            raise DataError(
                f"{folder}: holds supervisions and no recordings; put the manifest of those there too"
            )
        supervised = kinds["supervisions"]
        unused = [item.name for kind in ("cuts", "features", "other") for item in kinds[kind]]
    elif supervised:
        unused = [item.name for kind in ("recordings", "features", "other") for item in kinds[kind]]
        kinds["recordings"] = []
    else:
        raise DataError(
            f"{path}: holds neither supervisions nor cuts (*.jsonl, *.jsonl.gz); name their folder"
        )
    if unused:
        log.warning("%s: not used: %s", path, ", ".join(unused))
    files = Manifests([*kinds["recordings"], *supervised])
    for place in kinds["recordings"]:
        for where, item in _entries(place):
            _add_recording(files, where, item)
    parts = _parts(supervised)
    faults = Faults()
    for place in supervised:
        for where, item in _entries(place):
            own = [item] if kinds["supervisions"] else _of_cut(files, where, item, faults)
            files.supervisions += [{**one, "where": where, "part": parts[place]} for one in own]
    _check_twice(files.supervisions, faults)
    faults.raise_if_any()
    if not files.supervisions:
        raise DataError(f"{path}: holds no supervision; {_REMEDY}")
    return files


def _kinds(path: Path) -> dict[str, list[Path]]:
    """The manifests in a folder, or beside and with the file that is named, by kind."""
    kinds: dict[str, list[Path]] = {
        kind: [] for kind in ("recordings", "supervisions", "cuts", "features", "other")
    }
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; name lhotse manifests")
    folder = path if path.is_dir() else path.parent
    others = sorted(item for item in folder.iterdir() if item.name.endswith(_SUFFIXES) and item != path)
    for item in others if path.is_dir() else [path, *others]:
        kind = _kind(next((entry for _, entry in _entries(item)), {}))
        if path.is_dir() or item == path or kind == "recordings":
            kinds[kind].append(item)
    if path.is_dir() and not any(kinds.values()):
        convertible = sorted(item.name for item in folder.iterdir() if item.name.endswith(_OTHER_SUFFIXES))
        if convertible:
            name = convertible[0]
            new = f"{name.partition('.')[0]}.jsonl.gz"
            raise DataError(
                f"{path}: holds no manifest of JSON lines; convert those you have: lhotse copy {name} {new}"
            )
    return kinds


def _kind(entry: Mapping[str, Any]) -> str:
    """What an entry is, by what it holds."""
    if "sources" in entry:
        return "recordings"
    if "supervisions" in entry or "tracks" in entry or str(entry.get("type", "")).endswith("Cut"):
        return "cuts"
    if "storage_type" in entry:
        return "features"
    return "supervisions" if {"id", "recording_id", "start", "duration"} <= entry.keys() else "other"


def _parts(paths: Sequence[Path]) -> dict[Path, str]:
    """What the names of several files do not have in common, such as train; "" for a single file."""
    words = {path: re.split(r"[_.-]", path.name.partition(".jsonl")[0]) for path in paths}
    common = set.intersection(*(set(own) for own in words.values())) if len(paths) > 1 else set()
    if len(paths) < 2:
        return dict.fromkeys(paths, "")
    return {path: "-".join(word for word in own if word not in common) for path, own in words.items()}


def _entries(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry of a file with its ``<file>:<line>``."""
    done = 0
    with (
        reading.guarded(path, _REMEDY, what="cut short or not gzip"),
        reading.open_file(path) as raw,
        gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw as stream,
    ):
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
            done += len(line)
            if len(line) == MAX_LINE or done > MAX_BYTES:
                raise reading.BadFileError("unpacks to more than a manifest may hold", number)
            if not line.strip():
                continue
            where = f"{path}:{number}"
            with reading.guarded(where, _REMEDY, what="no manifest entry"):
                item = json.loads(line.decode("utf-8"))
                _check_form(item)
            yield where, item


_FORMS: dict[str, tuple[type, ...]] = {
    **{key: (str,) for key in ("id", "recording_id")},
    **{key: (int, float) for key in ("start", "duration", "sampling_rate", "num_samples")},
    **{key: (list, type(None)) for key in ("sources", "supervisions", "transforms")},
    **{key: (dict, type(None)) for key in ("custom", "alignment")},
    **{key: (str, type(None)) for key in ("speaker", "gender", "language", "text")},
    "channel": (int, list),
}
_NEEDED = {
    "recordings": ("id", "sources", "sampling_rate", "num_samples", "duration"),
    "supervisions": ("id", "recording_id", "start", "duration"),
    "cuts": ("id",),
}


def _check_form(item: Any) -> None:
    """Make sure that what is read of an entry is of the type that lhotse gives it."""
    if not isinstance(item, dict):
        raise ValueError("no mapping")
    for key in _NEEDED.get(_kind(item), ()):
        if key not in item:
            raise KeyError(key)
    for key, types in _FORMS.items():
        _require(key not in item or isinstance(item[key], types), key, item.get(key))
    _require(item.get("channel") != [], "channel", [])
    for source in item.get("sources") or ():
        _require(isinstance(source["type"], str) and isinstance(source["channels"], list), "a source", source)
    for one in item.get("transforms") or ():
        _require(isinstance(one, dict) and isinstance(one.get("kwargs", {}), dict), "a transform", one)
    for row in (row for rows in (item.get("alignment") or {}).values() for row in rows):
        good = isinstance(row, list) and 3 <= len(row) <= 4 and isinstance(row[0], str)
        _require(good, "a row of an alignment", row)


def _require(good: bool, what: str, value: object) -> None:
    if not good:
        raise ValueError(f"{what} is {shown(value)}")


def _add_recording(files: Manifests, where: str, item: dict[str, Any]) -> None:
    other = files.recordings.setdefault(item["id"], {**item, "where": where})
    if {**item, "where": other["where"]} != other:
        raise DataError(
            f"{where}: the recording {short(item['id'])} is another one in {other['where']}; keep one of them"
        )


def _of_cut(files: Manifests, where: str, cut: dict[str, Any], faults: Faults) -> list[dict[str, Any]]:
    """The supervisions of a cut on the time line of its recording, which is added to ``files``."""
    kind = str(cut.get("type", "MonoCut"))
    recording, told = cut.get("recording"), cut.get("supervisions") or []
    if kind not in ("MonoCut", "MultiCut"):
        what = f"is a {kind}, of several sounds; write it to a file first: cuts.save_audios(folder) of lhotse"
        faults.add(where, cut["id"], what)
    elif not told:
        faults.add(where, cut["id"], "is a cut without supervision; leave it out: cuts.filter of lhotse")
    elif not isinstance(recording, dict):
        faults.add(where, cut["id"], "is a cut without recording; attach it, since features are made anew")
    else:
        with reading.guarded(where, _REMEDY, what="no manifest entry"):
            for item in (recording, *told):
                _check_form(item)
            _add_recording(files, where, recording)
            return [_moved(cut, item, recording["id"]) for item in told]
    return []


def _moved(cut: Mapping[str, Any], item: dict[str, Any], recording: str) -> dict[str, Any]:
    """A supervision of a cut on the time line of the recording, with what the cut's ``custom`` has too.

    Its alignment is on that already: lhotse moves a supervision into a cut, but not its alignment.
    """
    custom = {**(cut.get("custom") or {}), **(item.get("custom") or {})}
    start_s = round(float(item["start"]) + float(cut["start"]), 8)
    end_s, cut_end_s = float(item["start"]) + float(item["duration"]), float(cut["duration"])
    crosses = float(item["start"]) < -_ROUNDING_S or end_s > cut_end_s + _ROUNDING_S
    return {**item, "recording_id": recording, "start": start_s, "custom": custom, "crosses": crosses}


def _check_twice(items: Sequence[Mapping[str, Any]], faults: Faults) -> None:
    """Note supervisions that stand twice, as those of a cut into windows do."""
    seen: dict[str, bool] = {}  # id -> whether it goes beyond its cut
    for item in items:
        crosses = bool(item.get("crosses"))
        if item["id"] in seen:
            what = "is a supervision that stands here again; name the file to take, or keep one of them"
            if crosses or seen[item["id"]]:
                what = (
                    "is a supervision with parts in several cuts; make cuts of whole supervisions: "
                    "cuts.trim_to_supervisions() of lhotse"
                )
            faults.add(item["where"], item["id"], what)
        seen[item["id"]] = crosses or seen.get(item["id"], False)
