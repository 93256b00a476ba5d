"""How verbs ask the cluster: where it is, what its refusals are, and how a failure is told.

Nothing that takes long to import is imported here: `mezzo --help` asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import typer
from rich.text import Text

from mezzo.cli.output import console, visible

if TYPE_CHECKING:
    from mezzo.cli.api import Api

DEFAULT_API = "127.0.0.1:5050"
# A wrong option is 2, as everywhere; a port in use is what it is for the services. The next two are EX_NOINPUT and
# EX_UNAVAILABLE of sysexits.h.
EXIT_FAILED = 1
EXIT_PORT_IN_USE = 3
EXIT_NOT_FOUND = 66
EXIT_UNREACHABLE = 69
EXIT_INTERRUPTED = 130
ACTIVE_STATES = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"})

T = TypeVar("T")


def complain(message: str) -> None:
    """Tell what went wrong: in one line, however long it is, and in the words that came."""
    _tell(message, "red")


def note(message: str) -> None:
    """Tell what is going on, where the standard output is somebody else's."""
    _tell(message, "yellow")


def _tell(message: str, colour: str) -> None:
    console(stderr=True).print(Text.assemble(("mezzo:", colour), " ", visible(" ".join(message.split()))))


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options before the verb say."""

    url: str

    @classmethod
    def of(cls, api: str) -> Settings:
        """Take `host:port` or a URL. Raises `typer.BadParameter` for anything else."""
        url = (api if "://" in api else f"http://{api}").rstrip("/")
        try:
            parsed = urlsplit(url)
            port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
            if parsed.scheme not in ("http", "https") or not parsed.hostname or not port:
                raise ValueError("expected host:port, or a URL that begins with http:// or https://")
        except ValueError as error:
            raise typer.BadParameter(f"{api!r}: {error}", param_hint="--api") from None
        return cls(url)


class ApiError(Exception):
    """The cluster answered, and the answer is no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def exit_code_of(error: ApiError) -> int:
    if error.status == HTTPStatus.NOT_FOUND:
        return EXIT_NOT_FOUND
    unavailable = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
    return EXIT_UNREACHABLE if error.status in unavailable else EXIT_FAILED


def ask(context: typer.Context, question: Callable[[Api], Coroutine[Any, Any, T]]) -> T:
    """Ask the cluster, and end the program with one clear line where that fails."""
    import asyncio

    from mezzo.cli.api import connect, failures_told

    settings: Settings = context.obj

    async def answer() -> T:
        async with connect(settings) as api:
            return await question(api)

    with failures_told(settings):
        return asyncio.run(answer())
