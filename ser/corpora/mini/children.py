"""Work done in freshly forked processes, one for each item.

Every item gets a process of its own, forked from this one as it stood before the first: what an item
leaves behind in a library's global state cannot reach the next.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each_in_its_own(
    function: Callable[[Item], Result], items: Iterable[Item], num_jobs: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item as they get ready, ``num_jobs`` at a time.

    The results do not depend on ``num_jobs``; their order does.

    Raises:
        OSError: the function raised it (no space, no permission).
        RuntimeError: the function raised anything else, or its process was killed.
    """
    context = multiprocessing.get_context("fork")
    waiting = iter(items)
    running: dict[Connection, BaseProcess] = {}
    try:
        while True:
            while len(running) < num_jobs and (item := next(waiting, None)) is not None:
                reader, writer = context.Pipe(duplex=False)
                child = context.Process(target=_work, args=(function, item, writer), daemon=True)
                child.start()
                writer.close()
                running[reader] = child
            if not running:
                return
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                yield _result(ready, running.pop(ready))
    finally:
        for pipe, process in running.items():
            process.kill()
            process.join()
            pipe.close()


def _work(function: Callable[[Item], Result], item: Item, writer: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its children
    outcome: tuple[Result | None, OSError | None, str]
    try:
        outcome = function(item), None, ""
    except OSError as error:
        outcome = None, error, ""
    except Exception:  # whatever it is, the parent raises it
        outcome = None, None, traceback.format_exc()
    writer.send(outcome)
    writer.close()


def _result(reader: Connection, child: BaseProcess) -> Result:  # type: ignore[type-var]
    try:
        result, error, trace = reader.recv()
    except EOFError:
        error, trace = None, "it was killed"
    child.join()
    reader.close()
    if error is not None:
        raise error
    if trace:
        raise RuntimeError(f"a process failed: {trace}")
    done: Result = result
    return done
