"""What the options before the verb say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

import typer

from mezzo.cli import exit_codes
from mezzo.cli.errors import print_error

DEFAULT_API = "127.0.0.1:5050"
ZOOKEEPER = "zk://"
ELECTION_SECONDS_MAX = 10.0
"""How long a person waits at most for ZooKeeper to say who leads."""

_ZOOKEEPER_URL = re.compile(r"zk://(?:[^@/]+:[^@/]+@)?[^@/]+:\d+/[^@]*[^@/]/?")


@dataclass(frozen=True)
class Settings:
    """Where the cluster is asked."""

    given: tuple[str, ...]
    """URLs of gateways, or one of ZooKeeper."""

    @cached_property
    def urls(self) -> tuple[str, ...]:
        """Of gateways, in the order in which they are tried; ZooKeeper is asked, once, who leads and where that is.

        Ends the program with one clear line where nobody leads, or ZooKeeper does not answer.
        """
        return self.given if not self.given[0].startswith(ZOOKEEPER) else (_elected(self.given[0]),)

    @property
    def url(self) -> str:
        """All of them, as the SDK's transports take them."""
        return ",".join(self.urls)

    @classmethod
    def of(cls, api: str) -> Settings:
        """Take `host:port` or a URL, several with commas between, or `zk://host:port,…/path`.

        Raises `typer.BadParameter` for anything else.
        """
        if api.startswith(ZOOKEEPER):
            if not _ZOOKEEPER_URL.fullmatch(api):
                raise typer.BadParameter("expected zk://host:port,…/path", param_hint="--api")  # it may hold a password
            return cls((api,))
        return cls(tuple(cls._url_of(each) for each in api.split(",")))

    @staticmethod
    def _url_of(api: str) -> str:
        url = (api if "://" in api else f"http://{api}").rstrip("/")
        try:
            parsed = urlsplit(url)
            port = parsed.port or {"http": 80, "https": 443}.get(parsed.scheme)
            if parsed.scheme not in ("http", "https") or not parsed.hostname or not port:
                raise ValueError("expected host:port, or a URL that begins with http:// or https://")
        except ValueError as error:
            raise typer.BadParameter(f"{api!r}: {error}", param_hint="--api") from None
        return url


def _elected(zk: str) -> str:
    """The URL of the HTTP API that the leading registry announces in ZooKeeper: a gateway's, or a balancer's."""
    import asyncio
    import logging
    from concurrent.futures import ThreadPoolExecutor

    from mezzo.confidential import without_credentials
    from mezzo.errors import MezzoError

    try:
        from mezzo.zookeeper import ZooKeeperDetector
    except ImportError as error:
        print_error(str(error))
        raise typer.Exit(exit_codes.NOT_INSTALLED) from None

    async def leader() -> str:
        async with ZooKeeperDetector(zk, http=True) as detector, asyncio.timeout(ELECTION_SECONDS_MAX):
            return await detector.leader()

    logging.getLogger("kazoo").addHandler(logging.NullHandler())  # it logs each attempt that fails
    try:
        # On a loop of its own: the asking may have begun on this thread's.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, leader()).result()
    except TimeoutError:
        where = without_credentials(zk)
        print_error(
            f"no leader at {where}: nobody leads there, or ZooKeeper does not answer ({ELECTION_SECONDS_MAX:g} s)"
        )
        raise typer.Exit(exit_codes.UNREACHABLE) from None
    except MezzoError as error:
        print_error(str(error))
        raise typer.Exit(exit_codes.USAGE) from None
