"""Reading what a server answers, of which nobody knows how large it is, within limits."""

from __future__ import annotations

from typing import Final

import aiohttp

from mezzo import errors

ANSWER_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Of an answer that is read as a whole, decompressed; the state of 100,000 tasks has a quarter of that."""
REFUSAL_BYTES_MAX: Final = 64 * 1024
"""Of an error's text; the rest is not read."""


async def read_answer(response: aiohttp.ClientResponse, bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """The body of an answer. Raises `LimitExceeded` before it takes more memory than that."""
    pieces = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > bytes_max:
            raise errors.LimitExceeded(f"{response.url} answers with more than {bytes_max} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def read_refusal(response: aiohttp.ClientResponse) -> str:
    """What an answer that is an error says, or its beginning."""
    text = bytearray()
    async for piece in response.content.iter_any():
        text += piece
        if len(text) >= REFUSAL_BYTES_MAX:
            break
    return text[:REFUSAL_BYTES_MAX].decode(errors="replace")
