"""ZooKeeper, as much of it as Mezzo needs: sessions that outlive connections, an election, and the registries' records.

Candidates decide with `mezzo_chassis.leadership.Standing`, as the real ones do; what is simulated is the server, the
sessions with it, and how long everything takes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from mezzo_chassis.leadership import LeaderInfo, Leadership, Session
from mezzo_chassis.leadership.candidate import Epoch, Standing, lowest
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_registry.core.records import Write
from mezzo_registry.ports import Deposed, StoreError, Tables
from tests.simulation.loop import Process, SimulatedLoop

LABEL = "json.info"
ANSWER_SECONDS = (0.0005, 0.02)


@dataclass(eq=False)
class ZooKeeperSession:
    """One client's: it lives on the server, whether its client knows it or not."""

    process: Process
    on_session: Callable[[Session], None]
    on_change: Callable[[], None]
    expired: bool = False
    suspended: bool = False
    connecting: bool = False
    """Whether its client waits for a new one to be opened: it opens one at a time."""
    nodes: list[tuple[str, str]] = field(default_factory=list)


class ZooKeeper:
    """The server. A client is out of touch while its host is cut off, or the server is down."""

    def __init__(self, loop: SimulatedLoop, chooser: random.Random, session_timeout: float) -> None:
        self.loop = loop
        self.random = chooser
        self.session_timeout = session_timeout
        self.folders: dict[str, dict[str, bytes]] = {}
        self.tables: dict[str, dict[str, bytes]] = {}
        self.newest_epoch = -1
        """Of the leaders that have begun a term."""
        self.refuses_until = 0.0
        """The store refuses, or takes without saying so, what is written before. Loop time."""
        self.store_seconds: tuple[float, float] = (0.001, 0.05)
        self._sessions: dict[ZooKeeperSession, None] = {}
        self._cut_until: dict[str, float] = {}
        self._down_until = 0.0
        self._numbers: dict[str, int] = {}

    # --- clients

    def connect(self, session: ZooKeeperSession) -> None:
        """Begin a session, as soon as that can be."""
        session.connecting = True
        self._later(session, max(0.0, self.out_of_touch_until(session.process) - self.loop.time()), self._open, session)

    def _open(self, session: ZooKeeperSession) -> None:
        if not session.process.alive:
            return
        if self.out_of_touch_until(session.process) > self.loop.time():
            self.connect(session)
            return
        session.expired = session.suspended = session.connecting = False
        self._sessions[session] = None
        session.on_session(Session.CONNECTED)
        session.on_change()

    def close(self, session: ZooKeeperSession) -> None:
        if session.process.alive:
            self._expire(session)

    def ask(self, session: ZooKeeperSession, answer: Callable[[], None]) -> None:
        """Let a client do something after a round trip, unless it has lost touch by then: it asks again later."""

        def arrive() -> None:
            if session in self._sessions and not session.suspended and session.process.alive:
                answer()

        self._later(session, 0.0, arrive)

    def add(self, session: ZooKeeperSession, folder: str, payload: bytes) -> str:
        """A sequential node that ends with the session."""
        number = self._numbers[folder] = self._numbers.get(folder, -1) + 1
        name = f"{LABEL}_{number:010d}"
        self.folders.setdefault(folder, {})[name] = payload
        session.nodes.append((folder, name))
        self._changed()
        return name

    def remove_nodes(self, session: ZooKeeperSession) -> None:
        for folder, name in session.nodes:
            self.folders[folder].pop(name, None)
        session.nodes.clear()

    def _later(
        self, session: ZooKeeperSession, seconds: float, action: Callable[..., None], *arguments: object
    ) -> None:
        at = self.loop.time() + seconds + self.random.uniform(*ANSWER_SECONDS)
        self.loop.call_at_as(session.process, at, action, *arguments)

    def _changed(self) -> None:
        for session in self._sessions:
            if not session.suspended:
                self.ask(session, session.on_change)

    def _expire(self, session: ZooKeeperSession) -> None:
        if session.expired:
            return
        session.expired = True
        self._sessions.pop(session, None)
        self.remove_nodes(session)
        self._changed()

    # --- what goes wrong

    def out_of_touch_until(self, process: Process) -> float:
        return max(self._down_until, self._cut_until.get(process.host, 0.0))

    def cut_off(self, host: str, seconds: float) -> None:
        """A host does not reach the server; its sessions expire if that takes too long."""
        self._cut_until[host] = max(self._cut_until.get(host, 0.0), self.loop.time() + seconds)
        for session in list(self._sessions):
            if session.process.host == host:
                self._lose_touch(session)
                self.loop.call_at_as(
                    self.loop.world, self.loop.time() + self.session_timeout, self._expire_if_cut_off, session
                )

    def stop(self, seconds: float) -> None:
        """The server is down. No session expires: their clocks stand still meanwhile."""
        self._down_until = max(self._down_until, self.loop.time() + seconds)
        for session in list(self._sessions):
            self._lose_touch(session)

    def process_died(self, process: Process) -> None:
        for session in list(self._sessions):
            if session.process is process:
                at = self.loop.time() + self.random.uniform(0.3, 1.0) * self.session_timeout
                self.loop.call_at_as(self.loop.world, at, self._expire, session)

    def process_paused(self, process: Process, seconds: float) -> None:
        for session in list(self._sessions):
            if session.process is process and seconds > self.session_timeout:
                self.loop.call_at_as(self.loop.world, self.loop.time() + self.session_timeout, self._expire, session)
                self.loop.call_at_as(process, self.loop.time() + seconds, self._find_out, session)

    def _expire_if_cut_off(self, session: ZooKeeperSession) -> None:
        if session.suspended and self._cut_until.get(session.process.host, 0.0) > self.loop.time():
            self._expire(session)

    def _lose_touch(self, session: ZooKeeperSession) -> None:
        """The client finds out within a third of its time-out, and connects again when it can."""
        if session.suspended:
            return
        session.suspended = True
        at = self.loop.time() + self.random.uniform(0.05, 0.33) * self.session_timeout
        self.loop.call_at_as(session.process, at, self._suspend, session)

    def _suspend(self, session: ZooKeeperSession) -> None:
        if not session.process.alive:
            return
        session.on_session(Session.SUSPENDED)
        self._back_in_touch(session)

    def _back_in_touch(self, session: ZooKeeperSession) -> None:
        waiting = self.out_of_touch_until(session.process) - self.loop.time()
        if waiting > 0:
            self._later(session, waiting, self._back_in_touch, session)
        elif session.process.alive:
            self._find_out(session)

    def _find_out(self, session: ZooKeeperSession) -> None:
        """The client reaches the server, and learns whether its session lives."""
        if not session.process.alive or session.connecting:
            return
        session.suspended = False
        if session.expired:
            session.on_session(Session.LOST)
            self.connect(session)
        else:
            session.on_session(Session.CONNECTED)
            session.on_change()


