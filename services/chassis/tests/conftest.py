"""Fixtures for the chassis' own tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mezzo.errors import NotLeading
from mezzo_chassis.testing import ZooKeeperServer, zookeeper_missing
from services.chassis.tests.toy import World

SOON_SECONDS = 10


@pytest.fixture
def zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """A server of the test's own: these tests cut its connections, and count the nodes at its root."""
    if missing := zookeeper_missing():
        pytest.skip(missing)
    with ZooKeeperServer(tmp_path / "zookeeper") as server:
        yield server


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """What lies around a toy core; its engines are closed."""
    world = World()
    async with asyncio.timeout(SOON_SECONDS):
        yield world
    for engine in world.engines:
        await engine.close(NotLeading())
