"""Looking at ZooKeeper whenever something there may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, KazooException, OperationTimeoutError, SessionExpiredError
from kazoo.protocol.states import WatchedEvent

from mezzo.backoff import Backoff
from mezzo_chassis.leadership.candidate import Session
from mezzo_chassis.leadership.zookeeper import ZooKeeperUrl, close, connect
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import SECONDS_MIN, LogThrottle

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0

# What ends with the connection, and needs no line in the log: the session has one.
_PASSING = (ConnectionLoss, SessionExpiredError, OperationTimeoutError)

log = get_logger(__name__)


class Watcher:
    """A session, and a refresh of what is known: at its start, after each change, and again after a failure.

    Whatever happens between two of them is one change. When `refresh` has a defect, `failed` is called: nobody who
    relies on it may go on believing what it read last.
    """

    def __init__(
        self,
        purpose: str,
        url: ZooKeeperUrl,
        session_timeout_seconds: float,
        *,
        refresh: Callable[[KazooClient], Awaitable[None]],
        on_session: Callable[[Session], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._purpose = purpose
        self._where = {"purpose": purpose, "hosts": url.hosts, "path": url.path}
        self._url = url
        self._timeout_seconds = session_timeout_seconds
        self._refresh = refresh
        self._on_session = on_session
        self._failed = failed
        self._dirty = asyncio.Event()
        self._throttle = LogThrottle()
        self._throttle.due()  # the first attempt is not yet a failure
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: KazooClient | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def client(self) -> KazooClient:
        """Only after `start`."""
        assert self._client is not None
        return self._client

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        log.info("connecting to ZooKeeper", **self._where)
        self._client = connect(self._url, self._timeout_seconds, self._session_changed)
        self._work = asyncio.create_task(self._keep_looking(), name=self._purpose)
        self._work.add_done_callback(self._ended)

    async def stop_looking(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def close(self) -> None:
        await self.stop_looking()
        if self._client is not None:
            await close(self._client)

    def wake(self) -> None:
        """Look again."""
        self._dirty.set()

    def watch(self, _: WatchedEvent) -> None:
        """To be given to ZooKeeper as a watch: refreshes again. Called on kazoo's own thread."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake)

    def _session_changed(self, session: Session) -> None:
        self._throttle.reset()
        log.info("ZooKeeper session changed", state=session.value, **self._where)
        self._on_session(session)
        self.wake()

    async def _keep_looking(self) -> None:
        client, logged = self.client, ""
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        while True:
            await self._until_dirty()
            if not client.connected:
                continue
            try:
                await self._refresh(client)
            except KazooException as error:
                if not isinstance(error, _PASSING) and repr(error) != logged:
                    logged = repr(error)
                    log.error("ZooKeeper request failed", error=logged, **self._where)
                await self._until_dirty(next(backoff))
                self.wake()
            else:
                backoff.reset()
                logged = ""

    async def _until_dirty(self, seconds_max: float | None = None) -> None:
        """Wait for a change, and remind of a missing connection meanwhile; at most for `seconds_max`."""
        while True:
            try:
                async with asyncio.timeout(seconds_max or self._throttle.seconds_left or SECONDS_MIN):
                    await self._dirty.wait()
            except TimeoutError:
                if seconds_max is not None:
                    return
                if not self.client.connected and self._throttle.due():
                    log.warning("not connected to ZooKeeper", **self._where)
                continue
            self._dirty.clear()
            return

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            log.error("stopped watching ZooKeeper", exc_info=error, **self._where)
            self._failed(error)
