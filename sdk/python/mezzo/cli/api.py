"""What the verbs share: where the cluster is, how it is asked, and how a failure is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import typer
from rich.console import Console

DEFAULT_API = "127.0.0.1:5050"
TIMEOUT_SECONDS = 30.0
EXIT_FAILED = 1
EXIT_UNREACHABLE = 69  # EX_UNAVAILABLE of sysexits.h

T = TypeVar("T")
errors = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options before the verb say."""

    url: str

    @classmethod
    def of(cls, api: str) -> Settings:
        """Take `host:port` or a URL."""
        return cls((api if "://" in api else f"http://{api}").rstrip("/"))


class ApiError(Exception):
    """The cluster answered, and the answer is no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """A gateway, asked over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def get(self, path: str, **query: str) -> Any:
        """The JSON answer of a GET; raises `ApiError` on a status of 400 and above."""
        async with self._session.get(f"{self._url}{path}", params=query) as response:
            await _raise_for(response)
            return await response.json(content_type=None)

    async def post(self, path: str) -> None:
        async with self._session.post(f"{self._url}{path}") as response:
            await _raise_for(response)

    async def stream(self, path: str, **query: str) -> AsyncIterator[bytes]:
        """The answer's body in pieces, as they come, for as long as they come."""
        no_limit = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS)
        async with self._session.get(f"{self._url}{path}", params=query, timeout=no_limit) as response:
            await _raise_for(response)
            async for piece in response.content.iter_any():
                yield piece

    async def find_task(self, name: str) -> dict[str, Any]:
        """The task of this id, or the one whose id begins with it; an active one before ended ones."""
        found: list[dict[str, Any]] = [
            task for task in (await self.get("/tasks", limit="-1"))["tasks"] if task["id"].startswith(name)
        ]
        exact = [task for task in found if task["id"] == name]
        active = [task for task in exact or found if task["state"] in ACTIVE_STATES]
        candidates = active or exact or found
        if not candidates:
            raise ApiError(404, f"no task is called {name}")
        if len({(task["framework_id"], task["id"]) for task in candidates}) > 1:
            several = ", ".join(sorted(task["id"] for task in candidates)[:5])
            raise ApiError(409, f"{name} may be any of {several}")
        return candidates[0]


ACTIVE_STATES = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"})


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = (await response.text()).strip()
        raise ApiError(response.status, text or f"{response.status} {response.reason}")


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Api]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Api(session, settings.url)


def ask(context: typer.Context, question: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
    """Ask the cluster, and end the program with one clear line where that fails."""
    settings: Settings = context.obj

    async def answer() -> T:
        async with connect(settings) as api:
            return await question(api)

    try:
        return asyncio.run(answer())
    except ApiError as error:
        errors.print(f"[red]mezzo:[/] {error}", highlight=False)
        raise typer.Exit(EXIT_FAILED) from None
    except (aiohttp.ClientConnectionError, TimeoutError) as error:
        errors.print(f"[red]mezzo:[/] no gateway answers at {settings.url}: {error}", highlight=False)
        raise typer.Exit(EXIT_UNREACHABLE) from None
