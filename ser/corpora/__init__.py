"""Corpora: from a release on disk to lhotse manifests.

A corpus is one module that ends in ``CORPUS = Corpus(...)`` (:mod:`ser.corpora.base`), and one settings file,
``corpus.yaml``, whose key ``module`` names it: a word of :data:`CORPORA`, or ``my_package.my_module:CORPUS``.
It is imported only when its corpus is prepared.  The corpus ``csv`` is one's own recordings; its "release" is
a table that lists them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from ser.cli import progress
from ser.config import to_dict
from ser.corpora.base import Corpus, function
from ser.data import registry
from ser.data.corpus import CorpusConfig
from ser.data.files import MADE, is_made, lost_outputs, whole_file, write_made
from ser.data.manifests import RECORDINGS, SUPERVISIONS, count_checks, read_manifests
from ser.errors import ConfigError, DataError, UsageError
from ser.reading import not_a_folder

log = logging.getLogger("ser")

CORPORA = {
    "cremad": "ser.corpora.cremad:CORPUS",
    "csv": "ser.corpora.csv_table:CORPUS",
    "emodb": "ser.corpora.emodb:CORPUS",
    "iemocap": "ser.corpora.iemocap:CORPUS",
    "lhotse": "ser.corpora.lhotse_manifests:CORPUS",
    "mini": "ser.corpora.mini:CORPUS",
    "ravdess": "ser.corpora.ravdess:CORPUS",
}


def find(module: str, source: object = "corpus.yaml") -> Corpus:
    """The corpus that the key ``module`` names.

    Args:
        module: one of :data:`CORPORA`, or ``my_package.my_module:CORPUS``.
        source: the file that it stands in, for messages.

    Raises:
        ConfigError: there is none, or it is no :class:`~ser.corpora.base.Corpus`.
    """
    corpus = registry.find("module", module, CORPORA, source)
    if not isinstance(corpus, Corpus):
        raise ConfigError(
            f"{source}: module {module}: is {type(corpus).__name__}, no Corpus; "
            "ser/corpora/base.py says what it needs"
        )
    return corpus


def locate(
    config: CorpusConfig,
    corpus_dir: Path | None,
    manifests: Path,
    *,
    fetch: bool = False,
    num_jobs: int = 1,
    folder: Path = Path(),  # noqa: B008 -- immutable
) -> Path:
    """Where the release of a corpus is; fetches or makes it where that is free.

    Args:
        config: the corpus's settings.
        corpus_dir: what the user named; None: the variable of the corpus's name (``IEMOCAP``), or a place
            beside the manifests for what is fetched or made here.
        manifests: folder of the manifests.
        fetch: fetch it, unless it is there.
        num_jobs: processes that make a corpus.
        folder: what a relative path in the variable is seen from.

    Raises:
        UsageError: nobody says where it is.
        ConfigError: as :func:`find`.
        DataError: it cannot be fetched or made.
    """
    corpus = find(config.module)
    variable = re.sub(r"\W", "_", config.name.upper())
    place = corpus_dir or (folder / os.environ[variable] if os.environ.get(variable) else None)
    named = place is not None
    if place is None and corpus.make is not None:
        place = manifests.parent / "local" / f"{config.name}_release"
    elif place is None and corpus.download is not None and fetch:
        place = manifests.parent / config.name
    if place is None:
        ways = [f"give --corpus-dir <{corpus.release}>", f"set {variable}"]
        ways += ["fetch it with --download true"] if corpus.download is not None else []
        raise UsageError(f"{', '.join(ways[:-1])}, or {ways[-1]}")
    if fetch:
        download(config.module, place)
    if corpus.make is not None:
        lost = lost_outputs(place)
        if lost and named:
            raise DataError(f"{lost[0]}: is gone or damaged; remove {place} to have the corpus made again")
        if lost or not (place / MADE).exists():
            function(corpus.make)(place, num_jobs=num_jobs)
    return place


def prepare(
    module: str, corpus_dir: Path, out: Path, *, config: CorpusConfig | None = None, num_jobs: int = 1
) -> None:
    """Write the manifests of a corpus; nothing is done if the release has not changed since.

    Args:
        module: one of :data:`CORPORA`, or ``my_package.my_module:CORPUS``.
        corpus_dir: its release; for ``csv`` the table.
        config: the corpus's settings, which only tables need: they say which labels a table may use.
        out: folder for ``recordings.jsonl.gz`` and ``supervisions.jsonl.gz``.
        num_jobs: headers read at a time.

    Raises:
        ConfigError: an unknown corpus.
        DataError: the release cannot be used; no manifest is written.
    """
    corpus = find(module)
    if config is not None and config.fields and not corpus.fields:
        raise ConfigError(f"corpus.yaml: fields is not what {module} goes by; take it out")
    settings: dict[str, Any] = {"corpus": module, "corpus_dir": os.path.abspath(corpus_dir)}
    options: dict[str, Any] = {"num_jobs": num_jobs}
    if corpus.state is not None:
        assert config is not None
        options["config"] = config
        settings |= {"labels": sorted(config.labels), "keep": list(config.keep.get("emotion", ()))}
        settings |= {"fields": config.fields, "audio": to_dict(config.audio)} if corpus.fields else {}
        settings["release"] = function(corpus.state)(corpus_dir)
    elif corpus_dir.is_dir():
        settings["release"] = listing_digest(corpus_dir, corpus.unused)
    else:
        raise DataError(
            f"{corpus_dir}: {not_a_folder(corpus_dir)}; give --corpus-dir the folder of the release"
        )
    if is_made(out, settings, {}):
        log.info("%s: up to date", out)
        return
    manifests = function(corpus.prepare)(corpus_dir, **options)
    (out / MADE).unlink(missing_ok=True)
    write_manifest(out / RECORDINGS, manifests["recordings"].to_dicts())
    write_manifest(out / SUPERVISIONS, manifests["supervisions"].to_dicts())
    write_made(out, settings, {}, [out / RECORDINGS, out / SUPERVISIONS])
    log.info("%s: %d utterances", out, len(manifests["supervisions"]))


def download(module: str, corpus_dir: Path) -> None:
    """Fetch a corpus that is free to fetch.

    Raises:
        ConfigError: an unknown corpus.
        DataError: it has to be asked for, or cannot be fetched.
    """
    corpus = find(module)
    if corpus.download is None:
        raise DataError(
            f"--download: {module} cannot be fetched; ask its owners for a copy and give --corpus-dir"
        )
    function(corpus.download)(corpus_dir)


def check(module: str, manifests: Path, config: CorpusConfig) -> list[tuple[bool, str]]:
    """Compare the manifests of a corpus with ``checks`` of its settings, and with what else is known of it.

    Returns:
        One (agrees, line for the user) per fact.

    Raises:
        ConfigError: an unknown corpus.
        DataError: the manifests cannot be used.
    """
    corpus = find(module)
    utterances = read_manifests(manifests)
    lines = count_checks(utterances, config)
    if corpus.check is not None:
        lines += [(item.ok, str(item)) for item in function(corpus.check)(utterances, config.checks)]
    return lines


def write_manifest(path: Path, items: Iterable[Mapping[str, Any]]) -> None:
    """Write a lhotse manifest (JSON lines, gzip), sorted by id; the same items give the same bytes."""
    lines = [(str(item["id"]), json.dumps(item, ensure_ascii=False).encode()) for item in items]
    lines.sort(key=itemgetter(0))
    with whole_file(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as stream:
        for _, line in progress(lines, f"writing {path.name}", len(lines)):
            stream.write(line + b"\n")


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
