"""What the gateway asks of agents, over their HTTP: the files of sandboxes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp
from google.protobuf.message import DecodeError
from yarl import URL

from mesos.v1.agent.agent_pb2 import Call as AgentCall
from mesos.v1.agent.agent_pb2 import Response as AgentResponse
from mezzo import addresses
from mezzo.errors import InvalidRequest, NotFound, Unavailable
from mezzo_chassis.http.exchange import PROTOBUF

# Connections to one agent at once; more requests wait.
CONNECTIONS_PER_AGENT_MAX = 16

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""Of an agent's answer that is read as a whole: as large as a message of gRPC."""
ANSWER_SECONDS_MAX = 60.0
REASON_CHARS_MAX = 1000
"""Of an agent's refusal, that is passed on."""

_UNCOMPRESSED = {"Accept-Encoding": "identity"}
_NUMBER = re.compile(r"[0-9]{1,19}")

# Of an agent's /mezzo/v1/logs.
LOG_POSITION_HEADER = "Mezzo-Log-Position"
LOG_END_HEADER = "Mezzo-Log-End"


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of what a task has written, where in all that it begins, and how much that is by now, in bytes."""

    data: bytes
    position: int
    end: int


class Agents:
    """Asks agents by their address ("host:port"). Use as an async context manager."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_seconds, sock_read=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_PER_AGENT_MAX)
        # Nothing that comes from an agent is decompressed: it is asked for as it is.
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, address: str, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """GET `path` of an agent; the caller reads and releases the answer. Raises Unavailable."""
        return await self._send("GET", address, path, params=query, headers=headers)

    async def fetch(self, address: str, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """The status and the body of an agent's answer to GET `path`. Raises Unavailable."""
        async with self._answer("GET", address, path, params=query, headers=_UNCOMPRESSED) as answer:
            return answer.status, await _read(answer, address, ANSWER_BYTES_MAX)

    async def call(self, address: str, call: AgentCall) -> AgentResponse:
        """A call of the agent's v1 operator API. Raises NotFound, InvalidRequest and Unavailable."""
        headers = {"Content-Type": PROTOBUF, "Accept": PROTOBUF, **_UNCOMPRESSED}
        body = call.SerializeToString()
        async with self._answer("POST", address, "/api/v1", data=body, headers=headers) as answer:
            content = await _read(answer, address, ANSWER_BYTES_MAX)
        if answer.status == HTTPStatus.OK:
            try:
                return AgentResponse.FromString(content)
            except DecodeError:
                raise Unavailable(f"the agent at {address} answered with something else than protobuf") from None
        reason = text_of(content)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotFound(reason)
        if answer.status == HTTPStatus.BAD_REQUEST:
            raise InvalidRequest("", reason)
        raise Unavailable(f"the agent at {address} answered {answer.status}: {reason}")

    async def read_log(self, address: str, path: str, position: int, length: int) -> LogPart:
        """Up to `length` bytes of a log at `position`, or the oldest that are kept. Raises NotFound and Unavailable."""
        query = {"path": path, "position": str(position), "length": str(length)}
        async with self._answer("GET", address, "/mezzo/v1/logs", params=query, headers=_UNCOMPRESSED) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                raise NotFound(f"file {path} not found")
            numbers = [answer.headers.get(name, "") for name in (LOG_POSITION_HEADER, LOG_END_HEADER)]
            if answer.status != HTTPStatus.OK or not all(map(_NUMBER.fullmatch, numbers)):
                raise Unavailable(f"the agent at {address} answered {answer.status} for a part of {path}")
            return LogPart(await _read(answer, address, length), int(numbers[0]), int(numbers[1]))

    @asynccontextmanager
    async def _answer(
        self, method: str, address: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An agent's answer, with a limit for the time in which it is read. Raises Unavailable."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                async with await self._send(method, address, path, **options) as answer:
                    yield answer
        except TimeoutError:
            raise Unavailable(f"the agent at {address} did not answer within {ANSWER_SECONDS_MAX:g} seconds") from None

    async def _send(self, method: str, address: str, path: str, **options: Any) -> aiohttp.ClientResponse:
        assert self._session is not None, "used before it was entered"
        where = addresses.parse(address)
        if where is None:
            raise Unavailable(f"{address[:REASON_CHARS_MAX]!r} is not the address of an agent")
        # Never `f"http://{address}"`: whatever an agent says of its address is a host and a port, and nothing else.
        url = URL.build(scheme="http", host=where.host, port=where.port, path=path)
        try:
            # Nor does an agent say where else to go.
            return await self._session.request(method, url, allow_redirects=False, **options)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"the agent at {address} cannot be reached: {str(error) or type(error).__name__}"
            ) from None


async def _read(answer: aiohttp.ClientResponse, address: str, bytes_max: int) -> bytes:
    """The body of an agent's answer. Raises Unavailable for one that breaks off, or is larger than it may be."""
    pieces = []
    size = 0
    try:
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > bytes_max:
                raise Unavailable(f"the agent at {address} answered with more than {bytes_max} bytes")
            pieces.append(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(
            f"the agent at {address} closed the connection: {str(error) or type(error).__name__}"
        ) from None
    return b"".join(pieces)


def text_of(content: bytes) -> str:
    """What an agent says is wrong, cut to what an error may repeat."""
    return content[: 4 * REASON_CHARS_MAX].decode(errors="replace")[:REASON_CHARS_MAX]
