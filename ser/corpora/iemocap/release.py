"""Where a release is, and its dialogs: each must have its labels, its transcription and its recordings.

What lies where in it is described in :mod:`ser.corpora.iemocap.recipe`.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from ser import reading
from ser.cli import log
from ser.corpora.iemocap.recipe import COPY_AGAIN, DIALOG, Dialog
from ser.errors import DataError

SESSIONS = ("1", "2", "3", "4", "5")

_SESSION = re.compile(r"Session(\d+)")


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file or folder of the release that cannot be opened."""
    if error.errno == errno.EINVAL:
        try:
            reading.check_file(path)
        except reading.BadFileError as fault:
            return DataError(f"{path}: {fault}; {COPY_AGAIN}")
    if path.is_symlink() and isinstance(error, FileNotFoundError):
        return DataError(f"{path}: is a dead symbolic link to {os.readlink(path)}; {COPY_AGAIN}")
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: is missing; {COPY_AGAIN}")
    if isinstance(error, PermissionError):
        return DataError(f"{path}: cannot be read ({error.strerror}); give yourself permission to read it")
    return DataError(f"{path}: cannot be read ({error.strerror}); {COPY_AGAIN}")


def list_folder(path: Path) -> list[str]:
    """The names in a folder, sorted, without those that start with ``.`` (such as AppleDouble's ``._``).

    Raises:
        DataError: the folder is missing, a dead link or unreadable.
    """
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise unreadable(path, error) from error


def find_release(corpus_dir: Path) -> Path:
    """The folder that holds ``Session1`` to ``Session5``.

    Args:
        corpus_dir: that folder, or one with a single such folder in it (one level too high, or an
            ``IEMOCAP_full_release`` nested in another), which is then taken and said.

    Returns:
        The folder, absolute.

    Raises:
        DataError: there is none, or several; the message names the right one if it can be seen.
    """
    corpus_dir = corpus_dir.absolute()
    if not corpus_dir.exists() and not corpus_dir.is_symlink():
        raise DataError(f"{corpus_dir}: no such folder; name the one that holds Session1 to Session5")
    if corpus_dir.is_file():
        raise DataError(
            f"{corpus_dir}: is a file; unpack it, and name the folder that holds Session1 to Session5"
        )
    list_folder(corpus_dir)  # a folder that is unreadable or a dead link says so
    if _has_sessions(corpus_dir):
        return corpus_dir
    for parent in corpus_dir.resolve().parents:
        if _has_sessions(parent):
            raise DataError(f"{corpus_dir}: is a part of a release; name the whole one, {parent}")
    releases = _releases_below(corpus_dir)
    if len(releases) > 1:
        raise DataError(
            f"{corpus_dir}: holds {len(releases)} releases; name one of {', '.join(map(str, releases))}"
        )
    if not releases:
        raise DataError(f"{corpus_dir}: holds no Session1 to Session5; name the folder of IEMOCAP that does")
    log.info("%s: holds no sessions itself, taking %s", corpus_dir, releases[0])
    return releases[0]


def _has_sessions(folder: Path) -> bool:
    return any(_SESSION.fullmatch(name) for name in _folders(folder))


def _folders(folder: Path) -> list[str]:
    """Sub-folders and links, or nothing where one may not look."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                item.name for item in entries if item.name[0] != "." and (item.is_symlink() or item.is_dir())
            )
    except OSError:
        return []


def _releases_below(folder: Path) -> list[Path]:
    below = [folder / name for name in _folders(folder)]
    releases = [path for path in below if _has_sessions(path)]
    if releases:
        return releases
    nested = [path / name for path in below if "iemocap" in path.name.lower() for name in _folders(path)]
    return [path for path in nested if _has_sessions(path)]


def find_dialogs(release: Path, problems: list[str]) -> list[Dialog]:
    """All dialogs of a release, by session and name; a missing session is only said.

    Args:
        release: the folder that holds the sessions.
        problems: what is wrong is appended here, a line each.
    """
    sessions = {}
    for name in list_folder(release):
        match = _SESSION.fullmatch(name)
        if match and match[1] in SESSIONS:
            sessions[match[1]] = release / name
        elif match:
            problems.append(
                f"{release / name}: is no part of IEMOCAP, which has Session1 to Session5; remove it"
            )
    missing = [f"Session{number}" for number in SESSIONS if number not in sessions]
    if missing:
        log.warning("%s: has no %s; the other sessions are prepared", release, ", ".join(missing))
    return [
        dialog for number, folder in sessions.items() for dialog in _session_dialogs(number, folder, problems)
    ]


def _session_dialogs(session: str, folder: Path, problems: list[str]) -> list[Dialog]:
    """The dialogs of a session; each must have its labels, its transcription and its recordings."""
    named: dict[Path, set[str]] = {}
    places = {
        folder / "dialog" / "EmoEvaluation": ".txt",
        folder / "dialog" / "transcriptions": ".txt",
        folder / "sentences" / "wav": "",
    }
    for place, suffix in places.items():
        try:
            named[place] = _dialog_names(session, place, suffix, problems)
        except DataError as error:
            problems.append(str(error))
    every = sorted(set().union(*named.values()))
    incomplete = set()
    for place, names in named.items():
        if not names:
            problems.append(f"{place}: holds no dialog of session {session}; {COPY_AGAIN}")
            continue
        gone = [name for name in every if name not in names]
        incomplete.update(gone)
        problems += [f"{place / (name + places[place])}: is missing; {COPY_AGAIN}" for name in gone]
    complete = all(named.get(place) for place in places)
    return [Dialog(name, folder) for name in every if name not in incomplete] if complete else []


def _dialog_names(session: str, place: Path, suffix: str, problems: list[str]) -> set[str]:
    names = set()
    for entry in list_folder(place):
        name = entry.removesuffix(suffix)
        if not entry.startswith("Ses") or not entry.endswith(suffix):
            continue
        match = DIALOG.fullmatch(name)
        if match and match[1] == session:
            names.add(name)
        elif suffix or (place / entry).is_dir():
            problems.append(
                f"{place / entry}: is no dialog of session {session}; move it to where it belongs"
            )
    return names
