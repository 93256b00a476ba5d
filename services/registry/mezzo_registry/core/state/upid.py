"""The name under which an agent is reached, as libprocess wrote it: `slave(1)@10.0.0.7:5051`."""

import re
from typing import NamedTuple

from mezzo import addresses

# It becomes the path of URLs that frameworks are offered.
_PROCESS = re.compile(r"[A-Za-z0-9_().-]*")


class Upid(NamedTuple):
    """Its parts. An IPv6 address is without its brackets."""

    process: str
    host: str
    port: int


def parse(pid: str) -> Upid | None:
    """Parse a UPID. Returns None for any other text."""
    process, at, rest = pid.partition("@")
    address = addresses.parse(rest)
    if not at or address is None or not _PROCESS.fullmatch(process):
        return None
    return Upid(process, *address)
