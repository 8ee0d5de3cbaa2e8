"""The way to the object store: a proxy that hands bytes on, and can be closed for a while.

While it is closed, nobody listens, and connections that were open are lost with what was on its way.
"""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from pipelines.demo.objectstore import free_port

_CHUNK = 1 << 18  # bytes
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Way:
    """A way to the store that is open, unless it is closed."""

    endpoint: str
    closed: Event


@contextmanager
def way_to(port: int, host: str) -> Iterator[Way]:
    """Run the proxy on an address of this machine, in a process of its own. ``port``: of the store, here."""
    own, closed = free_port(), multiprocessing.get_context("fork").Event()
    process = multiprocessing.get_context("fork").Process(
        target=lambda: asyncio.run(_serve(host, own, port, closed)), daemon=True
    )
    process.start()
    try:
        yield Way(f"http://{host}:{own}", closed)
    finally:
        process.terminate()
        process.join()


async def _serve(host: str, own: int, port: int, closed: Event) -> None:
    open_now: set[asyncio.StreamWriter] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, store_writer}
        open_now.update(ends)
        try:
            await asyncio.gather(_pump(reader, store_writer), _pump(store_reader, writer))
        finally:
            open_now.difference_update(ends)
            for end in ends:
                end.close()

    while True:
        server = await asyncio.start_server(connection, host, own)
        while not closed.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
        server.close()
        for writer in list(open_now):
            writer.transport.abort()
        while closed.is_set():
            await asyncio.sleep(_LOOK_SECONDS)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while content := await reader.read(_CHUNK):
            writer.write(content)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
