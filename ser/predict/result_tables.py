"""Results as a table: TSV, CSV or JSON lines, whole in a file or line by line on standard output.

One format of numbers for all: times in seconds, to the microsecond, which no sample is shorter than;
probabilities with 7 digits behind the point.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, get_args

from ser.data.alignment import seconds
from ser.data.files import whole_file
from ser.errors import plain
from ser.predict.result import Result

TableFormat = Literal["tsv", "csv", "jsonl"]
FORMATS = get_args(TableFormat)
Write = Callable[[Result], None]


def column_names(emotions: Sequence[str]) -> list[str]:
    """The columns of a table.

    >>> " ".join(column_names(["ang", "hap"]))
    'file start end emotion p_ang p_hap confidence notes'
    """
    return ["file", "start", "end", "emotion", *(f"p_{name}" for name in emotions), "confidence", "notes"]


def probability_text(value: float) -> str:
    """A probability, to 5e-8."""
    return f"{value:.7f}"


@contextmanager
def open_results(out: Path | None, kind: TableFormat, emotions: Sequence[str]) -> Iterator[Write]:
    """A function that writes a result as a line, behind the names of the columns.

    Args:
        out: the file, which appears whole when the block ends without error; None: standard output, of which
            each line is flushed.
        kind: of the table.
        emotions: the classes, in the model's order.

    Raises:
        DataError: the file cannot be written.
    """
    if out is None:
        yield _writer(sys.stdout, kind, emotions, flush=True)
    else:
        with whole_file(out) as stream:
            yield _writer(stream, kind, emotions, flush=False)


def _writer(stream: IO[str], kind: TableFormat, emotions: Sequence[str], *, flush: bool) -> Write:
    if kind == "jsonl":

        def write(result: Result) -> None:
            stream.write(json.dumps(record_of(result)) + "\n")
            if flush:
                stream.flush()

        return write
    table = csv.writer(stream, delimiter="," if kind == "csv" else "\t", lineterminator="\n")
    table.writerow(column_names(emotions))

    def write_row(result: Result) -> None:
        table.writerow(_fields(result))
        if flush:
            stream.flush()

    return write_row


def _fields(result: Result) -> list[str]:
    """The fields of a line; what could command a terminal is spelled out."""
    posteriors = map(probability_text, result.posterior)
    times = seconds(result.start_s), seconds(result.end_s)
    notes = "; ".join(result.notes)
    row = [result.source, *times, result.emotion, *posteriors, probability_text(result.confidence), notes]
    return [plain(field) for field in row]


def record_of(result: Result) -> dict[str, object]:
    """A result as the object of a JSON line."""
    posteriors = map(float, map(probability_text, result.posterior))
    return {
        "file": result.source,
        "start": float(seconds(result.start_s)),
        "end": float(seconds(result.end_s)),
        "emotion": result.emotion,
        "posterior": dict(zip(result.emotions, posteriors, strict=True)),
        "confidence": float(probability_text(result.confidence)),
        "notes": list(result.notes),
    }
