"""Threads for work that would block the event loop. Each kind of work has its own, so none waits for another.

asyncio's default pool has a few threads for everything: with a few slow reads, no search would be answered.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from pipelines.serve.refusals import QUEUE_FULL, RefusedRequest

Result = TypeVar("Result")


class WorkPool:
    """Runs calls of one kind in its own threads, as many at a time as it has threads; more calls wait."""

    def __init__(self, kind: str, threads: int, most: int | None = None) -> None:
        """``kind`` names the threads. ``most``: how many calls may run or wait; None: any number."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=kind)
        self._free = None if most is None else threading.BoundedSemaphore(most)

    async def run(self, call: Callable[..., Result], *arguments: object) -> Result:
        """Return what a call returns, or raise what it raises.

        Raises RefusedRequest if too many run or wait. A call that has begun goes on if its request is
        cancelled, and counts until it ends.
        """
        if self._free is not None and not self._free.acquire(blocking=False):
            raise RefusedRequest(QUEUE_FULL)
        begun: Future[Result] = self._threads.submit(partial(copy_context().run, call, *arguments))
        begun.add_done_callback(self._freed)
        return await asyncio.wrap_future(begun)

    def _freed(self, _: object) -> None:
        if self._free is not None:
            self._free.release()
