"""Standing for election in ZooKeeper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from mezzo_chassis.leadership.candidate import Leadership, Session, Standing
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_chassis.leadership.watcher import Watcher
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, call
from mezzo_chassis.log import get_logger

GIVE_UP_SECONDS_MAX = 0.5

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
        self._label = label
        self._standing = Standing(label, url.path)
        self._latest = LatestValue(Leadership(Session.NONE, None))
        self._watcher = Watcher(
            "stand for election",
            url,
            session_timeout_seconds,
            refresh=self._refresh,
            on_session=self._session_changed,
            failed=self._fail,
        )

    @property
    def leadership(self) -> Leadership:
        return self._latest.value

    @property
    def client(self) -> KazooClient:
        """The session's client: a store that writes through it shares its session. Only after `start`."""
        return self._watcher.client

    def changes(self) -> AsyncIterator[Leadership]:
        return aiter(self._latest)

    async def start(self) -> None:
        self._watcher.start()

    async def close(self) -> None:
        await self._watcher.stop_looking()
        await self._give_up_node()
        await self._watcher.close()
        self._latest.set(Leadership(Session.NONE, None))

    async def _give_up_node(self) -> None:
        """Let the next one lead now rather than when the session has been closed."""
        node = self._standing.node
        if node is None or not self.client.connected:
            return
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS_MAX):
                await call(self.client.delete_async, f"{self._url.path}/{node}")
        except (KazooException, TimeoutError) as error:
            log.info("cannot delete the election node; it ends with its session", node=node, error=repr(error))

    def _session_changed(self, session: Session) -> None:
        self._latest.set(self._standing.session_changed(session))

    def _fail(self, error: BaseException) -> None:
        self._latest.set(Leadership(self.leadership.session, None))
        self._latest.fail(error)

    async def _refresh(self, client: KazooClient) -> None:
        """See to a node, and look who is ahead."""
        if self._standing.needs_node:
            await self._make_node(client)
        try:
            children = await call(client.get_children_async, self._url.path, watch=self._watcher.watch)
        except NoNodeError:
            # Somebody removed the folder, and this node with it: the leader of nothing makes both again.
            children = []
        was_leading = self.leadership.leading
        self._latest.set(self._standing.children_seen(children))
        if self.leadership.leading != was_leading:
            log.info("leadership changed", leading=self.leadership.leading, node=self._standing.node)
        if self._standing.needs_node:
            self._watcher.wake()

    async def _make_node(self, client: KazooClient) -> None:
        await call(client.ensure_path_async, self._url.path, acl=self._url.acl)
        await self._remove_forgotten_nodes(client)
        generation = self._standing.generation
        path = await call(
            client.create_async,
            f"{self._url.path}/{self._label}_",
            self._payload,
            acl=self._url.acl,
            ephemeral=True,
            sequence=True,
        )
        self._latest.set(self._standing.node_made(path.rpartition("/")[2], generation))

    async def _remove_forgotten_nodes(self, client: KazooClient) -> None:
        """Remove nodes of this very session: one was made, and the answer was lost with the connection."""
        session = client.client_id  # asked for once: kazoo's thread takes it away when the connection goes
        owner = session[0] if session else None
        for child in await call(client.get_children_async, self._url.path):
            if not child.startswith(f"{self._label}_"):
                continue
            stat = await call(client.exists_async, f"{self._url.path}/{child}")
            if stat is None or stat.ephemeralOwner != owner:
                continue
            try:
                await call(client.delete_async, f"{self._url.path}/{child}")
            except NoNodeError:
                log.info("stale election node is gone already", node=child)
