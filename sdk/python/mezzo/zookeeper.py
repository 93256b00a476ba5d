"""The leader as ZooKeeper announces it: registries of Mezzo, and masters of Mesos over HTTP. Needs `mezzo[zk]`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import Any, Self
from urllib.parse import unquote

import orjson

from mezzo import addresses
from mezzo.backoff import Backoff
from mezzo.errors import InvalidRequest, Unavailable

try:
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException, NoNodeError
    from kazoo.retry import KazooRetry
except ModuleNotFoundError as error:
    raise ImportError("ZooKeeperDetector needs kazoo: pip install 'mezzo[zk]'") from error

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0
CONNECT_RETRY_SECONDS_MAX = 1.0
# After how long without a connection it is logged that there is none: first, and at most.
DISCONNECTED_SECONDS_MIN = 5.0
DISCONNECTED_SECONDS_MAX = 60.0

_URL = re.compile(r"zk://(?:(?P<credential>[^:@/]+:[^@/]+)@)?(?P<hosts>[^@/]+)(?P<path>/[^@]*[^@/])/?")
# Contenders' nodes, as Mesos names them: the lowest number leads.
_NODE = re.compile(r"json\.info_([0-9]{10})")
_log = logging.getLogger("mezzo.scheduler")


class ZooKeeperDetector:
    """A `Detector` for `DetectingTransport`. It connects when it is first asked; whoever made it closes it.

    While ZooKeeper does not answer, the last leader is still taken for the leader.
    """

    def __init__(self, url: str, *, http: bool = False, session_timeout_seconds: float = 10.0) -> None:
        """`url` is `zk://[user:password@]host:port,…/path`, as registries have it in `--zk`.

        `http` gives addresses of the HTTP API (`http://host:port`, for `HttpTransport`), not of the gRPC API.

        Raises:
            InvalidRequest: it is another kind of URL.
        """
        found = _URL.fullmatch(url)
        if found is None or not all(addresses.parse(host) for host in found["hosts"].split(",")):
            raise InvalidRequest("url", "expected zk://host:port,…/path")  # without the URL: it may hold a password
        self._path = found["path"]
        self._http = http
        self._where = f"zk://{found['hosts']}{self._path}"
        self._client = KazooClient(
            hosts=found["hosts"],
            timeout=session_timeout_seconds,
            auth_data=[("digest", unquote(found["credential"]))] if found["credential"] else None,
            connection_retry=KazooRetry(max_tries=-1, max_delay=CONNECT_RETRY_SECONDS_MAX),
        )
        self._leader: str | None = None
        self._changed = asyncio.Event()
        self._dirty = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def leader(self) -> str:
        """See `Detector`."""
        return await self._other_than(None)

    async def successor(self, address: str) -> str:
        """See `Detector`."""
        return await self._other_than(address)

    async def close(self) -> None:
        """End the session; whoever waits for a leader is told `Unavailable`."""
        self._closed = True
        self._changed.set()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    async def _other_than(self, address: str | None) -> str:
        if self._watching is None and not self._closed:
            self._watching = asyncio.create_task(self._watch(asyncio.get_running_loop()), name="watch the election")
        while not self._closed:
            if self._leader is not None and self._leader != address:
                return self._leader
            self._changed.clear()
            await self._changed.wait()
        raise Unavailable("the detector was closed")

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        def wake(_: object) -> None:  # on a thread of kazoo's
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._dirty.set)

        self._client.add_listener(wake)
        self._client.start_async()
        failures = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        waits = Backoff(DISCONNECTED_SECONDS_MIN, DISCONNECTED_SECONDS_MAX)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(waits)):
                    await self._dirty.wait()
            if not self._client.connected:
                if not self._dirty.is_set():
                    _log.warning("not connected to ZooKeeper at %s", self._where)
                self._dirty.clear()
                continue
            if not self._dirty.is_set():
                continue
            self._dirty.clear()
            waits.reset()
            try:
                self._announce(await asyncio.to_thread(self._read_leader, wake))
                failures.reset()
            except KazooException as error:
                seconds = next(failures)
                _log.warning("no leader from %s: %r; next attempt in %.2g s", self._where, error, seconds)
                await asyncio.sleep(seconds)
                self._dirty.set()

    def _read_leader(self, wake: Any) -> str | None:
        """Ask who leads, and to be woken when that changes; on a thread of its own."""
        try:
            children = self._client.get_children(self._path, watch=wake)
        except NoNodeError:
            # Nobody has stood for election yet.
            if self._client.exists(self._path, watch=wake) is not None:
                wake(None)
            return None
        leading = min(filter(_NODE.fullmatch, children), default=None)
        if leading is None:
            return None
        try:
            payload, _ = self._client.get(f"{self._path}/{leading}")
        except NoNodeError:
            return None  # it went between the two questions; the watch has fired already
        address = address_of(payload, http=self._http)
        if address is None:
            _log.warning("node %s of %s names no address of its %s API", leading, self._where, self._api)
        return address

    @property
    def _api(self) -> str:
        return "HTTP" if self._http else "gRPC"

    def _announce(self, leader: str | None) -> None:
        if leader != self._leader:
            _log.info("leader at %s: %s", self._where, leader or "none")
            self._leader = leader
            self._changed.set()


def address_of(payload: bytes, *, http: bool) -> str | None:
    """What a contender's node says of where it is: Mesos' `MasterInfo` as JSON, with a registry's gRPC address."""
    try:
        info = orjson.loads(payload)
        if not http:
            found = addresses.parse(info["grpc_address"])
            return None if found is None else str(found)
        told = info.get("address") or info
        host, port = told.get("hostname") or told.get("ip"), told["port"]
        found = addresses.of(host, port) if isinstance(host, str) and isinstance(port, int) else None
        return None if found is None else f"http://{found}"
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None
