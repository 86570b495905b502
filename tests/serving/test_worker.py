"""The thread that computes, and the bounds of what waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ser.serving.limits import Limits, RefusedError
from ser.serving.worker import Worker


def test_places_are_bounded_and_given_back() -> None:
    worker = Worker(Limits(requests=2))
    for _ in range(3):
        with worker.place(), worker.place():
            with pytest.raises(RefusedError) as caught, worker.place():
                pass
            assert (caught.value.status, str(caught.value)) == (
                503,
                "2 requests are being answered; try again in a second",
            )
    assert worker.requests == 0


def test_one_thing_at_a_time() -> None:
    at_work, most = 0, 0

    def work() -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        threading.Event().wait(0.005)
        at_work -= 1
        return threading.get_ident()

    async def ask() -> list[int]:
        worker = Worker(Limits())
        try:
            return await asyncio.gather(*(worker.run(work) for _ in range(20)))
        finally:
            worker.close()

    threads = asyncio.run(ask())
    assert most == 1
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_what_waits_too_long_is_never_begun() -> None:
    begun, held = [], threading.Event()

    async def ask() -> list[object]:
        worker = Worker(Limits(answer_s=0.2))
        try:
            asked = (worker.run(lambda i=i: (begun.append(i), held.wait(10))) for i in range(3))
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            held.set()
            worker.close()

    errors = asyncio.run(ask())
    assert begun == [0]
    assert [str(error) for error in errors] == [
        "no answer within 0.2 s; try again, or send a shorter recording"
    ] * 3


def test_an_error_comes_through() -> None:
    async def ask() -> None:
        await Worker(Limits()).run(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(ask())
