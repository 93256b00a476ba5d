"""Where a server is reached: `10.0.0.7:5051`, `agent.example:5051`, `[fd00::7]:5051`.

What is written into a URL, or a header, has this form and no other: a path, a user or a query in an address would lead
whoever uses it somewhere else.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

HOST_CHARACTERS_MAX = 253
PORT_MAX = 65_535

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_FORM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """Host and port. An IPv6 address is without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address | None:
    """None for what is no address."""
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > PORT_MAX:
        return None
    host = found["host"].strip("[]")
    return Address(host, int(found["port"])) if is_host(host) else None


def of(host: str, port: int) -> Address | None:
    """The address of a host, as it is told apart from its port; None where it is none."""
    return Address(host, port) if is_host(host) and 0 <= port <= PORT_MAX else None


def is_host(text: str) -> bool:
    """Whether it is a name, or an IP address without brackets."""
    if len(text) > HOST_CHARACTERS_MAX:
        return False
    return _NAME.fullmatch(text) is not None or _is_ipv6(text)


def _is_ipv6(text: str) -> bool:
    try:
        # A zone (`fe80::1%eth0`) has a meaning on one machine only, and may hold anything.
        return "%" not in text and ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
