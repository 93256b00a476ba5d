"""Who sent a request, as far as a server knows: the one place where authentication is to be added.

The middleware resolves the principal of each request once, before its endpoint sees it, and endpoints read it with
`principal_of`. Until there is authentication it is nobody's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a request was authenticated as, by name: Mesos' principal."""

    name: str


Authenticate = Callable[[web.Request], Awaitable[Principal | None]]
"""Find out who sent a request. Raises `mezzo.errors.Unauthorized` for credentials that are wrong, or are required."""

_PRINCIPAL: Final = web.RequestKey("principal", Principal)


async def anonymous(request: web.Request) -> Principal | None:
    """Authenticate nobody: whoever reaches the server may use it."""
    del request
    return None


async def resolve_principal(request: web.Request, authenticate: Authenticate) -> None:
    """Authenticate a request, for all that handle it afterwards. Raises what `authenticate` raises."""
    principal = await authenticate(request)
    if principal is not None:
        request[_PRINCIPAL] = principal


def principal_of(request: web.Request) -> Principal | None:
    """Who sent a request; None where nobody was authenticated."""
    return request.get(_PRINCIPAL)