class SimulatedCandidate:
    """Stands for election in a folder."""

    def __init__(self, zookeeper: ZooKeeper, folder: str, payload: bytes, process: Process) -> None:
        self._zookeeper = zookeeper
        self._folder = folder
        self._payload = payload
        self._standing = Standing(LABEL, folder)
        self._latest = LatestValue(Leadership(Session.NONE, None))
        self._making = False
        self._session = ZooKeeperSession(process, self._session_changed, self._look)

    @property
    def leadership(self) -> Leadership:
        return self._latest.value

    def changes(self) -> AsyncIterator[Leadership]:
        return aiter(self._latest)

    async def start(self) -> None:
        self._zookeeper.connect(self._session)

    async def close(self) -> None:
        self._zookeeper.close(self._session)

    def announce(self, leadership: Leadership, payload: bytes) -> None:
        """Change what its node says."""
        assert leadership.epoch is not None
        folder, _, name = leadership.epoch.path.rpartition("/")
        if name in self._zookeeper.folders.get(folder, {}):
            self._zookeeper.folders[folder][name] = payload

    def _session_changed(self, session: Session) -> None:
        self._making = False
        self._latest.set(self._standing.session_changed(session))

    def _look(self) -> None:
        if self._standing.needs_node and not self._making:
            self._making = True
            generation = self._standing.generation
            self._zookeeper.remove_nodes(self._session)  # one whose making was never answered is in the way
            name = self._zookeeper.add(self._session, self._folder, self._payload)
            self._zookeeper.ask(self._session, lambda: self._made(name, generation))
        else:
            self._latest.set(self._standing.children_seen(self._zookeeper.folders.get(self._folder, {})))
            if self._standing.needs_node:
                self._zookeeper.ask(self._session, self._look)

    def _made(self, name: str, generation: int) -> None:
        self._making = False
        self._latest.set(self._standing.node_made(name, generation))
        self._look()


class SimulatedDetector:
    """Follows who leads in a folder."""

    def __init__(self, zookeeper: ZooKeeper, folder: str, process: Process) -> None:
        self._zookeeper = zookeeper
        self._folder = folder
        self._latest: LatestValue[LeaderInfo | None] = LatestValue(None)
        self._session = ZooKeeperSession(process, lambda _: None, self._look)

    @property
    def leader(self) -> LeaderInfo | None:
        return self._latest.value

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._latest)

    async def start(self) -> None:
        self._zookeeper.connect(self._session)

    async def close(self) -> None:
        self._zookeeper.close(self._session)

    def _look(self) -> None:
        nodes = self._zookeeper.folders.get(self._folder, {})
        name = lowest(nodes, LABEL)
        self._latest.set(LeaderInfo.parse(nodes[name]) if name is not None else None)


class SimulatedStore:
    """The registries' records: written only by whoever still has its node in the election."""

    def __init__(self, zookeeper: ZooKeeper, process: Process, epoch: Epoch) -> None:
        self._zookeeper = zookeeper
        self._process = process
        self._epoch = epoch

    async def open_term(self) -> Tables:
        await self._travel()
        self._check()
        self._zookeeper.newest_epoch = max(self._zookeeper.newest_epoch, self._epoch.number)
        return {table: dict(records) for table, records in self._zookeeper.tables.items()}

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        await self._travel()
        for group in groups:
            refused = self._zookeeper.refuses_until > self._zookeeper.loop.time()
            if refused and self._zookeeper.random.random() < 0.5:
                raise StoreError("the store refuses")
            self._check()
            if self._epoch.number < self._zookeeper.newest_epoch:
                error = AssertionError(f"the leader of epoch {self._epoch.number} writes after another has begun")
                self._zookeeper.loop.fail(error)
            for write in group:
                records = self._zookeeper.tables.setdefault(write.table, {})
                if write.value is None:
                    records.pop(write.key, None)
                else:
                    records[write.key] = write.value
            if refused:
                raise StoreError("the connection broke before the answer came")
        await self._travel()

    async def close(self) -> None:
        """Nothing is open."""

    async def _travel(self) -> None:
        loop = self._zookeeper.loop
        await asyncio.sleep(self._zookeeper.random.uniform(*self._zookeeper.store_seconds) / 2)
        if not self._process.alive or self._zookeeper.out_of_touch_until(self._process) > loop.time():
            raise StoreError("the connection is lost")

    def _check(self) -> None:
        folder, _, name = self._epoch.path.rpartition("/")
        if name not in self._zookeeper.folders.get(folder, {}):
            raise Deposed("another leads")
