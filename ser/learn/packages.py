"""Packages: a trained model as one file, which unpacks to the layout that the Hugging Face hub knows.

=====================  ==================================================================================
``README.md``          the model card
``config.json``        what ``model.json`` of a model folder holds, the licence, limits, and the digest of
                       the calibration
``model.safetensors``  as in a model folder
``calibration.json``   where the model has a calibration
``LICENSE``            the name of the licence, or its text
=====================  ==================================================================================

A package is a zip file with just these members; the folder that it unpacks to is read likewise.  Nothing is
ever unpacked to be read, and nothing but these names is opened.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ser import reading
from ser.data.files import whole_file
from ser.errors import CheckpointError, shown

CARD, CONFIG, WEIGHTS, CALIBRATION, LICENSE = (
    "README.md",
    "config.json",
    "model.safetensors",
    "calibration.json",
    "LICENSE",
)
NEEDED = (CONFIG, WEIGHTS)
SUFFIX = ".zip"
# keys of config.json: the digest of the calibration, and what users must know, a list of sentences
DIGEST, LIMITS = "calibration", "limits"
MAX_BYTES = (1 << 31) - 1  # of a package, and of its weights
_SMALL = 1 << 20
MEMBERS = {CARD: _SMALL, CONFIG: _SMALL, WEIGHTS: MAX_BYTES, CALIBRATION: _SMALL, LICENSE: _SMALL}
_MAX_RATIO, _FREE_BYTES = 100, 1 << 16  # how far a member may expand, beyond so many bytes
_END = struct.Struct("<4s4H2LH")  # the end of a zip file's directory
_MAX_DIRECTORY = 1 << 14  # bytes
_REMEDY = "get the package again"


class ModelFiles:
    """The files of a trained model: of a model folder, of a package, or of a package that was unpacked.

    Attributes:
        place: the folder or the package.
        facts: the name of the file that says what the model is: ``model.json`` or ``config.json``.
        packed: whether it is a package, or one that was unpacked.
        remedy: what to do about one that cannot be read.
    """

    def __init__(self, place: Path, model_json: str, remedy: str) -> None:
        """Look which it is; ``model_json`` and ``remedy`` are a model folder's."""
        self.place = place
        self.packed = place.is_file() or (not (place / model_json).exists() and (place / CONFIG).exists())
        self.facts = CONFIG if self.packed else model_json
        self.remedy = _REMEDY if self.packed else remedy

    def path(self, name: str) -> Path:
        """Where a file is, for messages."""
        return self.place / name

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.place.is_file():
            with _opened(self.place) as archive:
                return name in archive.namelist()
        return os.path.lexists(self.path(name))

    def read(self, name: str, *, missing: str = "") -> bytes:
        """The bytes of a file.

        Args:
            name: of the file.
            missing: what to do if there is none.

        Raises:
            CheckpointError: there is none, or it is too large or damaged.
        """
        if self.place.is_file():
            return _read_member(self.place, name)
        limit = MEMBERS.get(name, reading.SMALL_LIMIT) if self.packed else reading.LIMIT << 3
        return reading.read_bytes(self.path(name), self.remedy, CheckpointError, missing=missing, limit=limit)


def _opened(path: Path) -> zipfile.ZipFile:
    """A package whose directory has been checked.

    Raises:
        CheckpointError: it is no package, or holds what no package holds.
    """
    with reading.guarded(path, _REMEDY, CheckpointError, what="is no package, no zip file"):
        with reading.open_file(path, MAX_BYTES) as stream:
            _check_directory(stream)
        archive = zipfile.ZipFile(path)
        try:
            _check_members(archive.infolist())
        except BaseException:
            archive.close()
            raise
        return archive


def _check_directory(stream: IO[bytes]) -> None:
    """Refuse a directory that would take much memory before it is read."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _END.size))
    last = stream.read(_END.size)
    if len(last) < _END.size or not last.startswith(b"PK\5\6"):
        raise reading.BadFileError("is no package: a zip file without comment that ends where it should")
    *_, count, directory, _, _ = _END.unpack(last)
    if directory > _MAX_DIRECTORY or count > len(MEMBERS):
        raise reading.BadFileError(f"has {count} members; a package has {len(MEMBERS)} at most")


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that no package has."""
    names = [member.filename for member in members]
    for member in members:
        name = member.filename
        if name not in MEMBERS:
            leaves = name.startswith(("/", "\\")) or ".." in name or ":" in name
            what = "would leave the package" if leaves else "belongs to no package"
            raise reading.BadFileError(f"has the member {shown(name)}, which {what}")
        if names.count(name) > 1:
            raise reading.BadFileError(f"has the member {name} twice")
        if not stat.S_ISREG(mode := member.external_attr >> 16) and stat.S_IFMT(mode):
            raise reading.BadFileError(f"its member {name} is no regular file, but a link or a device")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise reading.BadFileError(f"its member {name} is encrypted, or neither stored nor deflated")
        if member.file_size > MEMBERS[name]:
            raise reading.BadFileError(
                f"its member {name} has {member.file_size} bytes, it may have {MEMBERS[name]}"
            )
        if member.file_size > _FREE_BYTES and member.file_size > _MAX_RATIO * member.compress_size:
            raise reading.BadFileError(
                f"its member {name} would expand more than {_MAX_RATIO} times; none of a model does"
            )
    for name in NEEDED:
        if name not in names:
            raise reading.BadFileError(f"has no {name}, which a package needs")


def _read_member(path: Path, name: str) -> bytes:
    with _opened(path) as archive, reading.guarded(path, _REMEDY, CheckpointError):
        if name not in archive.namelist():
            raise reading.BadFileError(f"has no {name}")
        with archive.open(name) as stream:
            content = stream.read(MEMBERS[name] + 1)
        if len(content) > MEMBERS[name]:
            raise reading.BadFileError(f"its member {name} has more than {MEMBERS[name]} bytes")
        return content


def write_package(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a package; the same members give the same bytes.

    Args:
        path: the file to make.
        members: name -> content, some of :data:`MEMBERS`.

    Raises:
        CheckpointError: a member is larger than one may be.
        DataError: the file cannot be written.
    """
    for name, content in members.items():
        if len(content) > MEMBERS[name]:
            raise CheckpointError(
                f"{path}: {name} has {len(content)} bytes, in a package it may have {MEMBERS[name]}; share "
                "the model folder instead"
            )
    with whole_file(path, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for name in MEMBERS:
            if name in members:
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                archive.writestr(info, members[name])
