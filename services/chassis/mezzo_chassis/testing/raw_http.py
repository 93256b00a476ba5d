"""HTTP as bytes, for what no client library would send."""

from __future__ import annotations

import asyncio
import contextlib

PATIENCE_SECONDS = 20


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes on a connection of their own; everything that comes back until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        return await receive_all(reader)
    finally:
        await close(writer)


async def receive_all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection, in whichever way it does."""
    received = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                received += part
    return received


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 where there is none."""
    line = answer.partition(b"\r\n")[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[0].startswith(b"HTTP/") else 0
