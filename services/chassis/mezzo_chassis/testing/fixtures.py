"""Fixtures for pytest. A conftest imports those that its tests use, and names them in its `__all__`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mezzo_chassis.testing.zookeeper import ZooKeeperServer, zookeeper_missing


class SharedZooKeeper:
    """A server for one test after the other, each below a node of its own; a new one after it was killed or paused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._server: ZooKeeperServer | None = None
        self._running = ExitStack()

    def lend(self) -> ZooKeeperServer:
        """The server, with a chroot that nobody has used."""
        number = next(self._numbers)
        if self._server is None or self._server.disturbed:
            self.close()
            self._server = self._running.enter_context(ZooKeeperServer(self._folder / f"zookeeper-{number}"))
        self._server.change_root(f"/test-{number}")
        return self._server

    def close(self) -> None:
        """End the server."""
        self._running.close()


@pytest.fixture(scope="session")
def shared_zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedZooKeeper]:
    """For the `zookeeper` of each test."""
    shared = SharedZooKeeper(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.close()


@pytest.fixture
def zookeeper(shared_zookeeper: SharedZooKeeper) -> ZooKeeperServer:
    """A ZooKeeper in which nobody else is; the test is skipped, with the reason, where none can be started."""
    if missing := zookeeper_missing():
        pytest.skip(missing)
    return shared_zookeeper.lend()
