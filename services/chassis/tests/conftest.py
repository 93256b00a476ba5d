"""Fixtures for the chassis' own tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo_chassis.testing import ZooKeeperServer, zookeeper_missing


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    if missing := zookeeper_missing():
        pytest.skip(missing)
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        yield server
