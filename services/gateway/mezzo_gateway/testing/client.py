"""A client of a gateway that runs in the same process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
from google.protobuf.message import Message

from mezzo import jsonpb, recordio
from mezzo_gateway.app import Gateway
from mezzo_gateway.state.copy import Applied

PATIENCE_SECONDS = 20
JSON = "application/json"

M = TypeVar("M", bound=Message)


class Answer:
    """A whole answer."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.headers.get("Content-Type")
        self.body = body

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Records:
    """The records of a stream, one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self._decoder = recordio.Decoder()
        self._records: list[bytes] = []

    async def next(self) -> bytes:
        """The next record. Raises EOFError at the end of the stream."""
        while not self._records:
            async with asyncio.timeout(PATIENCE_SECONDS):
                data = await self.response.content.readany()
            if not data:
                raise EOFError
            self._records.extend(self._decoder.feed(data))
        return self._records.pop(0)

    async def rest(self) -> list[bytes]:
        """All records to the end of the stream."""
        records = []
        while True:
            try:
                records.append(await self.next())
            except EOFError:
                return records

    async def next_message(self, message_class: type[M]) -> M:
        """The next record, which is JSON, as a message."""
        return jsonpb.parse(message_class, await self.next())


class GatewayClient:
    """A gateway, the port it listens on, and HTTP to it. Redirections are not followed."""

    def __init__(self, gateway: Gateway, port: int, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.port = port
        self.session = session

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Any request, and the whole answer."""
        options.setdefault("allow_redirects", False)
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with self.session.request(method, self.url + path, **options) as response:
                return Answer(response, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
        """POST of bytes, or of anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": JSON, "Accept": JSON} if headers is None else headers
        return await self.request("POST", path, data=data, headers=headers, skip_auto_headers=("Content-Type",))

    async def operator(self, call: Any) -> Answer:
        """A call of the v1 operator API."""
        return await self.post("/api/v1", {"type": call} if isinstance(call, str) else call)

    @asynccontextmanager
    async def records(self, path: str, body: Any, headers: dict[str, str] | None = None) -> AsyncIterator[Records]:
        """POST that is answered with a stream of records."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = headers or {"Content-Type": JSON, "Accept": JSON}
        async with self.session.post(self.url + path, data=data, headers=headers) as response:
            yield Records(response)

    async def applied(self) -> Applied:
        """What the next batch of changes does."""
        applied: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        end = self.gateway.registry.observe(lambda one: None if applied.done() else applied.set_result(one))
        try:
            return await asyncio.wait_for(applied, PATIENCE_SECONDS)
        finally:
            end()
