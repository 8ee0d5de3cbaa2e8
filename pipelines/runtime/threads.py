"""Runs work that waits for a store in several threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
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
