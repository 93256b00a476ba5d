"""Mesos' v1 HTTP API from the client's side: encodings, statuses and streams of records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from google.protobuf.message import Message

from mezzo import errors, jsonpb, recordio

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
STREAM_ID_HEADER: Final = "Mesos-Stream-Id"
CONNECT_SECONDS_MAX: Final = 10.0
CALL_SECONDS_MAX: Final = 60.0
REDIRECTS_MAX: Final = 5

M = TypeVar("M", bound=Message)

_ERRORS: Final[dict[int, type[errors.MezzoError]]] = {
    HTTPStatus.UNAUTHORIZED: errors.Unauthorized,
    HTTPStatus.FORBIDDEN: errors.Forbidden,
    HTTPStatus.NOT_FOUND: errors.NotFound,
    HTTPStatus.CONFLICT: errors.Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.LimitExceeded,
    HTTPStatus.TOO_MANY_REQUESTS: errors.LimitExceeded,
    HTTPStatus.NOT_IMPLEMENTED: errors.Unimplemented,
}


def error_of(status: int, text: str) -> errors.MezzoError:
    """The error that an answer stands for."""
    message = text.strip() or HTTPStatus(status).phrase
    if status in _ERRORS:
        return _ERRORS[status](message)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        name, colon, rest = message.partition(": ")
        return errors.InvalidRequest(name, rest) if colon and " " not in name else errors.InvalidRequest("", message)
    return errors.Unavailable(message)


@dataclass(slots=True)
class Endpoint:
    """One path of a server that takes calls as messages, in JSON or protobuf; follows redirects to the leader."""

    session: aiohttp.ClientSession
    url: str
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, call: Message, answer_class: type[M], headers: dict[str, str] | None = None) -> M | None:
        """Make a call; None where the answer has no body. Raises a `MezzoError`."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS_MAX)
        async with _Post(self, call, headers or {}, timeout) as response:
            body = await response.read()
            return _decode(answer_class, body, self.content_type) if body else None

    async def stream(
        self, call: Message, event_class: type[M], headers: dict[str, str] | None = None
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, list[M]]]:
        """Make a call that is answered by a stream, and yield the events as they come, with the answer's head."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX)
        decoder = recordio.Decoder()
        async with _Post(self, call, headers or {}, timeout) as response:
            yield response, []
            async for piece in response.content.iter_any():
                events = [_decode(event_class, record, self.content_type) for record in decoder.feed(piece)]
                if events:
                    yield response, events


class _Post:
    """A POST of a message, with redirects followed by hand: they keep the method and the body."""

    def __init__(
        self, endpoint: Endpoint, call: Message, headers: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> None:
        self._endpoint = endpoint
        self._body = jsonpb.dumps(call) if endpoint.content_type == JSON else call.SerializeToString()
        own = {"Content-Type": endpoint.content_type, "Accept": endpoint.content_type}
        self._headers = {**own, **endpoint.headers, **headers}
        self._timeout = timeout
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        endpoint = self._endpoint
        for _ in range(REDIRECTS_MAX):
            try:
                response = await endpoint.session.post(
                    endpoint.url, data=self._body, headers=self._headers, timeout=self._timeout, allow_redirects=False
                )
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                raise errors.Unavailable(f"{endpoint.url} does not answer: {error}") from None
            if response.status == HTTPStatus.TEMPORARY_REDIRECT and "Location" in response.headers:
                response.release()
                endpoint.url = _redirected(endpoint.url, response.headers["Location"])
                continue
            if response.status >= HTTPStatus.BAD_REQUEST:
                text = await response.text()
                raise error_of(response.status, text)
            self._response = response
            return response
        raise errors.Unavailable(f"{endpoint.url} redirects for ever")

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close() if not self._response.content.at_eof() else self._response.release()


def _redirected(url: str, location: str) -> str:
    """Mesos redirects to `//host:port` and `//host:port/path` alike."""
    scheme, _, rest = url.partition("://")
    path = rest.partition("/")[2]
    target = location if "://" in location else f"{scheme}:{location}"
    _, _, remainder = target.partition("://")
    return target if "/" in remainder.rstrip("/") else f"{target.rstrip('/')}/{path}"


def _decode(message_class: type[M], body: bytes, content_type: str) -> M:
    if content_type == JSON:
        return jsonpb.parse(message_class, body)
    message = message_class()
    message.MergeFromString(body)
    return message
