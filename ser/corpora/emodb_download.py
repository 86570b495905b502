"""Fetch EMO-DB with audEERING's audb, which publishes it under CC0."""

from __future__ import annotations

import importlib
import logging
import shutil
from pathlib import Path

from ser.data.datadir import whole_dir
from ser.errors import DataError

log = logging.getLogger("ser")
VERSION = "1.4.1"


def download_emodb(corpus_dir: Path) -> None:
    """Fetch all 535 recordings into ``corpus_dir/wav``; nothing is done if that is there.

    The labels of phones and the listeners' judgements of the original release are not part of that version.

    Args:
        corpus_dir: the folder to make, as a whole.

    Raises:
        DataError: audb is not installed, or it cannot fetch the recordings.
    """
    if (corpus_dir / "wav").is_dir():
        log.info("%s: is there, nothing to download", corpus_dir / "wav")
        return
    if corpus_dir.is_dir() and any(corpus_dir.iterdir()):
        raise DataError(f"{corpus_dir}: holds other files; give an empty or a new folder to download to")
    try:
        audb = importlib.import_module("audb")
    except ImportError as error:
        raise DataError(
            "--download: needs the Python package audb; install it with: python3 -m pip install audb "
            f"(or copy EMO-DB to {corpus_dir} yourself)"
        ) from error
    with whole_dir(corpus_dir) as part:
        fetched = part / "audb"
        try:
            audb.load_to(str(fetched), "emodb", version=VERSION, verbose=False)
        except Exception as error:  # what audb's back ends raise is not listed anywhere
            raise DataError(
                f"{corpus_dir}: audb could not fetch emodb {VERSION} ({type(error).__name__}: {error}); "
                "is the network reachable? Try again, or copy EMO-DB there yourself"
            ) from error
        if not (fetched / "wav").is_dir():
            raise DataError(
                f"{corpus_dir}: audb's emodb {VERSION} has no folder wav; copy EMO-DB there yourself"
            )
        (fetched / "wav").rename(part / "wav")
        shutil.rmtree(fetched)
    log.info("%s: fetched emodb %s", corpus_dir, VERSION)
