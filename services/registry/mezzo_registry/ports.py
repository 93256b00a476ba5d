"""What a term of leadership needs from outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from mezzo_registry.core.records import Write

Tables = Mapping[str, Mapping[str, bytes]]
"""Table → key → record."""


class StoreError(Exception):
    """The store could not be read or written. Nothing is known of whether a write took effect."""


class Deposed(StoreError):
    """Another leader has written since: this one's term is over."""


class Store(Protocol):
    """Where the records survive. See `mezzo_registry.core.records`."""

    async def open_term(self) -> Tables:
        """Begin a term: from now on no earlier leader can write. Returns all records.

        Raises:
            StoreError: it cannot be reached, or a record is damaged.
        """
        ...

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        """Make groups of writes durable, in order; each group all or nothing.

        Raises:
            Deposed: another leader's term has begun.
            StoreError: it cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close the store; after that nothing is written."""
        ...
