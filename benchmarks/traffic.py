"""Requests as many clients send them: at a steady rate, or as fast as answers come."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np


@dataclass
class Answered:
    """What came of the requests."""

    seconds: list[float] = field(default_factory=list)
    """From when each was due to its last byte."""
    errors: int = 0
    bodies: list[tuple[int, bytes]] = field(default_factory=list)
    """The number of the request and its answer, where they are kept."""
    elapsed: float = 0.0

    def percentile(self, share: float) -> float:
        """Return a percentile of the latencies [ms]."""
        return float(np.percentile(self.seconds, share)) * 1000 if self.seconds else float("nan")


@dataclass(frozen=True)
class Request:
    """A POST request."""

    url: str
    body: bytes
    content_type: str = "application/json"


async def _send(session: aiohttp.ClientSession, request: Request) -> tuple[bool, bytes]:
    try:
        headers = {"Content-Type": request.content_type}
        async with session.post(request.url, data=request.body, headers=headers) as answer:
            return answer.status == 200, await answer.read()
    except aiohttp.ClientError:
        return False, b""


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
                good, body = await _send(session, request_of(number))
                answered.seconds.append(time.perf_counter() - due)
                answered.errors += not good
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
                    good, _ = await _send(session, request_of(number))
                    answered.seconds.append(time.perf_counter() - sent)
                    answered.errors += not good
                    number += clients

            await asyncio.gather(*(client(first) for first in range(clients)))
            answered.elapsed = time.perf_counter() - started
        return answered

    return asyncio.run(run())


def in_turn(requests: Sequence[Request]) -> Callable[[int], Request]:
    """Return the function that gives these requests over and over."""
    return lambda number: requests[number % len(requests)]
