"""Files that appear whole or not at all, one process at a time, and the record of what made them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ser.errors import DataError, StaleError

MADE = "made.json"


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write ``path`` beside itself, then rename: a reader sees the old file or the whole new one.

    Args:
        path: the file to make; its folder is made if need be.
        mode: ``"w"`` (UTF-8 text, LF line ends) or ``"wb"``.

    Raises:
        DataError: the file cannot be written (no space, no permission); nothing is left behind.
    """
    staging = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    text = {"encoding": "utf-8", "newline": "\n"} if "b" not in mode else {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with open(staging, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        staging.replace(path)
    except OSError as error:
        if error.filename not in (None, str(staging), str(path)) or error.errno is None:
            raise
        raise _unwritable(path, error) from error
    finally:
        staging.unlink(missing_ok=True)


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
        DataError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with open(path, "a+", encoding="utf-8") as stream:
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
            leftover.unlink(missing_ok=True)
        yield


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
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
    """What differs between two nested mappings, one ``key: old -> new`` each, in key order."""
    before, after = flatten(old), flatten(new)
    missing = "(not set)"
    return [
        f"{key}: {before.get(key, missing)} -> {after.get(key, missing)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, missing) != after.get(key, missing)
    ]


def write_made(folder: Path, settings: Mapping[str, Any], inputs: Mapping[str, Path]) -> None:
    """Record, as the last act of making ``folder``, the settings and the digests of the inputs."""
    record = _record(settings, inputs)
    with whole_file(folder / MADE) as stream:
        json.dump(record, stream, indent=1, sort_keys=True)
        stream.write("\n")


def is_made(
    folder: Path, settings: Mapping[str, Any], inputs: Mapping[str, Path], *, remedy: str = ""
) -> bool:
    """Whether ``folder`` is finished and was made with just these settings from just these inputs.

    Args:
        folder: an output folder that :func:`write_made` ends.
        settings: nested mapping of JSON values.
        inputs: name -> file, compared by content.
        remedy: what the user can do about a difference.  Without it a difference means "make it
            again" (False); with it a difference is an error.

    Raises:
        StaleError: finished, but different, and ``remedy`` is given.
    """
    path = folder / MADE
    if not path.exists():
        return False
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    changed = differences(old, json.loads(json.dumps(_record(settings, inputs))))
    if not changed:
        return True
    if not remedy:
        return False
    shown = "; ".join(change.removeprefix("settings.") for change in changed[:5])
    more = f" (and {len(changed) - 5} more)" if len(changed) > 5 else ""
    raise StaleError(f"{folder}: was made differently: {shown}{more}; {remedy}")


def _record(settings: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    digests = {name: file_digest(path)[:16] for name, path in inputs.items()}
    return {"settings": settings, "inputs": digests}
