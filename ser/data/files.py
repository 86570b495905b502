"""Files that appear whole or not at all, one process at a time, and the record of what made them."""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from ser import reading
from ser.errors import DataError, StaleError

log = logging.getLogger("ser")

MADE = "made.json"
_SETTLED_NS = 2_000_000_000  # after a file's last change, when its times are sure to tell of the next
_SYNCS = 32  # files that are put on the disk at once
_sync_later = ContextVar("sync_later", default=False)
CHEAP_BYTES = 1 << 20  # files up to this size are read whenever they are compared


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write ``path`` beside itself, then rename: a reader sees the old file or the whole new one.

    Nothing is written through a link, neither at ``path``, which is replaced, nor beside it, where the name
    cannot be foreseen.

    Args:
        path: the file to make; its folder is made if need be.
        mode: ``"w"`` (UTF-8 text, LF line ends) or ``"wb"``.

    Raises:
        DataError: the file cannot be written (no space, no permission); nothing is left behind.
    """
    own = f"{socket.gethostname()}.{os.getpid()}.{os.urandom(4).hex()}"
    staging = path.with_name(f".{path.name}.{own}.part")
    text = {"encoding": "utf-8", "newline": "\n"} if "b" not in mode else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with open(staging, mode, opener=_open_new, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            if not _sync_later.get():
                os.fsync(stream.fileno())
        staging.replace(path)
    except OSError as error:
        if error.filename not in (None, str(staging), str(path)) or error.errno is None:
            raise
        raise _unwritable(path, error) from error
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def synced_together(folder: Path) -> Iterator[None]:
    """Put files that the block writes below ``folder`` on the disk at its end, together, which is faster.

    For a folder that nobody reads before it is whole.

    Raises:
        OSError: there is no space for one.
    """
    token = _sync_later.set(True)
    try:
        yield
    finally:
        _sync_later.reset(token)
    with ThreadPoolExecutor(_SYNCS) as pool:
        list(pool.map(_sync, [path for path in folder.rglob("*") if path.is_file()]))


def _sync(path: Path) -> None:
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be written ({error.strerror}); free some space or choose "
        "another folder, then run the same command again"
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the lock goes with the process, however it ends.

    What a killed holder left half-written in it is removed.

    Raises:
        DataError: another process holds it, or it cannot be locked.
    """
    with _open_lock(folder / ".lock") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise DataError(
                f"{folder}: in use by {stream.read().strip() or 'another process'}; wait for it to "
                "end, stop it, or choose another folder"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        for leftover in folder.glob(".*.part"):
            with suppress(OSError):  # a folder is none of ours
                leftover.unlink()
        yield


def _open_lock(path: Path) -> IO[str]:
    """Open a lock for reading and writing, made if need be; what a link leads to is no lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be locked ({error.strerror})"
        raise DataError(f"{path}: {why}; remove it, or choose another folder") from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(descriptor)
        raise DataError(f"{path}: is no lock, but another file or its second name; remove it")
    return open(descriptor, "r+", encoding="utf-8", errors="replace")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; a file that was not changed meanwhile is read once."""
    with reading.guarded(path, "put it back, or make it again"):
        at = os.stat(path)
        if time.time_ns() - max(at.st_mtime_ns, at.st_ctime_ns) < _SETTLED_NS:
            return _digest(path)
        return _known_digest(path, at.st_size, at.st_dev, at.st_ino, at.st_mtime_ns, at.st_ctime_ns)


@functools.lru_cache(maxsize=1 << 14)
def _known_digest(path: Path, *state: int) -> str:  # noqa: ARG001  (tells one content from another)
    return _digest(path)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with reading.open_file(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two nested mappings, one ``key: old -> new`` each, in key order.

    A key that is not set is the same as one that is null.
    """
    before, after = flatten(old), flatten(new)
    missing = "(not set)"
    return [
        f"{key}: {before.get(key, missing)} -> {after.get(key, missing)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def write_made(
    folder: Path,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    outputs: Iterable[Path],
    *,
    thorough: bool = False,
) -> None:
    """Record, as the last act of making ``folder``, what it was made with and from, and what was made.

    Args:
        folder: the record's place.
        settings: nested mapping of JSON values.
        inputs: name -> file, recorded by digest.
        outputs: files, in the folder or elsewhere; recorded by size, those up to :data:`CHEAP_BYTES` also by
            digest.
        thorough: record the digests of large outputs too.
    """
    made = {
        os.path.relpath(path, folder): _state(path, digest=thorough or path.stat().st_size <= CHEAP_BYTES)
        for path in sorted(outputs)
    }
    record = {**_record(settings, inputs), "outputs": made}
    with whole_file(folder / MADE) as stream:
        json.dump(record, stream, indent=1, sort_keys=True)
        stream.write("\n")


def is_made(
    folder: Path,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    *,
    remedy: str = "",
    thorough: bool = False,
    tell: bool = True,
    words: Callable[[], list[str]] = list,
) -> bool:
    """Whether ``folder`` is finished, was made with just these settings from just these inputs, and is whole.

    A record of an older version, which names no outputs, is taken at its word.

    Args:
        folder: an output folder that :func:`write_made` ends.
        settings: nested mapping of JSON values.
        inputs: name -> file, compared by content.
        remedy: what the user can do about other settings or inputs.  Without it a difference means "make it
            again" (False); with it a difference is an error.
        thorough: compare the content of large outputs too, where their digests were recorded.
        tell: log which output is lost, as one who will make it again.
        words: what changed in the inputs, in words, where that can be told; else their names are.

    Raises:
        StaleError: finished, but different, and ``remedy`` is given.
    """
    if not _read_record(folder):
        return False
    changed_inputs = input_changes(folder, inputs)
    changed = changed_inputs + setting_changes(folder, settings)
    if changed and remedy:
        if changed_inputs and (told := words()):
            changed[: len(changed_inputs)] = told
        raise made_differently(folder, changed, remedy)
    lost = [] if changed else lost_outputs(folder, thorough=thorough)
    if tell:
        tell_lost(lost)
    return not changed and not lost


def made_differently(folder: Path, changes: Sequence[str], remedy: str) -> StaleError:
    """The refusal of a finished folder, of one layout everywhere: what differs, and a remedy."""
    more = f" (and {len(changes) - 5} more)" if len(changes) > 5 else ""
    return StaleError(f"{folder}: was made differently: {'; '.join(changes[:5])}{more}; {remedy}")


def input_changes(folder: Path, inputs: Mapping[str, Path]) -> list[str]:
    """Which inputs of a finished folder differ from these, in words; nothing where it is not finished."""
    record = _read_record(folder)
    if not record:
        return []
    old, new = record.get("inputs", {}), _record({}, inputs)["inputs"]
    words = {name: "has changed" for name in old.keys() & new.keys() if old[name] != new[name]}
    words |= {name: "is gone" for name in old.keys() - new.keys()}
    words |= {name: "is new" for name in new.keys() - old.keys()}
    return [f"{name} {words[name]}" for name in sorted(words)]


def setting_changes(folder: Path, settings: Mapping[str, Any], *, ignore: Collection[str] = ()) -> list[str]:
    """In which settings a finished folder differs from these; nothing where it is not finished."""
    old = _read_record(folder)
    recorded = {key: value for key, value in old.get("settings", {}).items() if key not in ignore}
    return differences(recorded, json.loads(json.dumps(settings))) if old else []


def made_outputs(folder: Path) -> list[Path]:
    """What :func:`write_made` recorded as made, whether it is still there or not."""
    return [folder / name for name in _read_record(folder).get("outputs", {})]


def lost_outputs(folder: Path, *, thorough: bool = False) -> list[Path]:
    """What a finished folder had when it was made, and has no more: gone, of another size or content."""
    record = _read_record(folder).get("outputs", {})
    return [folder / name for name, state in record.items() if not _is_whole(folder / name, state, thorough)]


def tell_lost(lost: Sequence[Path]) -> None:
    """Say in one line that outputs are lost and will be made again, if any are."""
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        log.warning("%s: is gone or damaged%s; making it again", os.path.normpath(lost[0]), more)


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and below, without hidden ones and its record."""
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(path for path in paths if not path.name.startswith(".") and path != folder / MADE)


def _state(path: Path, *, digest: bool) -> list[int | str]:
    size = path.stat().st_size
    return [size, file_digest(path)[:16]] if digest else [size]


def _is_whole(path: Path, state: list[int | str], thorough: bool) -> bool:
    try:
        size, *digest = state
        if path.stat().st_size != size:
            return False
        return (
            not digest
            or (path.stat().st_size > CHEAP_BYTES and not thorough)
            or (file_digest(path)[:16] == digest[0])
        )
    except OSError:
        return False


def _read_record(folder: Path) -> dict[str, Any]:
    """What :func:`write_made` wrote; empty if it did not, or did not end."""
    try:
        record = reading.read_json(folder / MADE, "make it again")
    except DataError:
        return {}
    return record if isinstance(record, dict) else {}


def _record(settings: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    digests = {name: file_digest(path)[:16] for name, path in inputs.items()}
    return {"settings": settings, "inputs": digests}
