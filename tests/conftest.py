"""Fixtures that the tests of several services share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster

# What `make test` unpacked rather than installed.
os.environ["PATH"] += f":{Path(__file__).parent.parent / '.cache/programs/usr/bin'}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of each service, without ZooKeeper; shared by the tests of a module."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
