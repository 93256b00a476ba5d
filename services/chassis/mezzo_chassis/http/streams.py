"""Streams of records: one message a record, framed by its length, written as soon as it is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiohttp import web
from google.protobuf.message import Message

from mezzo import recordio
from mezzo_chassis.http.bodies import release_body
from mezzo_chassis.http.exchange import Format


class RecordStream:
    """An answer in RecordIO, of no known length: chunked in HTTP/1.1, and up to the connection's end in HTTP/1.0."""

    def __init__(self, form: Format, headers: Mapping[str, str] | None = None) -> None:
        self.response = web.StreamResponse(headers=headers)
        self.response.content_type = form.content_type
        self._form = form

    async def begin(self, request: web.Request) -> None:
        """Send the head of the answer."""
        release_body(request)
        await self.response.prepare(request)

    async def write(self, messages: Iterable[Message]) -> None:
        """Send a record for each message, all at once. Waits while the client does not read."""
        await self.write_records(map(self._form.dump_record, messages))

    async def write_records(self, records: Iterable[bytes]) -> None:
        """Send records that are encoded already."""
        data = b"".join(map(recordio.encode, records))
        if data:
            await self.response.write(data)

    async def end(self) -> None:
        """End the answer as HTTP wants it, so that the client knows that nothing was cut off."""
        await self.response.write_eof()
