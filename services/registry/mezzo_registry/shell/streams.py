"""The streams of a term: what waits to be sent to agents, frameworks, the allocator and observers."""

from typing import Generic, TypeVar

from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_chassis import trace
from mezzo_chassis.outbox import Outbox, Overflow

M = TypeVar("M")

AGENT_MESSAGES_MAX = 200_000
"""More than this wait for no agent: it is disconnected, and resyncs when it comes back."""
FRAMEWORK_EVENTS_MAX = 1_000_000
"""More than this wait for no framework: it is disconnected, and reconciles when it comes back."""
OBSERVER_CHANGES_MAX = 100_000
"""More than this wait for no observer: it is sent a new snapshot."""
ALLOCATOR_MESSAGES_MAX = 2_000_000
"""More than this wait for no allocator: its session is ended, and begins anew with a snapshot."""


class Stream(Generic[M]):
    """One peer's stream: messages in the order of their orders, and how it ends. `peer` is the kind of peer."""

    def __init__(self, peer: str, items_max: int, number: int = 0) -> None:
        self.number = number
        """Spreads the heartbeats of different streams over time."""
        self.outbox: Outbox[M] = Outbox(items_max, peer=peer)
        self.error: Exception | None = None
        self.quiet = True
        """Whether nothing was sent since the last look for heartbeats."""
        self.begun = False
        """Whether anything was ever sent: a heartbeat must not come before what the peer waits for."""

    def send(self, message: M) -> None:
        """Queue a message."""
        self.quiet = False
        self.begun = True
        self.outbox.put(message)
        trace.hop("decided", message)

    def close(self, error: Exception | None = None) -> None:
        """End the stream after what was sent before."""
        self.error = self.error or error
        self.outbox.close()

    def check(self) -> None:
        """Called when the outbox has ended.

        Raises:
            Exception: what the stream was closed with.
        """
        if self.error is not None:
            raise self.error


class EventStream(Stream[tuple[scheduler.Event, str]]):
    """A framework's stream: events, and what each follows from."""

    def send_event(self, event: scheduler.Event, cause: str = "") -> None:
        """Queue an event."""
        self.quiet = False
        self.begun = True
        self.outbox.put((event, cause))
        trace.hop("decided", event)


class Watcher:
    """One observer: a snapshot in parts, and the changes since."""

    def __init__(self) -> None:
        self._stream = Stream[operator.StateChange]("observer", OBSERVER_CHANGES_MAX)
        self.wants_more = False
        """Whether the snapshot goes on once everything that waits has been sent."""

    def give(self, changes: list[operator.StateChange], *, begins: bool, more: bool) -> None:
        """Take a part of a snapshot. With the first one, whatever waited is void."""
        if begins:
            ended, self._stream = self._stream, Stream("observer", OBSERVER_CHANGES_MAX + len(changes))
            if ended.error is not None:
                self._stream.close(ended.error)
        self._stream.outbox.put_all(changes)
        self.wants_more = more

    def send(self, change: operator.StateChange) -> None:
        """Queue a change."""
        self._stream.outbox.put(change)

    def close(self, error: Exception | None = None) -> None:
        """End the stream after what was sent before."""
        self._stream.close(error)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not len(self._stream.outbox)

    @property
    def outbox(self) -> Outbox[operator.StateChange]:
        """What is to be sent. Its `Overflow` says that the observer is to be given a new snapshot."""
        return self._stream.outbox

    def check(self) -> None:
        """Called when the outbox has ended.

        Raises:
            Exception: what the stream was closed with.
        """
        self._stream.check()


__all__ = ["EventStream", "Overflow", "Stream", "Watcher"]
