"""Standing for election in ZooKeeper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.protocol.states import WatchedEvent

from mezzo_chassis.leadership.candidate import Changes, Leadership, Session, Standing
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, call, close, connect
from mezzo_chassis.log import get_logger

RETRY_SECONDS = 0.2

log = get_logger(__name__)


class Contender:
    """A candidate with a sequential ephemeral node `<label>_<ten digits>` below `url.path`; the lowest leads.

    `kazoo.recipe.Election` is not used: it cannot tell a leader that its connection is suspended, and its cancel does
    not interrupt one. A contender never ends by itself: when its session is lost it stands again in the next.
    """

    def __init__(
        self, url: ZooKeeperUrl, payload: bytes, *, session_timeout_seconds: float, label: str = "json.info"
    ) -> None:
        self._url = url
        self._payload = payload
        self._timeout_seconds = session_timeout_seconds
        self._label = label
        self._standing = Standing(label, url.path)
        self._changes = Changes()
        self._client: KazooClient | None = None
        self._dirty = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def leadership(self) -> Leadership:
        return self._changes.current

    @property
    def client(self) -> KazooClient:
        """The session's client: a store that writes through it shares its session. Only after `start`."""
        assert self._client is not None
        return self._client

    def changes(self) -> AsyncIterator[Leadership]:
        return aiter(self._changes)

    async def start(self) -> None:
        self._client = connect(self._url, self._timeout_seconds, self._session_changed)
        self._worker = asyncio.create_task(self._work(), name="stand for election")

    async def close(self) -> None:
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        if self._client:
            await self._give_up_node(self._client)
            await close(self._client)
        self._changes.set(Leadership(Session.NONE, None))

    async def _give_up_node(self, client: KazooClient) -> None:
        """Let the next one lead now rather than when the session has been closed."""
        node = self._standing.node
        if node is None or not client.connected:
            return
        try:
            async with asyncio.timeout(1):
                await call(client.delete_async, f"{self._url.path}/{node}")
        except (KazooException, TimeoutError) as error:
            log.info("node goes with its session", node=node, reason=str(error))

    def _session_changed(self, session: Session) -> None:
        log.info("zookeeper session", state=session.value)
        self._changes.set(self._standing.session_changed(session))
        self._dirty.set()

    def _children_changed(self, _: WatchedEvent, loop: asyncio.AbstractEventLoop) -> None:
        # Called on kazoo's own thread.
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._dirty.set)

    async def _work(self) -> None:
        """Whenever something changed: see to a node, and look who is ahead."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._look()
            except KazooException as error:
                # The session changed meanwhile, or ZooKeeper is slow: what follows says which.
                log.info("zookeeper does not answer", error=repr(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._dirty.set()

    async def _look(self) -> None:
        client, loop = self.client, asyncio.get_running_loop()
        if not client.connected:
            return
        if self._standing.needs_node:
            await self._make_node(client)
        children = await call(
            client.get_children_async, self._url.path, watch=lambda event: self._children_changed(event, loop)
        )
        was_leading = self.leadership.leading
        self._changes.set(self._standing.children_seen(children))
        if self.leadership.leading != was_leading:
            log.info("leadership", leading=self.leadership.leading, node=self._standing.node)
        if self._standing.needs_node:
            self._dirty.set()

    async def _make_node(self, client: KazooClient) -> None:
        await call(client.ensure_path_async, self._url.path, acl=self._url.acl)
        await self._remove_forgotten_nodes(client)
        session_id = client.client_id
        path = await call(
            client.create_async,
            f"{self._url.path}/{self._label}_",
            self._payload,
            acl=self._url.acl,
            ephemeral=True,
            sequence=True,
        )
        if client.client_id == session_id:
            self._changes.set(self._standing.node_made(path.rpartition("/")[2]))

    async def _remove_forgotten_nodes(self, client: KazooClient) -> None:
        """Remove nodes of this very session: one was made, and the answer was lost with the connection."""
        owner = client.client_id[0] if client.client_id else None
        for child in await call(client.get_children_async, self._url.path):
            if not child.startswith(f"{self._label}_"):
                continue
            stat = await call(client.exists_async, f"{self._url.path}/{child}")
            if stat is not None and stat.ephemeralOwner == owner:
                await call(client.delete_async, f"{self._url.path}/{child}")
