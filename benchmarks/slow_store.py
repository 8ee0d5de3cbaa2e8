"""A store that is far away: a proxy before an S3 server that counts requests and answers each one later.

It hands bytes on as they are, so that signatures stay valid. Requests must be without bodies, as reads are.
"""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from urllib.parse import urlsplit

from pipelines.demo.objectstore import free_port

_CHUNK = 1 << 18


@dataclass(frozen=True)
class SlowStore:
    """A proxy that runs."""

    endpoint: str
    delay: "Synchronized[float]"
    """How much later each request gets there [seconds]."""
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
    """Run a proxy before the server at an endpoint."""
    port = free_port()
    values = multiprocessing.Value("d", 0.0), multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
    target = urlsplit(endpoint).port
    process = multiprocessing.get_context("fork").Process(
        target=lambda: asyncio.run(_serve(port, target or 80, *values)), daemon=True
    )
    process.start()
    try:
        yield SlowStore(f"http://127.0.0.1:{port}", *values)
    finally:
        process.terminate()
        process.join()


async def _serve(
    port: int,
    target: int,
    delay: "Synchronized[float]",
    requests: "Synchronized[int]",
    sent: "Synchronized[int]",
) -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", target)

        async def requests_to_store() -> None:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                requests.value += 1
                if delay.value:
                    await asyncio.sleep(delay.value)
                store_writer.write(request)

        async def answers_to_client() -> None:
            while answer := await store_reader.read(_CHUNK):
                sent.value += len(answer)
                writer.write(answer)
                await writer.drain()

        ways = [asyncio.ensure_future(requests_to_store()), asyncio.ensure_future(answers_to_client())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        store_writer.close()
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()
