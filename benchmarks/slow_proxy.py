"""A proxy that adds time to each answer of a server: `python -m benchmarks.slow_proxy PORT TARGET MS`.

PORT and TARGET are its own port and the server's, both on this machine. What the server sends is passed on so
many milliseconds after it came. Later bytes of an answer don't wait for earlier ones: it is latency, not a
narrow line.
"""

import asyncio
import sys

_HOST = "127.0.0.1"
_BYTES = 1 << 18


async def serve(port: int, target: int, delay: float) -> None:
    """Serve until the process ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(_HOST, target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, server_writer, 0), _pass_on(server_reader, writer, delay))

    server = await asyncio.start_server(connected, _HOST, port, limit=_BYTES)
    async with server:
        await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)  # full: the sender has to wait
    loop = asyncio.get_running_loop()

    async def receive() -> None:
        content = b"begin"
        while content:
            try:
                content = await reader.read(_BYTES)
            except OSError:
                content = b""
            await due.put((loop.time() + delay, content))

    async def send() -> None:
        content = b"begin"
        while content:
            at, content = await due.get()
            if at > loop.time():
                await asyncio.sleep(at - loop.time())
            try:
                writer.write(content)
                await writer.drain()
            except OSError:
                continue  # the other side has gone; what still comes is dropped
        writer.close()

    await asyncio.gather(receive(), send())


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
