"""Tables: the only module that knows Kaldi's text tables, ark and scp.

A text table has one ``<key> <value>`` line per entry: UTF-8, LF, sorted in byte order, no key
twice.  A reader takes what is right and says for everything else which line is wrong and what to do.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import kaldiio
import numpy as np
import numpy.typing as npt
from kaldiio.matio import read_kaldi

from ser import reading
from ser.data.files import whole_file
from ser.errors import DataError, all_of, short, shown

V = TypeVar("V")
Floats = npt.NDArray[np.float32]

KEY_BYTES = 200  # a file name may have 255, with what is put before and behind the key
_SAFE_KEY = re.compile(rf"(?![.-])[\w.@%+=:,-]{{1,{KEY_BYTES}}}", re.ASCII)
_HEADER = 16  # bytes that may be asked for at the end of an archive; reading fewer is found out
# names of --compress -> kaldiio's compression_method; 1 is Kaldi's own choice, CM, or CM2 up to 8 frames
COMPRESSION = {"none": None, "CM": 1, "CM2": 3}


def check_key(key: str, where: str) -> str:
    """Return ``key`` if it is safe as a file name and shell word.

    Raises:
        DataError: it is empty or no string, begins with ``.`` or ``-``, has more than :data:`KEY_BYTES`
            characters, or holds anything but letters, digits and ``_ . @ % + = : , -``.
    """
    if isinstance(key, str) and _SAFE_KEY.fullmatch(key):
        return key
    what = "has characters other than letters, digits and _.@%+=:,-"
    if not isinstance(key, str) or not key:
        what = "is no name"
    elif key[0] in ".-":
        what = f"begins with {key[0]}"
    elif len(key) > KEY_BYTES:
        what = f"is longer than {KEY_BYTES} characters"
    raise DataError(f"{where}: the id {shown(key)} {what}; rename it where the corpus is prepared")


def read_table(path: Path, *, made_by: str = "", any_order: bool = False) -> dict[str, str]:
    """Read a ``<key> <value>`` table.

    Args:
        path: the table.
        made_by: what makes it, named when it is missing (``"stage 0"``).
        any_order: take it unsorted, as people write tables by hand.

    Returns:
        key -> rest of its line, in file order, which is byte order unless ``any_order``.

    Raises:
        DataError: missing, empty, not UTF-8, a byte order mark, CR line ends, no newline at the end, a
            line without a value, an odd id, an unsorted or repeated key; all problems at once.
    """
    return _entries(_lines(path, made_by), path, any_order)


def _lines(path: Path, made_by: str) -> list[str]:
    remedy = f"run {made_by}" if made_by else "make it, or name another"
    text = reading.read_text(path, remedy)
    if not text:
        raise DataError(f"{path}: is empty; {remedy}")
    if text.startswith("\ufeff"):
        raise DataError(f"{path}:1: starts with a UTF-8 byte order mark; save it without one")
    if "\r" in text:
        number = text.count("\n", 0, text.index("\r")) + 1
        raise DataError(f"{path}:{number}: has a carriage return; convert it with dos2unix")
    lines = text.split("\n")
    if lines.pop():
        raise DataError(
            f"{path}:{len(lines) + 1}: the last line has no newline, the file may be cut short; "
            "make it again, or add the newline"
        )
    return lines


def _entries(lines: list[str], path: Path, any_order: bool) -> dict[str, str]:
    table: dict[str, str] = {}
    problems: list[str] = []
    last = ""
    for number, line in enumerate(lines, 1):
        key, _, value = line.partition(" ")
        value = value.strip()
        if not key or not value:
            problems.append(f"{path}:{number}: expected '<key> <value>', got {shown(line)}; correct the line")
            continue
        if not _SAFE_KEY.fullmatch(key):
            try:
                check_key(key, f"{path}:{number}")
            except DataError as error:
                problems.append(str(error))
            continue
        if key in table:
            problems.append(f"{path}:{number}: the key {key!r} appears twice; keep one of them")
        elif key < last and not any_order:
            problems.append(
                f"{path}:{number}: {shown(key)} comes after {shown(last)}, the table is not in byte order; "
                f"sort it with: LC_ALL=C sort -o {path} {path}"
            )
        last = max(last, key)
        table[key] = value
    if problems:
        raise all_of(problems)
    return table


def read_tasks(path: Path, fields: Sequence[str], remedy: str, more: str = "") -> list[list[str]]:
    """Read a task list: a task a line, its fields separated by tabs.

    Args:
        path: the list.
        fields: what each line has, by name, for messages.
        remedy: what to do when the list is missing.
        more: what further fields hold, for messages; without it there are none.

    Raises:
        DataError: missing, or a line with another number of fields.
    """
    lines = reading.read_text(path, remedy).splitlines()
    tasks = [line.split("\t") for line in lines]
    for number, task in enumerate(tasks, 1):
        if len(task) < len(fields) or (len(task) > len(fields) and not more):
            expected = "<TAB>".join(f"<{field}>" for field in fields)
            raise DataError(
                f"{path}:{number}: expected '{expected}'{more and f' and any {more}'}, "
                f"got {shown(lines[number - 1])}; correct the line"
            )
    return tasks


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write a table, sorted by key in byte order; it appears whole or not at all."""
    with whole_file(path) as stream:
        # ids are ASCII, so Python's order of strings is the byte order
        stream.writelines(f"{key} {table[key]}\n" for key in sorted(table))


