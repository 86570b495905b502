"""Corpora: from a release on disk to lhotse manifests.

A corpus is one function ``prepare_<corpus>(corpus_dir, *, num_jobs)`` that returns ``recordings`` and
``supervisions``, and one line of :data:`CORPORA`.  It is imported only when its corpus is prepared.  The
corpus ``csv`` is one's own recordings; its "release" is a table that lists them.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import importlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser.data.corpus import CorpusConfig
from ser.data.files import MADE, is_made, whole_file, write_made
from ser.data.manifests import RECORDINGS, SUPERVISIONS, count_checks, read_manifests
from ser.errors import DataError, UsageError

log = logging.getLogger("ser")


@dataclass(frozen=True)
class Corpus:
    """Where the code of a corpus is."""

    prepare: str  # "module:function"
    download: str | None = None  # "module:function", for corpora that may be fetched freely
    check: str | None = None  # "module:function", what is known of the release besides numbers of utterances
    unused: frozenset[str] = frozenset()  # folders of the release that nothing is read from
    state: str | None = None  # "module:function", says what a table of recordings and these are by now


_IEMOCAP = Corpus(
    "ser.corpora.iemocap:prepare_iemocap",
    check="ser.corpora.iemocap:check_iemocap",
    unused=frozenset({"avi", "MOCAP_hand", "MOCAP_head", "MOCAP_rotated"}),
)
CORPORA = {
    "cremad": Corpus("ser.corpora.cremad:prepare_cremad"),
    "csv": Corpus("ser.corpora.csv_table:prepare_csv", state="ser.corpora.csv_table:state_digest"),
    "emodb": Corpus("ser.corpora.emodb:prepare_emodb", "ser.corpora.emodb_download:download_emodb"),
    "iemocap": _IEMOCAP,
    "mini": _IEMOCAP,  # the corpus in this repository has IEMOCAP's layout
    "ravdess": Corpus("ser.corpora.ravdess:prepare_ravdess"),
}


def prepare(
    name: str, corpus_dir: Path, out: Path, *, config: CorpusConfig | None = None, num_jobs: int = 1
) -> None:
    """Write the manifests of a corpus; nothing is done if the release has not changed since.

    Args:
        name: one of :data:`CORPORA`.
        corpus_dir: its release; for ``csv`` the table.
        config: the corpus's settings, which only ``csv`` needs: they say which labels a table may use.
        out: folder for ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``.
        num_jobs: headers read at a time.

    Raises:
        UsageError: an unknown corpus.
        DataError: the release cannot be used; no manifest is written.
    """
    corpus = find(name)
    settings: dict[str, Any] = {"corpus": name, "corpus_dir": os.path.abspath(corpus_dir)}
    options: dict[str, Any] = {"num_jobs": num_jobs}
    if corpus.state is not None:
        assert config is not None
        options["config"] = config
        settings |= {"labels": sorted(config.labels), "keep": list(config.keep.get("emotion", ()))}
        settings["release"] = _function(corpus.state)(corpus_dir)
    elif corpus_dir.is_dir():
        settings["release"] = listing_digest(corpus_dir, corpus.unused)
    else:
        raise DataError(f"{corpus_dir}: no such folder; give --corpus-dir the folder of the release")
    if is_made(out, settings, {}) and all((out / file).is_file() for file in (RECORDINGS, SUPERVISIONS)):
        log.info("%s: up to date", out)
        return
    manifests = _function(corpus.prepare)(corpus_dir, **options)
    (out / MADE).unlink(missing_ok=True)
    write_manifest(out / RECORDINGS, manifests["recordings"].to_dicts())
    write_manifest(out / SUPERVISIONS, manifests["supervisions"].to_dicts())
    write_made(out, settings, {})
    log.info("%s: %d utterances", out, len(manifests["supervisions"]))


def download(name: str, corpus_dir: Path) -> None:
    """Fetch a corpus that is free to fetch.

    Raises:
        UsageError: an unknown corpus.
        DataError: it has to be asked for, or cannot be fetched.
    """
    corpus = find(name)
    if corpus.download is None:
        raise DataError(
            f"--download: {name} cannot be fetched; ask its owners for a copy and give --corpus-dir"
        )
    _function(corpus.download)(corpus_dir)


def check(name: str, manifests: Path, config: CorpusConfig) -> list[tuple[bool, str]]:
    """Compare the manifests of a corpus with ``checks`` of its settings, and with what else is known of it.

    Returns:
        One (agrees, line for the user) per fact.

    Raises:
        UsageError: an unknown corpus.
        DataError: the manifests cannot be used.
    """
    corpus = find(name)
    utterances = read_manifests(manifests)
    lines = count_checks(utterances, config)
    if corpus.check is not None:
        lines += [(item.ok, str(item)) for item in _function(corpus.check)(utterances, config.checks)]
    return lines


def find(name: str) -> Corpus:
    """The corpus of that name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    if name not in CORPORA:
        near = difflib.get_close_matches(name.lower(), CORPORA, n=1)
        meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(CORPORA)}"
        raise UsageError(f"corpus {name} is unknown; {meant}")
    return CORPORA[name]


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def write_manifest(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Write a lhotse manifest (JSON lines, gzip), sorted by id; the same items give the same bytes."""
    with whole_file(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream:
        for item in sorted(items, key=lambda item: str(item["id"])):
            stream.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")


def listing_digest(folder: Path, unused: frozenset[str] = frozenset()) -> str:
    """SHA-256 over names, sizes and times of all files below ``folder``, without hidden and unused ones."""
    digest = hashlib.sha256()
    for path, state in _walk(folder, unused, set()):
        digest.update(f"{path.relative_to(folder)}\0{state}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _walk(folder: Path, unused: frozenset[str], above: set[str]) -> Iterator[tuple[Path, str]]:
    real = os.path.realpath(folder)
    if real in above:  # a link that leads back up
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder, "unreadable"
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in unused:
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path), unused, above | {real})
            continue
        try:
            state = entry.stat()
            yield Path(entry.path), f"{state.st_size} {state.st_mtime_ns}"
        except OSError:  # a dead link
            yield Path(entry.path), "missing"
