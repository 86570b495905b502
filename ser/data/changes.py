"""A data folder whose corpus has changed: what differs, in words, and what of it can be replaced."""

from __future__ import annotations

import logging
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ser import reading
from ser.data import files, tables
from ser.errors import StaleError, examples, plural

log = logging.getLogger("ser")
CHANGED_SINCE = "was changed since it was made; put it back, or remove the file to have it made again"
Tables = Mapping[str, Mapping[str, str]]  # name of a table -> key -> value

_NOUNS = {
    "segments": "segment",
    "spk2gender": "gender",
    "text": "transcript",
    "utt2dur": "duration",
    "utt2emo": "label",
    "utt2spk": "speaker",
    "wav.scp": "recording",
}
_DERIVED = ("spk2utt",)


def table_changes(old: Tables, new: Tables) -> list[str]:
    """What differs between two sets of tables, a line a kind of change.

    >>> old = {"utt2spk": {"a": "x", "b": "x"}, "utt2emo": {"a": "ang", "b": "sad"}}
    >>> table_changes(old, {"utt2spk": {"a": "x"}, "utt2emo": {"a": "sad"}})
    ['1 utterance fewer: b', '1 label changed: a']

    Args:
        old: tables by name; ``utt2spk`` says which utterances there are.
        new: the others.
    """
    before, after = old["utt2spk"].keys(), new["utt2spk"].keys()
    lines = [_line(before - after, "utterance", "fewer"), _line(after - before, "utterance", "more")]
    for name in sorted(old.keys() & new.keys() - set(_DERIVED)):
        one, two = old[name], new[name]
        noun = _noun(name)
        lines.append(_line([key for key in one.keys() & two.keys() if one[key] != two[key]], noun, "changed"))
        if name != "utt2spk":
            lines.append(_line((one.keys() - two.keys()) & after, noun, "fewer"))
            lines.append(_line((two.keys() - one.keys()) & before, noun, "more"))
    lines += [f"the table {name} is gone" for name in sorted(old.keys() - new.keys())]
    lines += [f"the table {name} is new" for name in sorted(new.keys() - old.keys())]
    return [line for line in lines if line]


def _noun(name: str) -> str:
    if name in _NOUNS:
        return _NOUNS[name]
    return f"{name.removesuffix('.ctm')} alignment" if name.endswith(".ctm") else name.removeprefix("utt2")


def _line(keys: Iterable[str], noun: str, how: str) -> str:
    """``2 labels changed: a, b``; nothing of no keys."""
    names = sorted(keys)
    if not names:
        return ""
    return f"{plural(len(names), noun)} {how}: {examples(names)}"


def read_tables(folder: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tables of a data folder by name; the lines of a CTM are joined by utterance.

    Args:
        folder: the data folder.
        names: of files in it; what is no table or is not there is passed over.

    Raises:
        DataError: one cannot be read.
    """
    found = {}
    for name in names:
        path = folder / name
        if name.endswith(".ctm") and path.is_file():
            found[name] = _read_ctm(path)
        elif (name in _NOUNS or name.startswith("utt2")) and path.is_file():
            found[name] = tables.read_table(path)
    return found


def _read_ctm(path: Path) -> dict[str, str]:
    lines: dict[str, list[str]] = defaultdict(list)
    for line in reading.read_text(path, "run stage 0 again").splitlines():
        lines[line.partition(" ")[0]].append(line)
    return {key: "\n".join(values) for key, values in lines.items()}


def remove(out: Path) -> str:
    """The remedy for a data folder, or for folds, that was made otherwise: one command.

    With a data folder go the folds beside it, which are views of it.
    """
    folds = sorted(path.parent for path in out.parent.glob(f"folds*/{files.MADE}") if out.name == "all")
    command = " ".join(shlex.quote(str(path)) for path in dict.fromkeys([out, *folds]))
    what = "them" if folds else "it"
    return f"choose another folder, or remove {what}: rm -r {command}"


def replace_tables(staging: Path, out: Path) -> None:
    """Replace the tables of a finished data folder by those of a changed corpus; says what differs.

    Features and what was trained stay: they depend on the recordings, and what reads other tables sees that
    these have changed.

    Args:
        staging: the tables as they should be now.
        out: the finished folder; its record is left to the caller, as the last file to replace.

    Raises:
        StaleError: features are there, and utterances or recordings have changed; or a table of ``out`` was
            changed since it was made, and is not as it should be now.
    """
    made = [path.name for path in files.made_outputs(out)]
    names = [path.name for path in files.files_below(staging)]
    for path in files.lost_outputs(out):
        if path.is_file() and path.stat().st_size and not _same(path, staging / path.name):
            raise StaleError(f"{path}: {CHANGED_SINCE}")
    old, new = read_tables(out, made), read_tables(staging, names)
    lines = table_changes(old, new)
    audio = [name for name in ("segments", "utt2dur", "wav.scp") if old.get(name) != new.get(name)]
    if audio and any(out.glob(f"*/{files.MADE}")):
        raise files.made_differently(out, lines, remove(out))
    for name in names:
        if not _same(out / name, staging / name):
            (staging / name).replace(out / name)
    for name in set(made) - set(names):
        (out / name).unlink(missing_ok=True)
    if lines:
        log.warning("%s: the corpus has changed: %s", out, "; ".join(lines))


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and files.file_digest(path) == files.file_digest(other)
