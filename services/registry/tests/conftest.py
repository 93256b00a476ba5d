"""Clusters for conversations with the core: events in, effects out."""

from collections.abc import Callable, Iterator

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo_registry.core import Settings, events
from mezzo_registry.testing import Cluster


@pytest.fixture
def make_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters; at the end of the test the state of each must be sound."""
    made: list[Cluster] = []

    def make(
        settings: Settings | None = None,
        elected: events.Elected | None = None,
        domain: mesos.DomainInfo | None = None,
    ) -> Cluster:
        made.append(Cluster(settings, elected, domain))
        return made[-1]

    yield make
    for one in made:
        one.validate()


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    """A cluster with an allocator, and nothing else yet."""
    made = make_cluster()
    made.allocator()
    return made
