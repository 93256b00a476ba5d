"""What a candidate knows and decides, without ZooKeeper: sessions, its own node, who is ahead of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from mezzo_chassis.leadership.latest_value import LatestValue


class Session(Enum):
    """The state of the session with ZooKeeper."""

    # Not connected yet, or never will be: there is no ZooKeeper.
    NONE = "none"
    CONNECTED = "connected"
    # The connection is gone; the session, and with it the node, may live or not.
    SUSPENDED = "suspended"
    # The session has ended, and its node with it.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One term of leadership: a write that checks for this node cannot be a deposed leader's."""

    # Of the leader's own node; empty without ZooKeeper.
    path: str
    number: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """Where a candidate stands."""

    session: Session
    # Set while it leads. It goes on leading while SUSPENDED, and writes nothing.
    epoch: Epoch | None
    # Whether it has a node in the election: it leads, or will when those before it are gone.
    standing: bool = False

    @property
    def leading(self) -> bool:
        return self.epoch is not None

    @property
    def may_write(self) -> bool:
        return self.leading and self.session is not Session.SUSPENDED


class Candidate(Protocol):
    """Stands for election for as long as it is open."""

    @property
    def leadership(self) -> Leadership: ...

    def changes(self) -> AsyncIterator[Leadership]:
        """Where it stands now, and then each change."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None:
        """Stand no more; whoever is next leads at once."""
        ...


class StandaloneCandidate:
    """Without ZooKeeper: leads alone, from its start to its end."""

    def __init__(self) -> None:
        self._latest = LatestValue(Leadership(Session.NONE, None))

    @property
    def leadership(self) -> Leadership:
        return self._latest.value

    def changes(self) -> AsyncIterator[Leadership]:
        return aiter(self._latest)

    async def start(self) -> None:
        self._latest.set(Leadership(Session.NONE, Epoch("", 0)))

    async def close(self) -> None:
        self._latest.set(Leadership(Session.NONE, None))


def sequence_of(node: str) -> int:
    """The number that ZooKeeper gave to a sequential node; raises `ValueError` for a name without one."""
    return int(node[-10:])


def in_order(children: Iterable[str], label: str) -> list[str]:
    """The nodes of candidates among the children of the election's folder: who leads, who is next, and so on."""
    numbered = re.compile(rf"{re.escape(label)}_[0-9]{{10}}")
    return sorted(filter(numbered.fullmatch, children), key=sequence_of)


def lowest(children: Iterable[str], label: str) -> str | None:
    """The node that leads among the children of the election's folder."""
    return next(iter(in_order(children, label)), None)


class Standing:
    """The decisions of a candidate: events of ZooKeeper in, `Leadership` out.

    A node is ours only within the session that made it. What an earlier session left behind is another's, however equal
    its content.
    """

    # How many sessions have been lost: an answer belongs to the session in which the question was asked.
    generation: int

    def __init__(self, label: str, folder: str) -> None:
        self._label = label
        self._folder = folder
        self.generation = 0
        self._session = Session.NONE
        self._node: str | None = None
        self._epoch: Epoch | None = None

    @property
    def node(self) -> str | None:
        return self._node

    @property
    def needs_node(self) -> bool:
        return self._session is Session.CONNECTED and self._node is None

    def session_changed(self, session: Session) -> Leadership:
        self._session = session
        if session is Session.LOST:
            self.generation += 1
            self._node = None
            self._epoch = None
        return self._leadership()

    def node_made(self, node: str, generation: int) -> Leadership:
        """A node was made, as asked for in `generation`."""
        if generation == self.generation:
            self._node = node
        return self._leadership()

    def children_seen(self, children: Iterable[str]) -> Leadership:
        """What the folder holds now; it decides who leads."""
        if self._session is not Session.CONNECTED:
            # It was seen before the connection went: nobody becomes a leader by that. There will be another look.
            return self._leadership()
        known = list(children)
        if self._node is not None and self._node not in known:
            # Somebody removed it: stand again.
            self._node = None
            self._epoch = None
        elif self._node is not None and lowest(known, self._label) == self._node:
            self._epoch = Epoch(f"{self._folder}/{self._node}", sequence_of(self._node))
        else:
            self._epoch = None
        return self._leadership()

    def _leadership(self) -> Leadership:
        return Leadership(self._session, self._epoch, self._node is not None)
