"""Fixtures for pytest. A conftest imports those that its tests use, and names them in its `__all__`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo_chassis.testing.zookeeper import ZooKeeperServer, zookeeper_missing


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper of the test's own; the test is skipped, with the reason, where none can be started."""
    if missing := zookeeper_missing():
        pytest.skip(missing)
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        yield server
