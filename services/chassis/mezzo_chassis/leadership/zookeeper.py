"""The connection to ZooKeeper: its URL, its session, and the hop from kazoo's threads to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from mezzo_chassis.config import address
from mezzo_chassis.leadership.candidate import Session
from mezzo_chassis.leadership.patience import Patience, PatientHandler
from mezzo_chassis.log import get_logger

CLOSE_SECONDS_MAX = 1.0
CONNECT_RETRY_SECONDS_MAX = 1.0

T = TypeVar("T")

_SESSIONS = {
    KazooState.CONNECTED: Session.CONNECTED,
    KazooState.SUSPENDED: Session.SUSPENDED,
    KazooState.LOST: Session.LOST,
}

log = get_logger(__name__)


def from_file(text: str) -> str:
    """What the file has that `file:///path` names, without blanks around it; other text is returned as it is.

    Raises:
        ValueError: it cannot be read.
    """
    if not text.startswith("file://"):
        return text
    path = Path(text.removeprefix("file://"))
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} cannot be read: it is not text") from None


@dataclass(frozen=True, slots=True)
class ZooKeeperUrl:
    """`zk://[user:password@]host:port,…/path`, as Mesos writes it."""

    hosts: str
    path: str
    credential: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> ZooKeeperUrl:
        """Read `zk://[user:password@]host:port,…/path`, or `file:///path` of a file that has it.

        Raises `ValueError` that says what is wrong, and repeats no credential.
        """
        text = from_file(text)
        scheme, separator, rest = text.partition("://")
        if scheme != "zk" or not separator:
            raise ValueError("must begin with zk://, as in zk://host:port,…/path")
        authority, _, path = rest.partition("/")
        credential, at, hosts = authority.rpartition("@")
        if at and not all(credential.partition(":")):
            raise ValueError("must have user:password before the @")
        if "@" in path:
            raise ValueError("must have no @ behind the first slash; in a password, a slash is written %2F")
        for host in hosts.split(","):
            address(host)
        if not path.strip("/"):
            raise ValueError(f"must have a path, as in zk://{hosts}/mezzo: nodes cannot stand at ZooKeeper's root")
        return cls(hosts, "/" + path.strip("/"), unquote(credential) or None)

    def below(self, name: str) -> ZooKeeperUrl:
        return ZooKeeperUrl(self.hosts, f"{self.path}/{name}", self.credential)

    @property
    def acl(self) -> list[ACL]:
        """With a credential only its owner writes; everybody may read, to find the leader."""
        return [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE] if self.credential else list(OPEN_ACL_UNSAFE)

    def __str__(self) -> str:
        return f"zk://{self.hosts}{self.path}"


def connect(url: ZooKeeperUrl, session_timeout_seconds: float, on_session: Callable[[Session], None]) -> KazooClient:
    """A started client. `on_session` is called on the event loop for each change of the session.

    It connects, and reconnects, by itself, for ever. A server that does not answer is given up in time for another
    attempt within the same session: see `Patience`.
    """
    loop = asyncio.get_running_loop()
    retry = {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": CONNECT_RETRY_SECONDS_MAX}
    patience = Patience(session_timeout_seconds, len(url.hosts.split(",")))
    client = KazooClient(
        hosts=url.hosts,
        timeout=session_timeout_seconds,
        handler=PatientHandler(patience),
        auth_data=[("digest", url.credential)] if url.credential else None,
        connection_retry=KazooRetry(**retry),
        command_retry=KazooRetry(max_tries=0),
    )

    def changed(state: str) -> None:
        # Called on kazoo's own thread.
        patience.session_changed(state)
        if not loop.is_closed():
            loop.call_soon_threadsafe(on_session, _SESSIONS[state])

    client.add_listener(changed)
    client.start_async()
    return client


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
    """Call one of kazoo's `…_async` functions; the outcome arrives on the event loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def done(outcome: Any) -> None:
        # Called on kazoo's own thread.
        error = outcome.exception
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, None if error else outcome.value, error)

    function(*args, **kwargs).rawlink(done)
    return future


async def close(client: KazooClient) -> None:
    """End the session, so that its nodes go at once.

    A ZooKeeper that does not answer is not waited for: a client waits as long as its session lasts. The nodes then go
    when the session ends. The thread is no one's but the process' own, which ends without it.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def end() -> None:
        try:
            client.stop()
            client.close()
        except Exception as error:  # noqa: BLE001  kazoo raises a plain one when it could not stop in time
            log.info("cannot close the ZooKeeper session", error=repr(error))
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=end, name="end the session with zookeeper", daemon=True).start()
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await ended.wait()
    except TimeoutError:
        log.info("timed out closing the ZooKeeper session")
