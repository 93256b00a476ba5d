"""The correlation id of the request that is being answered: it goes out with the answer and on to the registry."""

from __future__ import annotations

from mezzo_chassis.log import correlation_id
from mezzo_chassis.rpc import CORRELATION_KEY


def metadata() -> tuple[tuple[str, str], ...]:
    """The metadata of a gRPC call that is made for the request."""
    found = correlation_id()
    return ((CORRELATION_KEY, found),) if found else ()
