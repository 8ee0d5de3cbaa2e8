"""Runs work that waits for a store in several threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Full, Queue
from threading import Event
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def mapped_ahead(
    work: Callable[[Given], Made], items: Iterable[Given], threads: int
) -> Generator[Made, None, None]:
    """Yield ``work(item)`` for each item, in order; at most ``threads`` results are computed ahead of use."""
    ahead: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def merged(
    work: Callable[[Given], Iterator[Made]], items: Sequence[Given], threads: int
) -> Generator[Made, None, None]:
    """Yield all that ``work(item)`` yields for the items, as it comes: of one item in its order.

    Each thread is at most one result ahead of use. What one of them raises is raised here, and ends the
    others.
    """
    found: Queue[list[Made] | BaseException] = Queue(1)
    is_over = Event()

    def put(result: list[Made] | BaseException) -> None:
        while not is_over.is_set():
            with suppress(Full):
                found.put(result, timeout=0.1)
                return

    def run(item: Given) -> None:
        try:
            for made in work(item):
                put([made])
                if is_over.is_set():
                    return
            put([])
        except BaseException as error:  # noqa: BLE001 - whoever waits for results would wait for ever
            put(error)

    with ThreadPoolExecutor(threads) as pool:
        try:
            left = len([pool.submit(run, item) for item in items])
            while left:
                result = found.get()
                if isinstance(result, BaseException):
                    raise result
                yield from result
                left -= not result
        finally:
            is_over.set()
            pool.shutdown(cancel_futures=True)
