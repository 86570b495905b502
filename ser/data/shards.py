"""Shards: each job of an array takes its share of the utterances."""

from __future__ import annotations

from collections.abc import Sequence

from ser.errors import UsageError


def check_job(job: int, num_jobs: int) -> None:
    """Make sure that ``job`` is one of ``num_jobs``, counted from 1.

    Raises:
        UsageError: it is not.
    """
    if not 1 <= job <= num_jobs:
        raise UsageError(f"--job {job}: must be from 1 to --num-jobs ({num_jobs})")


def check_num_jobs(num_jobs: int) -> None:
    """Make sure that the number of shards to merge is 1 or more.

    Raises:
        UsageError: it is not.
    """
    if num_jobs < 1:
        raise UsageError(f"--num-jobs {num_jobs}: must be 1 or more")


def shard_of(keys: Sequence[str], job: int, num_jobs: int) -> Sequence[str]:
    """The ``job``-th of ``num_jobs`` shards, from 1: neighbours, sizes differ by one at most (Kaldi's rule).

    >>> [list(shard_of("abcdefg", job, 3)) for job in (1, 2, 3)]
    [['a', 'b', 'c'], ['d', 'e'], ['f', 'g']]
    """
    size, larger = divmod(len(keys), num_jobs)
    first = (job - 1) * size + min(job - 1, larger)
    return keys[first : first + size + (job <= larger)]
