"""A store that is far away: a proxy before an S3 server that counts requests and answers each one later.

It hands bytes on as they are, so that signatures stay valid. What the server sends is passed on some time
after it came. Later bytes of an answer don't wait for earlier ones: it is latency, not a narrow line. Reads
count as one request each; a write whose body waits for leave counts as two.
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

from pipelines.demo.objectstore import free_port

_HOST = "127.0.0.1"
_START = 60.0  # seconds that the proxy may take to start
_BYTES = 1 << 18
_WAITING = 64  # pieces of at most so many bytes that wait: then the sender has to


@dataclass(frozen=True)
class SlowStore:
    """A proxy that runs."""

    endpoint: str
    delay: "Synchronized[float]"
    """How much later each answer comes back [seconds]."""
    requests: "Synchronized[int]"
    sent: "Synchronized[int]"
    """Bytes of answers."""

    def count(self) -> tuple[int, int]:
        """Return requests and bytes since the last count."""
        counted = self.requests.value, self.sent.value
        self.requests.value = self.sent.value = 0
        return counted


@contextmanager
def slow_store(endpoint: str) -> Iterator[SlowStore]:
    """Run a proxy before the server at an endpoint on this machine."""
    port = free_port()
    context = multiprocessing.get_context("spawn")  # a fork would have the event loops of this process too
    slow = SlowStore(
        f"http://{_HOST}:{port}", context.Value("d", 0.0), context.Value("q", 0), context.Value("q", 0)
    )
    ready = context.Event()
    process = context.Process(
        target=_run, args=(port, urlsplit(endpoint).port or 80, slow, ready), daemon=True
    )
    process.start()
    try:
        if not ready.wait(_START):
            raise RuntimeError("the proxy before the store doesn't start")
        yield slow
    finally:
        process.terminate()
        process.join()


def _run(port: int, target: int, slow: SlowStore, ready: Event) -> None:
    asyncio.run(_serve(port, target, slow, ready))


async def _serve(port: int, target: int, slow: SlowStore, ready: Event) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store_reader, store_writer = await asyncio.open_connection(_HOST, target, limit=_BYTES)
        except OSError:
            writer.close()
            return
        is_answered = True

        def asked(_: bytes) -> None:
            nonlocal is_answered
            slow.requests.value += is_answered  # a client sends its next request once it has the answer
            is_answered = False

        def answered(content: bytes) -> None:
            nonlocal is_answered
            slow.sent.value += len(content)
            is_answered = True

        await asyncio.gather(
            _pass_on(reader, store_writer, asked, lambda: 0.0),
            _pass_on(store_reader, writer, answered, lambda: slow.delay.value),
        )

    server = await asyncio.start_server(connected, _HOST, port, limit=_BYTES)
    ready.set()
    async with server:
        await server.serve_forever()


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    count: Callable[[bytes], None],
    delay: Callable[[], float],
) -> None:
    """Hand on what comes, each piece after the delay that holds when it comes, until it ends."""
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)
    clock = asyncio.get_running_loop().time

    async def receive() -> None:
        content = b"begin"
        while content:
            try:
                content = await reader.read(_BYTES)
            except OSError:
                content = b""
            if content:
                count(content)
            await due.put((clock() + delay(), content))

    async def send() -> None:
        content = b"begin"
        while content:
            at, content = await due.get()
            if at > clock():
                await asyncio.sleep(at - clock())
            try:
                writer.write(content)
                await writer.drain()
            except OSError:
                continue  # the other side has gone; what still comes is dropped
        writer.close()

    await asyncio.gather(receive(), send())
