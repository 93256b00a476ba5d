"""Who sent a request, as far as a server knows: the one place where authentication is to be added.

The middleware resolves the principal of each request once, before its endpoint sees it; whatever is done for the
request reads it with `current_principal`, as it reads the correlation id. Until there is authentication it is nobody's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request was authenticated as, by name: Mesos' principal."""

    name: str


Authenticate = Callable[[web.Request], Awaitable[Principal | None]]
"""Find out who sent a request. Raises `mezzo.errors.Unauthorized` for credentials that are wrong, or are required."""

_current: ContextVar[Principal | None] = ContextVar("principal", default=None)


async def anonymous(request: web.Request) -> Principal | None:
    """Authenticate nobody: whoever reaches the server may use it."""
    del request
    return None


async def resolve_principal(request: web.Request, authenticate: Authenticate) -> None:
    """Authenticate a request, for all that is done for it afterwards. Raises what `authenticate` raises."""
    _current.set(None)  # one task answers all requests of a connection, one after another
    _current.set(await authenticate(request))


def current_principal() -> Principal | None:
    """Who sent the request that is being answered; None where nobody was authenticated."""
    return _current.get()


def principal_name() -> str:
    """The name of who sent the request, as messages carry it; empty where nobody was authenticated."""
    principal = _current.get()
    return "" if principal is None else principal.name