def convert(table: Mapping[str, str], path: Path, parse: Callable[[str], V], what: str) -> dict[str, V]:
    """Parse every value of a table that was read from ``path``.

    Raises:
        DataError: ``parse`` raised ValueError; the message says ``what`` was expected.
    """
    values: dict[str, V] = {}
    problems: list[str] = []
    for number, (key, text) in enumerate(table.items(), 1):
        try:
            values[key] = parse(text)
        except ValueError:
            problems.append(
                f"{path}:{number}: expected '<key> {what}', got {shown(key + ' ' + text)}; correct the line"
            )
    if problems:
        raise all_of(problems)
    return values


def positive_int(text: str) -> int:
    """A whole number above 0 and below 2^31; anything else is a ValueError."""
    if not 0 < (number := int(text)) < 1 << 31:
        raise ValueError(text)
    return number


def positive_float(text: str) -> float:
    """A finite number above 0; anything else is a ValueError."""
    number = float(text)
    if not math.isfinite(number) or number <= 0:
        raise ValueError(text)
    return number


def same_keys(
    first: Collection[str],
    first_name: object,
    second: Collection[str],
    second_name: object,
    remedy: str = "run the stage that makes the older of the two again",
) -> None:
    """Make sure that two tables are about the same entries; ``remedy`` is what to do if they are not.

    Raises:
        DataError: they are not; up to three keys of each side are named.
    """
    one, two = set(first), set(second)
    if one == two:
        return
    sides = [
        f"{len(keys)} only in {name} ({', '.join(sorted(keys)[:3])}{', ...' if len(keys) > 3 else ''})"
        for keys, name in ((one - two, first_name), (two - one, second_name))
        if keys
    ]
    raise DataError(f"{first_name}: its keys are not those of {second_name}: {', '.join(sides)}; {remedy}")


# ---------------------------------------------------------------------------------------------- archives


class ArkWriter:
    """Write matrices or vectors as one ark with its scp; both appear whole when the block ends without error.

    Entries must come in byte order of their keys.  The scp names the ark by absolute path, as Kaldi's do.
    """

    def __init__(self, stem: Path, compress: str = "none") -> None:
        """``stem`` is the path without suffix, ``compress`` none, CM (a byte a value) or CM2 (two)."""
        if compress not in COMPRESSION:
            raise DataError(f"--compress {compress}: unknown; take one of {', '.join(COMPRESSION)}")
        self._ark, self._scp = stem.with_name(stem.name + ".ark"), stem.with_name(stem.name + ".scp")
        self._compress = compress
        self._place = self._ark.resolve()
        self._offsets: dict[str, str] = {}

    def __enter__(self) -> ArkWriter:
        self._file = whole_file(self._ark, "wb")
        self._stream = self._file.__enter__()
        return self

    def write(self, key: str, value: npt.NDArray[Any]) -> None:
        """Append one matrix (T, F) or vector (N,); float32, or float64 for statistics.

        Raises:
            DataError: it holds NaN or infinity, or is empty.
        """
        if value.size == 0 or not np.isfinite(value).all():
            raise DataError(
                f"{self._ark}: {key}: empty, NaN or infinite values cannot be written; correct what they are "
                "made of"
            )
        offset = self._stream.tell() + len(key) + 1  # of the object behind "<key> "
        method = COMPRESSION[self._compress] if value.ndim == 2 else None
        kaldiio.save_ark(self._stream, {key: value}, compression_method=method)
        self._offsets[key] = f"{self._place}:{offset}"

    def __exit__(self, *exc: Any) -> None:
        self._file.__exit__(*exc)
        if exc[0] is None:
            write_table(self._scp, self._offsets)


def archived(value: Floats, compress: str) -> Floats:
    """What an archive gives back of a matrix (T, F) or vector (N,), float32."""
    method = COMPRESSION[compress] if value.ndim == 2 else None
    if method is None:
        return value
    stream = io.BytesIO()
    kaldiio.save_ark(stream, {"": value}, compression_method=method)
    stream.seek(1)  # behind the key
    matrix: Floats = read_kaldi(stream)
    return matrix


