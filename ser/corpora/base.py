"""What the code of a corpus offers: one object, ``CORPUS``, at the end of its module."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Place = Callable[..., Any] | str  # a function, or "module:function", which is imported when it is needed


@dataclass(frozen=True)
class Corpus:
    """A corpus: functions that turn its release into lhotse manifests.

    ``prepare(corpus_dir, *, num_jobs)`` returns ``{"recordings": ..., "supervisions": ...}``; ``custom`` of a
    supervision holds ``emotion``, the release's own label, and whatever ``keep`` of ``corpus.yaml`` can
    choose by.  The others may be left out.

    Example::

        CORPUS = Corpus(prepare_mine, release="folder of MINE")
    """

    prepare: Place
    release: str = "folder of the release"  # what --corpus-dir names
    download: Place | None = None  # (corpus_dir): fetches a release that is free to fetch
    make: Place | None = None  # (corpus_dir, *, num_jobs): makes a corpus that is synthetic
    check: Place | None = (
        None  # (supervisions, checks): what is known of the release besides numbers of utterances
    )
    unused: frozenset[str] = frozenset()  # folders of the release that nothing is read from
    state: Place | None = (
        None  # (corpus_dir): digest of a release that is a table; prepare then takes config=
    )
    fields: bool = False  # whether it goes by `fields` of corpus.yaml


def function(place: Place) -> Callable[..., Any]:
    """The function at a place.

    >>> function("os.path:basename")("a/b")
    'b'
    """
    if callable(place):
        return place
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
