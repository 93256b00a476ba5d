"""The streams of a term: what waits to be sent to agents, frameworks, the allocator and observers."""

from collections.abc import AsyncIterator, Iterable
from typing import Generic, TypeVar

from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_chassis.outbox import BATCH_ITEMS_MAX, Outbox, Overflow

M = TypeVar("M")

AGENT_MESSAGES_MAX = 200_000
"""More than this wait for no agent: it is disconnected, and its snapshot settles what it missed."""
FRAMEWORK_EVENTS_MAX = 1_000_000
"""More than this wait for no framework: it is disconnected, and reconciles when it comes back."""
OBSERVER_CHANGES_MAX = 100_000
"""More than this wait for no observer: it is given a new snapshot."""
ALLOCATOR_MESSAGES_MAX = 2_000_000
"""More than this wait for no allocator: its session is ended, and begins anew with a snapshot."""


class Stream(Generic[M]):
    """One peer's stream: messages in the order of their orders, and how it ends."""

    def __init__(self, items_max: int, number: int = 0) -> None:
        self.number = number
        """Spreads the heartbeats of different streams over time."""
        self.outbox: Outbox[M] = Outbox(items_max)
        self.error: Exception | None = None
        self.quiet = True
        """Whether nothing was sent since the last look for heartbeats."""

    def send(self, message: M) -> None:
        """Queue a message."""
        self.quiet = False
        self.outbox.put(message)

    def close(self, error: Exception | None = None) -> None:
        """End the stream after what was sent before."""
        self.error = self.error or error
        self.outbox.close()

    async def batches(self) -> AsyncIterator[list[M]]:
        """What is to be sent, as it comes.

        Raises:
            Overflow: the peer does not keep up.
            Exception: what the stream was closed with, after everything was sent.
        """
        async for batch in self.outbox:
            yield batch
        if self.error is not None:
            raise self.error


class Watcher:
    """One observer: a snapshot when there is a new one, and the changes since."""

    def __init__(self) -> None:
        self._snapshot: list[operator.StateChange] | None = None
        self._stream = Stream[operator.StateChange](OBSERVER_CHANGES_MAX)
        self._error: Exception | None = None
        self._closed = False

    def give(self, snapshot: list[operator.StateChange]) -> None:
        """Start anew from a snapshot. Whatever waited is void."""
        self._snapshot = snapshot
        self._stream = Stream(OBSERVER_CHANGES_MAX)
        if self._closed:
            self._stream.close(self._error)

    def send(self, change: operator.StateChange) -> None:
        """Queue a change."""
        self._stream.outbox.put(change)

    def close(self, error: Exception | None = None) -> None:
        """End the stream after what was sent before."""
        self._closed = True
        self._error = error
        self._stream.close(error)

    async def batches(self) -> AsyncIterator[list[operator.StateChange]]:
        """The snapshot in parts, then the changes as they come.

        Raises:
            Overflow: the observer does not keep up; it is to be given a new snapshot.
            Exception: what the stream was closed with.
        """
        snapshot, self._snapshot = self._snapshot or [], None
        for part in _parts(snapshot):
            yield part
        del snapshot
        async for batch in self._stream.batches():
            yield batch


def _parts(changes: list[operator.StateChange]) -> Iterable[list[operator.StateChange]]:
    for start in range(0, len(changes), BATCH_ITEMS_MAX):
        yield changes[start : start + BATCH_ITEMS_MAX]


__all__ = ["Overflow", "Stream", "Watcher"]
