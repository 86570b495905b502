"""One thread that computes, and a bounded number of requests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from ser.serving.limits import Limits, RefusedError

T = TypeVar("T")


class Worker:
    """Does one thing at a time, off the event loop.

    So the memory that requests take is that of one recording in work and of the uploads that wait.
    """

    def __init__(self, limits: Limits) -> None:
        """``limits`` say how many requests there may be, and how long each waits."""
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self.requests = 0  # that are sent, wait or are in work

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests at a time.

        Raises:
            RefusedError: all are taken.
        """
        if self.requests >= self._limits.requests:
            raise RefusedError(503, f"{self.requests} requests are being answered; try again in a second")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; it is not begun when its time is over before its turn comes.

        Raises:
            RefusedError: it took too long.
        """
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.wait_for(future, self._limits.answer_s)
        except asyncio.TimeoutError as error:
            raise RefusedError(
                503, f"no answer within {self._limits.answer_s:g} s; try again, or send a shorter recording"
            ) from error

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
