"""Sending a file as it is: whole, or the part that a client asks for."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import hdrs, web

PIECE_BYTES = 256 * 1024
STALL_SECONDS_MAX = 60.0
"""For a client to read the next piece of a file: it keeps an open file, or a connection to an agent, from others."""
# Printable ASCII, but quotes and backslashes, which end or escape a quoted string, slashes, which name a folder, and
# percent signs, which some browsers decode: RFC 6266, appendix D.
_NOT_PLAIN = re.compile(r"[^ -~]|[\"\\/%]")
_TOKEN = re.compile(r"[-!#$&'+.^_`|~0-9A-Za-z]+")


async def send_file(request: web.Request, file: BinaryIO, name: str) -> web.StreamResponse:
    """Answer with an open file, as an attachment called `name`. Raises 416 for a part that it does not have.

    It is sent from the open file, so that whatever happens to its path meanwhile sends nothing else.
    """
    size = os.fstat(file.fileno()).st_size
    part = _part(request, size)
    start, stop = part or (0, size)
    status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
    response = web.StreamResponse(status=status, headers=attachment_headers(name))
    response.content_length = stop - start
    if part:
        response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{size}"
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _send(request, response, file, start, stop)
    await response.write_eof()
    return response


async def _send(request: web.Request, response: web.StreamResponse, file: BinaryIO, start: int, stop: int) -> None:
    await asyncio.to_thread(file.seek, start)
    left = stop - start
    while left:
        piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, left))
        if not piece:
            raise ConnectionAbortedError("the file became shorter while it was sent")
        await write_piece(request, response, piece)
        left -= len(piece)


async def write_piece(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Send a part of an answer. Raises `ConnectionResetError` where the client has stopped reading."""
    try:
        async with asyncio.timeout(STALL_SECONDS_MAX):
            await response.write(piece)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # closing it would wait for the client
        raise ConnectionResetError(f"the client has read nothing for {STALL_SECONDS_MAX:g} seconds") from None


def attachment_headers(name: str) -> dict[str, str]:
    """The head of a file that is to be saved, whatever it is: no browser shows it as a page of this server."""
    return {
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CONTENT_DISPOSITION: attachment(name),
        hdrs.CONTENT_TYPE: mimetypes.guess_type(name)[0] or "application/octet-stream",
    }


def _part(request: web.Request, size: int) -> tuple[int, int] | None:
    """From where to where the client wants it; None for all of it. A `Range` that makes no sense counts as none."""
    if hdrs.RANGE not in request.headers:
        return None
    try:
        wanted = request.http_range
    except ValueError:
        return None
    start, stop, _ = wanted.indices(size)
    if start >= stop:
        refused = web.HTTPRequestRangeNotSatisfiable(text=f"Range: the file has {size} bytes")
        refused.headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
        raise refused
    return start, stop


def attachment(name: str) -> str:
    """A Content-Disposition for any name, as RFC 6266 wants it.

    `filename` is for clients that read no other form, unquoted where it can be, as Mesos writes it; `_` stands for
    every character that it cannot hold. `filename*` has the name as it is.
    """
    plain = _NOT_PLAIN.sub("_", name)
    if not _TOKEN.fullmatch(plain):
        plain = f'"{plain}"'
    return f"attachment; filename={plain}; filename*=UTF-8''{quote(os.fsencode(name), safe='')}"
