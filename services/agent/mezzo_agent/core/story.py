"""What happened to whom, in rows written when it happens: never whole messages, which hold secrets and memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

ROWS_MAX = 2_000
"""How many rows are kept; the oldest go first."""
ROWS_SHOWN_MAX = 50
"""How many rows an error shows."""

Key = tuple[str, ...]
"""Whom a row is about: a framework's id, and the id of a task or an executor of it. Empty: the agent itself."""


class Row(NamedTuple):
    """One thing that happened."""

    at: float
    """Seconds since the epoch."""
    event: str
    """What was being handled, by its name."""
    key: Key
    what: str
    """What became of it: a few words, without the contents of messages."""

    def __str__(self) -> str:
        return f"{self.at:.3f} {self.event}: {'/'.join(self.key) or 'agent'} {self.what}"


class Story:
    """The newest rows, the oldest first."""

    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=ROWS_MAX)

    def record(self, at: float, event: str, key: Key, what: str) -> None:
        """Add a row."""
        self._rows.append(Row(at, event, key, what))

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def of(self, key: Key) -> tuple[str, ...]:
        """The last rows about one of them."""
        return tuple(str(row) for row in self._rows if row.key == key)[-ROWS_SHOWN_MAX:]

    def last(self) -> tuple[str, ...]:
        """The last rows about anybody."""
        return tuple(map(str, self._rows))[-ROWS_SHOWN_MAX:]