class ArkReader:
    """Random access to the matrices and vectors that an scp names; closes its files when it goes.

    Only Kaldi's own binary and text objects are read: kaldiio's pickled blocks would run code.
    """

    def __init__(self, scp: Path, *, made_by: str = "") -> None:
        """Read the scp itself; ``made_by`` is what makes it, named when it is missing."""
        self._files: dict[str, IO[bytes]] = {}
        self.path = scp
        self.places = read_table(scp, made_by=made_by)
        self._made_by = made_by or "the stage that makes it"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close its files; a later read opens them again."""
        while self._files:
            self._files.popitem()[1].close()

    def read(self, key: str, num_rows: int | None = None, num_columns: int | None = None) -> Floats:
        """The object of ``key``: (T, F) or (N,), float32 (float64 where the archive holds that).

        Raises:
            DataError: the ark is gone, truncated, of another size than ``num_rows`` or ``num_columns``
                say, or holds something else.
        """
        if key not in self.places:
            raise DataError(f"{self.path}: has no {key}; run {self._made_by} again")
        place = self.places[key]
        remedy = f"run {self._made_by} again"
        what = "cut short or not a Kaldi archive"
        with reading.guarded(f"{self.path}: {key}: {short(place)}", remedy, what=what, detail=False):
            ark, offset, span = _split_place(place)
            value = self._read_at(ark, offset)[span]
        if num_rows is not None and len(value) != num_rows:
            raise self._fault(key, f"{place}: has {len(value)} frames, utt2num_frames says {num_rows}")
        if num_columns is not None and value.shape[-1] != num_columns:
            raise self._fault(key, f"{place}: has {value.shape[-1]} values a frame, expected {num_columns}")
        if not np.isfinite(value).all():
            raise self._fault(key, f"{place}: holds NaN or infinite values")
        return value

    def _read_at(self, ark: str, offset: int) -> Floats:
        if ark not in self._files:
            if len(self._files) >= 64:
                self._files.pop(next(iter(self._files))).close()
            self._files[ark] = reading.open_file(ark)
        stream = self._files[ark]
        stream.seek(offset)
        head = stream.read(2)
        if head != b"\0B" and not head.lstrip().startswith(b"["):
            raise ValueError("not a Kaldi object")
        stream.seek(offset)
        value = read_kaldi(_Bounded(stream))
        if not isinstance(value, np.ndarray) or value.size == 0:
            raise ValueError("no matrix")
        return value

    def _fault(self, key: str, what: str) -> DataError:
        return DataError(f"{self.path}: {key}: {what}; run {self._made_by} again")


class _Bounded:
    """A file that refuses to read more than it holds, so that no header's claim is given memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._end = os.fstat(stream.fileno()).st_size
        self.tell, self.seek, self.seekable = stream.tell, stream.seek, stream.seekable

    def read(self, size: int) -> bytes:
        if not 0 <= size <= max(_HEADER, self._end - self._stream.tell()):
            raise EOFError("it promises more than the file holds")
        return self._stream.read(size)


def _split_place(place: str) -> tuple[str, int, slice]:
    """``path:offset[first:last]``, as in an scp, with Kaldi's inclusive row range."""
    match = re.fullmatch(r"(.+?)(?::(\d+))?(?:\[(\d+):(\d+)\])?", place)
    if match is None:
        raise ValueError(place)
    ark, offset, first, last = match.groups()
    span = slice(int(first), int(last) + 1) if first else slice(None)
    return ark, int(offset or 0), span


def read_vectors(path: Path, length: int | None = None, *, made_by: str = "") -> dict[str, list[float]]:
    """Read Kaldi text vectors, ``<key>  [ a b c ]`` a line.

    Raises:
        DataError: as :func:`read_table`, or a value that is no finite number, or another ``length``.
    """

    def parse(text: str) -> list[float]:
        if not (text.startswith("[") and text.endswith("]")):
            raise ValueError(text)
        vector = [float(number) for number in text[1:-1].split()]
        if not all(map(math.isfinite, vector)) or (length is not None and len(vector) != length):
            raise ValueError(text)
        return vector

    size = "" if length is None else f"{length} "
    return convert(read_table(path, made_by=made_by), path, parse, f"[ {size}numbers ]")


def write_vectors(path: Path, vectors: Mapping[str, Iterable[float]]) -> None:
    """Write Kaldi text vectors; values are written so that they read back exactly."""
    write_table(path, {key: f" [ {' '.join(repr(float(x)) for x in row)} ]" for key, row in vectors.items()})
