"""Finding out who leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError
from kazoo.protocol.states import WatchedEvent

from mezzo_chassis.leadership.candidate import Session, lowest
from mezzo_chassis.leadership.payload import LeaderInfo
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, call, close, connect
from mezzo_chassis.log import get_logger

RETRY_SECONDS = 0.2
# While nobody has ever stood for election there is no folder that could be watched.
FOLDER_POLL_SECONDS = 0.5

log = get_logger(__name__)


class LeaderDetector(Protocol):
    """Knows who leads, as far as anybody does."""

    @property
    def leader(self) -> LeaderInfo | None: ...

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        """Who leads now, and then each change; None while nobody does."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class _Newest:
    """The newest leader, for any number of readers."""

    def __init__(self, leader: LeaderInfo | None = None) -> None:
        self.leader = leader
        self._changed = asyncio.Event()

    def set(self, leader: LeaderInfo | None) -> None:
        if leader != self.leader:
            self.leader = leader
            self._changed.set()
            self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[LeaderInfo | None]:
        first = True
        seen: LeaderInfo | None = None
        while True:
            changed = self._changed
            if first or self.leader != seen:
                first, seen = False, self.leader
                yield seen
            else:
                await changed.wait()


class FixedDetector:
    """Without ZooKeeper: whoever is at the address leads."""

    def __init__(self, grpc_address: str) -> None:
        self._newest = _Newest(LeaderInfo(grpc_address, {}))

    @property
    def leader(self) -> LeaderInfo | None:
        return self._newest.leader

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._newest)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Detector:
    """Watches the election below `url.path`.

    While ZooKeeper does not answer, the last leader is still taken for the leader: a cluster goes on without ZooKeeper,
    and whoever finds that the leader is gone has lost nothing by having asked it.
    """

    def __init__(self, url: ZooKeeperUrl, *, session_timeout_seconds: float, label: str = "json.info") -> None:
        self._url = url
        self._timeout_seconds = session_timeout_seconds
        self._label = label
        self._newest = _Newest()
        self._dirty = asyncio.Event()
        self._client: KazooClient | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def leader(self) -> LeaderInfo | None:
        return self._newest.leader

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._newest)

    async def start(self) -> None:
        self._client = connect(self._url, self._timeout_seconds, self._session_changed)
        self._worker = asyncio.create_task(self._work(), name="detect the leader")

    async def close(self) -> None:
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        if self._client:
            await close(self._client)

    def _session_changed(self, session: Session) -> None:
        if session is Session.CONNECTED:
            self._dirty.set()

    def _changed(self, _: WatchedEvent, loop: asyncio.AbstractEventLoop) -> None:
        # Called on kazoo's own thread.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._dirty.set)

    async def _work(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._look()
            except NoNodeError:
                self._newest.set(None)
                await asyncio.sleep(FOLDER_POLL_SECONDS)
                self._dirty.set()
            except KazooException as error:
                log.info("zookeeper does not answer", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._dirty.set()

    async def _look(self) -> None:
        client, loop = self._client, asyncio.get_running_loop()
        assert client is not None
        if not client.connected:
            return
        children = await call(client.get_children_async, self._url.path, watch=lambda event: self._changed(event, loop))
        node = lowest(children, self._label)
        if node is None:
            self._newest.set(None)
            return
        try:
            payload, _ = await call(client.get_async, f"{self._url.path}/{node}")
        except NoNodeError:
            # It went between the two questions; the watch has fired already.
            self._dirty.set()
            return
        leader = LeaderInfo.parse(payload)
        if leader is None:
            log.warning("the leader's node is not of Mezzo", node=node)
        self._newest.set(leader)
