"""How long ZooKeeper may take to answer before its connection is given up and another one is tried.

kazoo allows a handshake the whole session time-out, and notices that a connection has fallen silent only after two
thirds of it, or all of it where requests are sent meanwhile: by then the session, and with it the leadership, is over
at a ZooKeeper that was well all along. The limits here leave time for another attempt within the session.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KazooState

# Parts of the session time-out. kazoo sends a ping after a third of it without requests; a connection that does not
# answer is given up another third later; the last third is for trying every host once.
ANSWER_PARTS = 3
RECONNECT_PARTS = 3
# A single host is tried so often within that last third: it may have accepted before it could answer.
RECONNECT_ATTEMPTS_MIN = 3
# Far beyond where doubling has reached its limit.
ROUNDS_COUNTED_MAX = 10
# ZooKeeper grants no longer sessions by default (20 ticks of 2 s), whatever a client asks for.
SESSION_TIMEOUT_SECONDS_MAX = 40.0


class Patience:
    """Limits for one client: how long each connection may leave it without an answer."""

    def __init__(self, session_timeout_seconds: float, hosts: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`hosts`: how many addresses there are to try."""
        self._session_seconds = min(session_timeout_seconds, SESSION_TIMEOUT_SECONDS_MAX)
        self._hosts = hosts
        self._clock = clock
        self._suspended_at: float | None = None
        # Handshakes that nothing depended on, since the last one that was answered.
        self._tried = 0

    def session_changed(self, state: str) -> None:
        """Record a change of kazoo's state: it decides whether a session waits to be taken up again."""
        self._suspended_at = self._clock() if state == KazooState.SUSPENDED else None
        self._tried = 0

    @property
    def answer_seconds(self) -> float:
        """For a request or a ping."""
        return self._session_seconds / ANSWER_PARTS

    def handshake_seconds(self) -> float:
        """For the next connection to be made, and again for ZooKeeper's first answer on it.

        Short while a session would be lost by waiting. Later, and before the first session, a ZooKeeper that is only
        slow gets more with each round: giving up early would add to its load.
        """
        shortest = self._session_seconds / RECONNECT_PARTS / max(self._hosts, RECONNECT_ATTEMPTS_MIN)
        if self._suspended_at is not None and self._clock() - self._suspended_at < self._session_seconds:
            return shortest
        rounds, self._tried = self._tried // self._hosts, self._tried + 1
        return min(self.answer_seconds, shortest * 2.0 ** min(rounds, ROUNDS_COUNTED_MAX))


class PatientHandler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """kazoo's own handler, with `Patience`: everything that its connection waits for, it waits for through a handler.

    Both methods are called on the one thread that owns the connection.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._patience = patience
        self._clock = clock
        self._connection: socket.socket | None = None
        self._limit_seconds = 0.0
        # Since when something has been sent that was not followed by anything received.
        self._unanswered_since: float | None = None

    def create_connection(self, *args: Any, **options: Any) -> socket.socket:
        """Connect within the time for handshakes, whatever kazoo allows. Raises `OSError`."""
        self._limit_seconds = self._patience.handshake_seconds()
        self._unanswered_since = None
        connection: socket.socket = super().create_connection(*args, **{**options, "timeout": self._limit_seconds})
        self._connection = connection
        return connection

    def select(
        self,
        readers: Sequence[socket.socket],
        writers: Sequence[socket.socket],
        errors: Sequence[socket.socket],
        timeout: float | None = None,
    ) -> tuple[list[socket.socket], list[socket.socket], list[socket.socket]]:
        """Wait as `select.select` does; raise kazoo's time-out once ZooKeeper has left something unanswered too long.

        What has arrived is taken first: a process that was stopped itself may find the answer there.
        """
        connection, now = self._connection, self._clock()
        if connection in writers and self._unanswered_since is None:
            self._unanswered_since = now
        seconds_left = timeout
        if self._unanswered_since is not None:
            seconds_left = _shorter(seconds_left, max(0.0, self._unanswered_since + self._limit_seconds - now))
        elif list(readers) == [connection]:
            # The rest of an answer that has begun.
            seconds_left = _shorter(seconds_left, self._limit_seconds)
        ready: tuple[list[Any], list[Any], list[Any]] = super().select(readers, writers, errors, seconds_left)
        if connection in ready[0]:
            self._unanswered_since = None
            self._limit_seconds = self._patience.answer_seconds
        elif self._unanswered_since is not None and self._clock() >= self._unanswered_since + self._limit_seconds:
            raise self.timeout_exception(f"ZooKeeper has not answered for {self._limit_seconds:.2f} s")
        return ready


def _shorter(first: float | None, second: float) -> float:
    return second if first is None else min(first, second)
