"""Reading the bodies of requests: limited in bytes, also after decompression, in time, and all of them together.

Every handler reads through `read_body` or `body_pieces`: aiohttp's own `Request.read` and `Request.content` have no
limit of time, and do not know of the bodies of other requests.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import hdrs, web

from mezzo.errors import InvalidRequest

REQUEST_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of one body, decompressed, where a service has no flag for it."""
TOTAL_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of the bodies of all requests that are being answered, decompressed, where a service has no flag for it.

What is made of them weighs up to 25 times as much.
"""
BODY_SECONDS_MAX = 120.0
"""From a request's head to the end of its body."""
INFLATED_PIECE_BYTES: Final = 256 * 1024
"""Decompressed at once; other requests have their turn between two pieces."""

_HELD: Final = web.RequestKey("held_body_bytes", int)
_GZIP_WINDOW_BITS: Final = 31
_GZIP_CODINGS: Final = ("gzip", "x-gzip")


class BodyMemory:
    """How many bytes of bodies a server holds. A body counts from its arrival until its request is answered."""

    def __init__(self, bytes_max: int = TOTAL_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self.bytes = 0

    def hold(self, request: web.Request, count: int) -> None:
        """Count bytes of a request's body. Raises 503 where all bodies together would have too many."""
        if self.bytes + count > self._bytes_max:
            refused = web.HTTPServiceUnavailable(
                text=f"the bodies of concurrent requests exceed {self._bytes_max} bytes; try again later"
            )
            refused.headers[hdrs.RETRY_AFTER] = "1"
            raise _closing(refused)
        request[_HELD] = request.get(_HELD, 0) + count
        self.bytes += count

    def release(self, request: web.Request) -> None:
        """The request's body is not needed any more."""
        self.bytes -= request.pop(_HELD, 0)


BODY_MEMORY: Final = web.AppKey("body_memory", BodyMemory)


async def read_body(request: web.Request) -> bytes:
    """A request's body, decompressed where it is gzip. Raises what `body_pieces` raises, and 408 where it is late."""
    whole = _arrived(request)
    if whole is not None:
        return whole
    async with in_time():
        return b"".join([piece async for piece in body_pieces(request)])


def _arrived(request: web.Request) -> bytes | None:
    """A request's body where all of it came with the head, as nearly all do, and is neither chunked nor compressed."""
    length, content = request.content_length, request.content
    if not length or length > request.client_max_size or hdrs.CONTENT_ENCODING in request.headers:
        return None
    if not content.is_eof() or content.exception() is not None:
        return None
    body = content.read_nowait()
    request.app[BODY_MEMORY].hold(request, len(body))
    return body


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Raise 408 where what is read of a body takes longer than `BODY_SECONDS_MAX`."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            yield
    except TimeoutError:
        late = web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS_MAX:g} seconds")
        raise _closing(late) from None


async def body_pieces(request: web.Request) -> AsyncGenerator[bytes]:
    """A request's body as it arrives, decompressed where it is gzip. To be read within `in_time`.

    Raises:
        InvalidRequest: it is not what its head says: broken gzip, broken chunks.
        web.HTTPException: 413 where it is too large, 415 for another coding than gzip, and 503 where the bodies of all
            requests are too large together.
    """
    decoder = _decoder(request)
    bytes_max, memory = request.client_max_size, request.app[BODY_MEMORY]
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    size = 0
    try:
        while received := await request.content.readany():
            for piece in decoder.pieces(received):
                size += len(piece)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                memory.hold(request, len(piece))
                yield piece
                if len(piece) >= INFLATED_PIECE_BYTES:
                    await asyncio.sleep(0)
        decoder.finish()
    except web.RequestPayloadError as error:
        raise InvalidRequest("", f"the body cannot be read: {error}") from None


async def read_text(request: web.Request) -> str:
    """A request's body as text. Raises `InvalidRequest` for what is not UTF-8, and what `read_body` raises."""
    body = await read_body(request)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("", f"the body is not UTF-8 at byte {error.start}") from None


def release_body(request: web.Request) -> None:
    """Stop counting a request's body: it has been handled, though the answer may go on for long."""
    request.app[BODY_MEMORY].release(request)


class _Identity:
    """A body as it is."""

    def pieces(self, received: bytes) -> Iterator[bytes]:
        yield received

    def finish(self) -> None:
        """Nothing is left."""


class _Gzip:
    """A body in gzip, decompressed piece by piece."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW_BITS)
        self._began = False

    def pieces(self, received: bytes) -> Iterator[bytes]:
        self._began = True
        waiting = received
        while waiting or not self._inflate.eof:
            if self._inflate.eof:
                raise _not_gzip("something follows its end")
            try:
                piece = self._inflate.decompress(waiting, INFLATED_PIECE_BYTES)
            except zlib.error:
                raise _not_gzip("it is damaged") from None
            waiting = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if not piece and not waiting:
                return
            yield piece

    def finish(self) -> None:
        """Raises `InvalidRequest` where the end is missing."""
        if self._began and not self._inflate.eof:
            raise _not_gzip("its end is missing")


def _decoder(request: web.Request) -> _Identity | _Gzip:
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding in _GZIP_CODINGS:
        return _Gzip()
    if coding in ("identity", ""):
        return _Identity()
    refused = web.HTTPUnsupportedMediaType(text=f"Content-Encoding: expected gzip or none, found {coding[:100]}")
    refused.headers[hdrs.ACCEPT_ENCODING] = "gzip"
    raise _closing(refused)


def _not_gzip(reason: str) -> InvalidRequest:
    return InvalidRequest("Content-Encoding", f"the body is not gzip: {reason}")


def _too_large(bytes_max: int) -> web.HTTPException:
    return _closing(web.HTTPRequestEntityTooLarge(bytes_max, text=f"the body has more than {bytes_max} bytes"))


def _closing(refused: web.HTTPException) -> web.HTTPException:
    """What is left of the body is not worth reading: the connection ends with the answer."""
    refused.force_close()
    return refused
