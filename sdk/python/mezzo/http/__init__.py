"""Mesos' v1 HTTP API from the client's side: encodings, statuses and streams of records."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeVar

import aiohttp
from google.protobuf.message import DecodeError, Message
from yarl import URL

from mezzo import errors, jsonpb, recordio
from mezzo.answers import ANSWER_BYTES_MAX, read_answer, read_refusal

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
    HTTPStatus.INTERNAL_SERVER_ERROR: errors.InternalError,
    HTTPStatus.NOT_IMPLEMENTED: errors.Unimplemented,
}
# Those that keep the method and the body.
_REDIRECTIONS: Final = frozenset({HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT})


def error_of(status: int, text: str) -> errors.MezzoError:
    """The error that an answer stands for."""
    message = text.strip() or f"the answer was {status}"
    if status in _ERRORS:
        return _ERRORS[status](message)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        name, colon, rest = message.partition(": ")
        return errors.InvalidRequest(name, rest) if colon and " " not in name else errors.InvalidRequest("", message)
    return errors.Unavailable(message)


@dataclass(slots=True)
class Endpoint:
    """One path of a server that takes calls as messages, in JSON or protobuf.

    It follows redirects to the leader, stays there, and comes back to where it began when the leader does not answer.
    With several servers it stays with one until it is told to `move_on`.
    """

    session: aiohttp.ClientSession
    urls: Sequence[str]
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    _home: int = field(init=False, default=0)
    _leader_url: str | None = field(init=False, default=None)
    _streams: set[aiohttp.ClientResponse] = field(init=False, default_factory=set)

    @property
    def url(self) -> str:
        """Where it asks for the leader."""
        return self.urls[self._home]

    def move_on(self) -> None:
        """Ask the next of the servers from now on: this one does not answer."""
        self._home = (self._home + 1) % len(self.urls)
        self._leader_url = None

    async def call(self, call: Message, answer_class: type[M], headers: dict[str, str] | None = None) -> M | None:
        """Make a call; None where the answer has no body. Raises a `MezzoError`."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS_MAX, sock_connect=CONNECT_SECONDS_MAX)
        with self._failures():
            response = await self._post(call, headers or {}, timeout)
            async with response:
                body = await read_answer(response)
            return _decode(answer_class, body, self.content_type) if body else None

    async def stream(
        self, call: Message, event_class: type[M], headers: dict[str, str] | None = None
    ) -> AsyncGenerator[tuple[aiohttp.ClientResponse, list[M]]]:
        """Make a call that is answered by a stream, and yield the events as they come, with the answer's head.

        The head comes first, without events. The connection is closed with the generator. Raises a `MezzoError`;
        `Unavailable` also where no head comes within `CALL_SECONDS_MAX`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX)
        # The first event of a stream may hold the state of a whole cluster, or an offer of each of its agents.
        decoder = recordio.Decoder(ANSWER_BYTES_MAX)
        with self._failures():
            async with asyncio.timeout(CALL_SECONDS_MAX):
                response = await self._post(call, headers or {}, timeout)
            with self._open(response):
                yield response, []
                async for piece in response.content.iter_any():
                    events = [_decode(event_class, record, self.content_type) for record in decoder.feed(piece)]
                    if events:
                        yield response, events

    async def close(self) -> None:
        """Close the session; streams that are read end with `Unavailable`."""
        for response in self._streams:
            # Closing the session alone would leave their readers waiting.
            response.content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
        await self.session.close()

    @contextlib.contextmanager
    def _open(self, response: aiohttp.ClientResponse) -> Iterator[None]:
        self._streams.add(response)
        try:
            yield
        finally:
            self._streams.remove(response)
            response.close()

    async def _post(
        self, call: Message, headers: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer to a call that was not refused; its body is still to be read."""
        body = jsonpb.dumps(call) if self.content_type == JSON else call.SerializeToString()
        own = {"Content-Type": self.content_type, "Accept": self.content_type}
        for _ in range(REDIRECTS_MAX):
            url = self._leader_url or self.url
            # Redirects are followed here, because the next call goes to the leader, too.
            response = await self.session.post(
                url, data=body, headers={**own, **self.headers, **headers}, timeout=timeout, allow_redirects=False
            )
            if response.status in _REDIRECTIONS and "Location" in response.headers:
                response.release()
                self._leader_url = _redirected(url, response.headers["Location"])
            elif response.status >= HTTPStatus.MULTIPLE_CHOICES:
                async with response:
                    raise error_of(response.status, await read_refusal(response))
            else:
                return response
        raise errors.Unavailable(f"{self.url} redirects more than {REDIRECTS_MAX} times")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Tell failures as the errors of this library."""
        try:
            yield
        except aiohttp.ClientResponseError:  # of a head that is none: what an HTTP server refuses is another error
            url, self._leader_url = self._leader_url or self.url, None
            raise errors.Unavailable(f"{url} does not speak HTTP; it may be a port of gRPC") from None
        except (aiohttp.ClientError, TimeoutError) as failure:
            url, self._leader_url = self._leader_url or self.url, None
            raise errors.Unavailable(f"{url} does not answer: {str(failure) or type(failure).__name__}") from None
        except recordio.RecordIOError as error:
            raise errors.InternalError(f"the answer is not a RecordIO stream: {error}") from None
        except errors.Unavailable:
            self._leader_url = None
            raise


def urls_of(text: str, path: str) -> list[str]:
    """Where a path is at each of the servers that `http://host:port,http://host:port` names.

    Raises:
        InvalidRequest: one is another kind of address.
    """
    urls = []
    for url in text.split(","):
        if not url.startswith(("http://", "https://")):
            raise errors.InvalidRequest("url", f"'{url}' begins with neither http:// nor https://")
        urls.append(f"{url.rstrip('/')}{path}")
    return urls


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. Mesos writes `//host:port` and `//host:port/path` alike."""
    target = URL(url).join(URL(location))
    return str(target if target.path.strip("/") else target.with_path(URL(url).path))


def _decode(message_class: type[M], body: bytes, content_type: str) -> M:
    try:
        if content_type == JSON:
            # A server's answer may be as large as its cluster.
            return jsonpb.parse(message_class, body, values_max=None)
        return message_class.FromString(body)
    except (jsonpb.JsonError, DecodeError) as error:
        raise errors.InternalError(f"the answer is not a {message_class.DESCRIPTOR.full_name}: {error}") from None
