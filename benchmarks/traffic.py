"""Requests as many clients send them: at a steady rate, or as fast as answers come."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

KEY = "a key for benchmarks"


@dataclass
class Answered:
    """What came of the requests."""

    seconds: list[float] = field(default_factory=list)
    """From when each was due to its last byte."""
    failed: Counter[int] = field(default_factory=Counter)
    """How many had which status other than 200; 0: the connection was lost."""
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    """The number of the request and its answer, where they are kept."""
    elapsed: float = 0.0

    @property
    def errors(self) -> int:
        """How many had no answer."""
        return self.failed.total()

    def count(self, status: int) -> None:
        """Count an answer."""
        if status != 200:
            self.failed[status] += 1

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies [ms]."""
        return float(np.percentile(self.seconds, share)) * 1000 if self.seconds else float("nan")


@dataclass(frozen=True)
class Request:
    """A POST request."""

    url: str
    body: bytes
    content_type: str = "application/json"


async def _send(session: aiohttp.ClientSession, request: Request) -> tuple[int, bytes]:
    try:
        headers = {"Content-Type": request.content_type, "Authorization": f"Bearer {KEY}"}
        async with session.post(request.url, data=request.body, headers=headers) as answer:
            return answer.status, await answer.read()
    except aiohttp.ClientError:
        return 0, b""


def steady(
    request_of: Callable[[int], Request], rate: float, seconds: float, *, keep: bool = False
) -> Answered:
    """Send ``rate`` requests a second, whether or not the ones before are answered (an open loop)."""

    async def run() -> Answered:
        answered = Answered()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await _send(session, request_of(0))
            started = time.perf_counter()

            async def one(number: int) -> None:
                due = started + number / rate
                await asyncio.sleep(due - time.perf_counter())
                status, body = await _send(session, request_of(number))
                answered.seconds.append(time.perf_counter() - due)
                answered.count(status)
                if keep:
                    answered.bodies.append((number, body))

            await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))
            answered.elapsed = time.perf_counter() - started
        return answered

    return asyncio.run(run())


def saturated(request_of: Callable[[int], Request], clients: int, seconds: float) -> Answered:
    """Let each client send its next request as soon as it has an answer (a closed loop)."""

    async def run() -> Answered:
        answered = Answered()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            started = time.perf_counter()

            async def client(first: int) -> None:
                number = first
                while (sent := time.perf_counter()) < started + seconds:
                    status, _ = await _send(session, request_of(number))
                    answered.seconds.append(time.perf_counter() - sent)
                    answered.count(status)
                    number += clients

            await asyncio.gather(*(client(first) for first in range(clients)))
            answered.elapsed = time.perf_counter() - started
        return answered

    return asyncio.run(run())


def in_turn(requests: Sequence[Request]) -> Callable[[int], Request]:
    """Return the function that gives these requests over and over."""
    return lambda number: requests[number % len(requests)]
