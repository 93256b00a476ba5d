"""Finding out who leads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from mezzo_chassis.config import address, address_text
from mezzo_chassis.leadership.candidate import Session, lowest
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_chassis.leadership.payload import LeaderInfo
from mezzo_chassis.leadership.watcher import Watcher
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, call, from_file
from mezzo_chassis.log import get_logger

log = get_logger(__name__)


def master(text: str) -> ZooKeeperUrl | tuple[str, int]:
    """Where the leading registry is found: at `host:port`, or through `zk://host:port,…/path`.

    `file:///path` is a file that has one of them, as of Mesos' agent.
    """
    text = from_file(text)
    return ZooKeeperUrl.parse(text) if text.startswith("zk:") else address(text)


def master_text(where: ZooKeeperUrl | tuple[str, int]) -> str:
    """It as `master` reads it."""
    return str(where) if isinstance(where, ZooKeeperUrl) else address_text(where)


def detector_of(where: ZooKeeperUrl | tuple[str, int], *, session_timeout_seconds: float) -> LeaderDetector:
    """What finds the leading registry there."""
    if isinstance(where, ZooKeeperUrl):
        return Detector(where, session_timeout_seconds=session_timeout_seconds)
    return FixedDetector(address_text(where))


class LeaderDetector(Protocol):
    """Knows who leads, as far as anybody does."""

    @property
    def leader(self) -> LeaderInfo | None: ...

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        """Who leads now, and then each change; None while nobody does."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class FixedDetector:
    """Without ZooKeeper: whoever is at the address leads."""

    def __init__(self, grpc_address: str) -> None:
        self._latest: LatestValue[LeaderInfo | None] = LatestValue(LeaderInfo(grpc_address, {}))

    @property
    def leader(self) -> LeaderInfo | None:
        return self._latest.value

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._latest)

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
        self._label = label
        self._latest: LatestValue[LeaderInfo | None] = LatestValue(None)
        self._watcher = Watcher(
            "detect the leader",
            url,
            session_timeout_seconds,
            refresh=self._refresh,
            on_session=self._session_changed,
            failed=self._latest.fail,
        )

    @property
    def leader(self) -> LeaderInfo | None:
        return self._latest.value

    def changes(self) -> AsyncIterator[LeaderInfo | None]:
        return aiter(self._latest)

    async def start(self) -> None:
        self._watcher.start()

    async def close(self) -> None:
        await self._watcher.close()

    def _session_changed(self, session: Session) -> None:
        """Change nothing by itself: the watcher looks again as soon as it can."""

    async def _refresh(self, client: KazooClient) -> None:
        try:
            children = await call(client.get_children_async, self._url.path, watch=self._watcher.watch)
        except NoNodeError:
            # Nobody has ever stood for election: wait for the folder.
            self._latest.set(None)
            if await call(client.exists_async, self._url.path, watch=self._watcher.watch) is not None:
                self._watcher.wake()
            return
        node = lowest(children, self._label)
        if node is None:
            self._latest.set(None)
            return
        try:
            payload, _ = await call(client.get_async, f"{self._url.path}/{node}")
        except NoNodeError:
            # It went between the two questions; the watch has fired already.
            self._watcher.wake()
            return
        leader = LeaderInfo.parse(payload)
        if leader is None:
            log.warning("the leading election node is not Mezzo's", node=node)
        self._latest.set(leader)
