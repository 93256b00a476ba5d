"""What web pages of other origins may not do through the browser of somebody who reaches this server.

Nobody is authenticated: a browser on a network that reaches the server is all that a page needs. Pages cannot choose
the headers that are looked at here (`Host`, `Origin`, `Sec-Fetch-Site`); other clients send none of them but `Host`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

SAFE_METHODS: Final = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)
PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa", ".test")
"""Of names that nobody can register, and so point at a server of somebody else: RFC 6761, 6762, 8375."""
# What a page may send without asking the server first. Clients that are no browsers send them as well: paasta_tools'
# teardown is text/plain, since aiohttp says so of every string; so does JavaScript's fetch, wherever it runs.
REFUSED_CONTENT_TYPES: Final = ("text/plain", "multipart/form-data")
SHOWN_MAX: Final = 200
"""Characters of a client's own header that an error repeats."""
HEADERS_SPLIT_MAX: Final = 64
"""For how many `Host` headers is remembered what they say: clients send few, and each the same with every request."""

_SEC_FETCH_SITE: Final = "Sec-Fetch-Site"
_OWN_PAGES: Final = ("same-origin", "none")
_NAME = re.compile(r"\.?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def host_names(text: str) -> tuple[str, ...]:
    """Names with commas between, for a flag: `mezzo.example`, `.example` for every name below it, or `*`."""
    given = (name.strip().lower().rstrip(".") for name in text.split(",") if name.strip())
    names = tuple(name.removeprefix("*") if name.startswith("*.") else name for name in given)
    for name in names:
        if name != "*" and not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} must be a host name, .domain or *")
    return names


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Which names clients may know a server by: `own` ones, those that were `given`, and those no attacker can have."""

    own: frozenset[str] = frozenset()
    given: tuple[str, ...] = ()
    # Names that clients are told by others, as they are now.
    learned: Callable[[], Iterable[str]] = tuple

    @classmethod
    def of(cls, given: Iterable[str], *own: str, learned: Callable[[], Iterable[str]] = tuple) -> AllowedHosts:
        """`own` may have empty ones."""
        return cls(frozenset(name.lower().rstrip(".") for name in own if name), tuple(given), learned)

    def allows(self, host: str) -> bool:
        """Whether a request may be sent to a host of this name.

        A page that has its own name point at this server (DNS rebinding) sends its own name. It cannot send an address,
        a name of one label, or one below a domain that is not in the public DNS.
        """
        name = host.lower().rstrip(".")
        if "*" in self.given or name in self.own or "." not in name or _is_address(name):
            return True
        if name.endswith(PRIVATE_SUFFIXES) or self.names(name):
            return True
        return any(name == one.lower().rstrip(".") for one in self.learned())

    def names(self, host: str) -> bool:
        """Whether the host was given by name."""
        name = host.lower().rstrip(".")
        return any(name == one or (one.startswith(".") and name.endswith(one)) for one in self.given)


DEFAULT_HOSTS: Final = AllowedHosts()
EVERY_HOST: Final = AllowedHosts(given=("*",))


def check_host(request: web.BaseRequest, allowed: AllowedHosts) -> None:
    """Refuse a request to a name that is none of this server's. Raises 421."""
    header = request.headers.get(hdrs.HOST, "")
    host, _ = _split(header)
    if not allowed.allows(host):
        raise web.HTTPMisdirectedRequest(
            text=f"Host: {header[:SHOWN_MAX]} is not a name of this server (--allowed_hosts adds names)"
        )


def check_origin(request: web.BaseRequest, allowed: AllowedHosts, *, also_get: bool = False) -> None:
    """Refuse what a page of another origin would change.

    `also_get` is for what changes something by GET as well, or is read by GET where no browser keeps it from pages.
    Raises 403, and 415 for a content type that a browser sends without having asked whether it may.
    """
    is_safe = request.method in SAFE_METHODS
    if is_safe and not also_get:
        return
    if not is_safe:
        _check_content_type(request)
    site = request.headers.get(_SEC_FETCH_SITE)
    if site in _OWN_PAGES:
        return
    origin = request.headers.get(hdrs.ORIGIN) or request.headers.get(hdrs.REFERER)
    if origin is not None:
        if not _is_own(origin, request, allowed):
            raise _foreign(f"{origin[:SHOWN_MAX]} is another origin")
    elif site is not None:
        raise _foreign(f"{_SEC_FETCH_SITE}: {site[:SHOWN_MAX]}")
    elif is_safe and _says_browser(request):
        # Browsers say nothing of the page in a GET over plain HTTP, if the page does not want it.
        raise _foreign("the browser does not say of which page the request is; use another client")


def _check_content_type(request: web.BaseRequest) -> None:
    content_type = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    if content_type in REFUSED_CONTENT_TYPES and request.body_exists and _is_browser(request):
        raise web.HTTPUnsupportedMediaType(text=f"Content-Type: {content_type} is not accepted")


def _is_browser(request: web.BaseRequest) -> bool:
    named = any(name in request.headers for name in (_SEC_FETCH_SITE, hdrs.ORIGIN, hdrs.REFERER))
    return named or _says_browser(request)


def _says_browser(request: web.BaseRequest) -> bool:
    return request.headers.get(hdrs.USER_AGENT, "").startswith("Mozilla/")


def _is_own(origin: str, request: web.BaseRequest, allowed: AllowedHosts) -> bool:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        return False
    if allowed.names(parts.hostname):
        return True
    default = _DEFAULT_PORTS[parts.scheme]
    host, host_port = _split(request.headers.get(hdrs.HOST, ""))
    return (parts.hostname, port or default) == (host.lower(), host_port or default)


def _foreign(reason: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(
        text=f"refused: {reason}, and pages of other origins may change nothing here (--allowed_hosts names exceptions)"
    )


@lru_cache(HEADERS_SPLIT_MAX)
def _split(header: str) -> tuple[str, int | None]:
    """Host and port of a `Host` header; what is none is a host that is not allowed."""
    try:
        parts = urlsplit(f"//{header}")
        if parts.netloc != header or "@" in header:
            return "not.a.host", None
        return parts.hostname or "", parts.port
    except ValueError:
        return "not.a.host", None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
