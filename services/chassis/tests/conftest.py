"""Fixtures for the chassis' own tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo_chassis.testing import ZooKeeperServer, zookeeper_missing


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A server of the test's own: these tests cut its connections, and count the nodes at its root."""
    if missing := zookeeper_missing():
        pytest.skip(missing)
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        yield server
