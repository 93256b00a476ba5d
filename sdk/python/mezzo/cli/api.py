"""A gateway, asked over HTTP, and what is said where that fails.

Importing this takes longer than all else that a verb does: `mezzo.cli.asking` does it once there is something to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
import typer

from mezzo.answers import read_answer, read_refusal
from mezzo.cli import exit_codes
from mezzo.cli.errors import ApiError, exit_code_of, print_error, print_note
from mezzo.cli.fields import without_path
from mezzo.cli.settings import Settings
from mezzo.recordio import Decoder

# How long a person waits at most: for the whole of an answer; for a connection; for the next piece, or the first, of
# what a gateway has at hand.
TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 3.0
SILENCE_TIMEOUT_SECONDS = 5.0
# Set by gateways whose copy of the state is not kept up to date: since when, in seconds since the epoch.
STALE_HEADER = "Mezzo-Stale"
AT_HAND = aiohttp.ClientTimeout(
    total=TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=SILENCE_TIMEOUT_SECONDS
)
# Between two events: there is a heartbeat every 15 s.
EVENTS_SECONDS_MAX = 60.0
# The registry is asked, or an agent.
FROM_AFAR = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
JSON = {"Accept": "application/json"}
HINT = "--api or MEZZO_API says where one is, and mezzo local starts one"


class Api:
    """A gateway, asked over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = deque(urls)
        self._warned = False
        self._answered = False

    @property
    def is_stale(self) -> bool:
        """Whether what was answered is what the gateway knew last, and may be old."""
        return self._warned

    @property
    def _url(self) -> str:
        """The gateway that answered last, or is tried next."""
        return self._urls[0]

    async def _answer(
        self, path: str, limits: aiohttp.ClientTimeout, follow: bool = True, /, **query: str
    ) -> aiohttp.ClientResponse:
        """The answer to a GET of the first gateway that gives one. Raises `aiohttp.ClientError` where none does."""
        for _ in range(len(self._urls) - 1):
            try:
                return await self._session.get(
                    f"{self._url}{path}", params=query, timeout=limits, allow_redirects=follow
                )
            except (aiohttp.ClientConnectionError, TimeoutError) as error:
                silent = self._url
                self._urls.rotate(-1)
                print_note(f"no gateway answers at {silent}: {cause_of(error)}; trying {self._url}")
        return await self._session.get(f"{self._url}{path}", params=query, timeout=limits, allow_redirects=follow)

    async def get(self, path: str, /, **query: str) -> Any:
        """The JSON answer of a GET, which the gateway has at hand; raises `ApiError` on a status of 400 and above."""
        return await self._get(path, query, AT_HAND)

    async def _get(self, path: str, query: dict[str, str], limits: aiohttp.ClientTimeout) -> Any:
        async with await self._answer(path, limits, **query) as response:
            self._answered = True
            await _raise_for(response)
            self._warn_of_age(response)
            try:
                return orjson.loads(await read_answer(response))
            except ValueError:
                raise ApiError(
                    HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: its answer is not JSON"
                ) from None

    async def rows(self, path: str, /, *keys: str, **query: str) -> list[dict[str, Any]]:
        """The lists under these keys of a document that every gateway has, one after the other."""
        try:
            answer = await self.get(path, **query)
            return [row for key in keys for row in answer[key]] if keys else list(answer)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        except (KeyError, TypeError):
            pass
        raise ApiError(HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: it has no list at {path}")

    async def tasks(self, framework_id: str = "", *, ended: bool = False) -> list[dict[str, Any]]:
        """Tasks with their reasons and messages: of one framework or of all, those that have ended if asked for."""
        query = {"framework_id": framework_id} if framework_id else {}
        answer = await self.own("/mezzo/v1/tasks", "tasks", ended="true" if ended else "false", **query)
        return list(answer["tasks"])

    async def agents(self) -> list[dict[str, Any]]:
        """Every agent, those that are unreachable or gone included."""
        return list((await self.own("/mezzo/v1/agents", "agents"))["agents"])

    async def own(self, path: str, key: str, **query: str) -> dict[str, Any]:
        """A document that Mezzo alone has, with this key. Raises `ApiError` where the gateway is none, or too old."""
        answer = await self.known(path, **query)
        if key in answer:
            return answer
        raise ApiError(HTTPStatus.BAD_GATEWAY, await self._lack(path))

    async def known(self, path: str, **query: str) -> dict[str, Any]:
        """An object that every gateway has. Raises `ApiError` where the gateway is none, or of another version."""
        try:
            return dict(await self.get(path, **query))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        except (TypeError, ValueError):
            pass
        raise ApiError(HTTPStatus.BAD_GATEWAY, await self._lack(path))

    async def _lack(self, path: str) -> str:
        """Why there is nothing at a path that every gateway of this version has."""
        with contextlib.suppress(ApiError, TypeError, KeyError):
            version = (await self.get("/version"))["mezzo_version"]
            await self.get("/state-summary")  # agents have a version, too
            return f"the gateway at {self._url} is of another version, {version}: it has no {path}"
        return f"{self._url} is not a gateway: it has no {path}"

    async def explain(self, **query: str) -> dict[str, Any]:
        """`explanations`: why frameworks are offered what they are. Raises `ApiError`, 404 for who is not there."""
        await self._check_gateway()
        try:
            answer = await self._get("/api/v1/explain", query, FROM_AFAR)
            if "explanations" in answer:
                return dict(answer)
        except ApiError as error:
            # Mesos, and the agents of Mezzo, take nothing but calls there.
            if error.status != HTTPStatus.METHOD_NOT_ALLOWED:
                raise
        raise ApiError(HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: it has no GET /api/v1/explain")

    def _warn_of_age(self, response: aiohttp.ClientResponse) -> None:
        """Say, once, that the gateway follows no registry: what it tells is what it knew last."""
        since = response.headers.get(STALE_HEADER)
        if since is not None and not self._warned:
            self._warned = True
            age = max(0.0, time.time() - float(since))
            print_error(f"no registry leads, or none can be reached; what follows is {age:.0f} s old")

    async def state(self) -> dict[str, Any]:
        """All that the gateway knows of the cluster."""
        try:
            answer = await self.get("/state")
            if "slaves" in answer:
                return dict(answer)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        raise ApiError(HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: it has no /state")

    async def _check_alive(self) -> None:
        """Find out soon whether the gateway hangs, before it is asked for what may take long for good reasons."""
        if not self._answered:
            async with await self._answer("/health", AT_HAND):
                self._answered = True

    async def _check_gateway(self) -> None:
        """Find out whether it is a gateway that answers: agents take calls at the same path, and refuse most."""
        async with await self._answer("/redirect", AT_HAND, False) as response:
            self._answered = True
            if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                raise ApiError(HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: it does not say who leads")

    async def post(self, path: str, **query: str) -> None:
        await self._check_alive()
        async with self._session.post(f"{self._url}{path}", params=query) as response:
            await _raise_for(response)

    async def call(self, call: dict[str, Any]) -> None:
        """A call of the operator API that changes something; raises `ApiError` where it is refused."""
        await self._check_gateway()
        async with self._session.post(f"{self._url}/api/v1", json=call) as response:
            await _raise_for(response)

    async def ask(self, call: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer to a call of the operator API that changes nothing; raises `ApiError` where it is refused."""
        async with self._session.post(f"{self._url}/api/v1", json=call, headers=JSON) as response:
            await _raise_for(response)
            self._warn_of_age(response)
            try:
                return dict(orjson.loads(await read_answer(response)))
            except ValueError:
                raise ApiError(
                    HTTPStatus.BAD_GATEWAY, f"{self._url} is not a gateway: its answer is not JSON"
                ) from None

    async def stream(
        self, path: str, opened: Callable[[Mapping[str, str]], None] | None = None, /, **query: str
    ) -> AsyncIterator[bytes]:
        """The answer's body in pieces, as they come, for as long as they come; its head is given to `opened`."""
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS)
        # The body may take as long as it likes, the head may not.
        async with asyncio.timeout(TIMEOUT_SECONDS):
            response = await self._answer(path, no_limit, **query)
        async with response:
            await _raise_for(response)
            if opened is not None:
                opened(response.headers)
            async for piece in response.content.iter_any():
                yield piece

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The events of the operator API, the first of which has the whole state; until the gateway ends the stream."""
        await self._check_gateway()
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=EVENTS_SECONDS_MAX)
        decoder = Decoder()
        subscribe = {"type": "SUBSCRIBE"}
        async with self._session.post(
            f"{self._url}/api/v1", json=subscribe, headers=JSON, timeout=no_limit
        ) as response:
            await _raise_for(response)
            async for piece in response.content.iter_any():
                for record in decoder.feed(piece):
                    yield orjson.loads(record)


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = (await read_refusal(response)).strip()
        raise ApiError(response.status, _message_of(text) or f"{response.status} {response.reason}")


def _message_of(text: str) -> str:
    """The message of an error, which Mezzo's own endpoints wrap in JSON, without paths of fields."""
    try:
        error = orjson.loads(text)["error"]
        return without_path(f"{error['field']}: {error['message']}" if error["field"] else str(error["message"]))
    except (ValueError, TypeError, KeyError):
        return without_path(text)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession(timeout=FROM_AFAR) as session:
        yield Api(session, settings.urls)


@contextmanager
def exit_on_failure(settings: Settings) -> Iterator[None]:
    """End the program with one clear line, and the exit code for it, where asking the cluster fails."""
    try:
        yield
    except ApiError as error:
        print_error(str(error))
        raise typer.Exit(exit_code_of(error)) from None
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        print_error(f"no gateway answers at {settings.url}: {cause_of(error)}; {HINT}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    except aiohttp.ClientResponseError:  # of a head that is none: what an HTTP server refuses is an ApiError
        print_error(f"{settings.url} is not a gateway: it does not speak HTTP; {HINT}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    except aiohttp.ClientError as error:
        print_error(f"the connection to {settings.url} broke: {error}")
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    except KeyboardInterrupt:
        raise typer.Exit(exit_codes.INTERRUPTED) from None


def cause_of(error: aiohttp.ClientConnectionError | TimeoutError) -> str:
    """Why nobody answers, in the system's words where there are any."""
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the host name {error.host} is not known"
        code = error.os_error.errno
        return os.strerror(code) if code else str(error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_TIMEOUT_SECONDS:g} s"
    if isinstance(error, aiohttp.SocketTimeoutError):
        return f"it accepts connections, but sent nothing for {SILENCE_TIMEOUT_SECONDS:g} s: it hangs"
    return str(error) or f"the answer took longer than {TIMEOUT_SECONDS:g} s"
