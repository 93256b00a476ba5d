"""A stale entry in any index of the cluster state is found, whichever it is."""

from collections.abc import Callable

import pytest

from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo_registry.core import Settings
from mezzo_registry.core.failures import InvariantViolation
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.testing import Cluster

INDICES = (
    "agents",
    "agents_by_number",
    "agents_by_session",
    "agents_by_pid",
    "frameworks",
    "frameworks_by_number",
    "frameworks_by_stream",
    "completed",
    "offers",
    "roles",
    "task_states",
    "unreachable_tasks",
)


def busy() -> Cluster:
    """One of each: an agent with a task and an offer, one that is unreachable, a framework that is completed."""
    cluster = Cluster(Settings(offer_timeout=None))
    cluster.allocator()
    lost, framework = cluster.agent(pid="slave(1)@10.0.0.2:5051"), cluster.framework()
    cluster.running(framework, lost, "t2")
    cluster.disconnect(lost)
    cluster.advance(3600)
    agent = cluster.agent(pid="slave(1)@10.0.0.1:5051")
    cluster.running(framework, agent)
    cluster.offer(framework, agent, "cpus:1;mem:128")
    cluster.call(cluster.framework(), scheduler.Call(type=scheduler.Call.TEARDOWN))
    cluster.registry.validate()
    return cluster


@pytest.mark.parametrize("index", [index for index in INDICES if index != "completed"])
def test_entry_that_is_missing_is_found(index: str) -> None:
    """Save of the completed frameworks: nothing else says which of them are remembered."""
    cluster = busy()
    entries = getattr(cluster.registry.state, index)
    del entries[next(key for key, entry in entries.items() if entry)]  # no count of none
    with pytest.raises((InvariantViolation, KeyError)):
        cluster.registry.validate()


@pytest.mark.parametrize("index", INDICES)
def test_entry_that_is_stale_is_found(index: str) -> None:
    cluster = busy()
    entries = getattr(cluster.registry.state, index)
    entries["stale"] = next(filter(None, entries.values()))  # no count of none
    with pytest.raises(InvariantViolation):
        cluster.registry.validate()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cluster_state: cluster_state.recovered.add("S9"),
        lambda cluster_state: cluster_state.unreachable.update({next(iter(cluster_state.agents)): 0.0}),
        lambda cluster_state: cluster_state.gone.update({next(iter(cluster_state.agents)): 0.0}),
        lambda cluster_state: next(iter(cluster_state.agents.values())).sent_versions.update({"gone-0000": 0}),
        lambda cluster_state: next(iter(cluster_state.agents.values())).kills.update({("gone-0000", "t"): None}),
        lambda cluster_state: next(iter(cluster_state.agents.values())).offers.clear(),
        lambda cluster_state: next(iter(cluster_state.frameworks.values())).offers.clear(),
        lambda cluster_state: next(iter(cluster_state.agents.values())).tasks.clear(),
        lambda cluster_state: next(iter(cluster_state.frameworks.values())).agents.clear(),
        lambda cluster_state: next(iter(cluster_state.frameworks.values())).unreachable.clear(),
        lambda cluster_state: cluster_state.pending_snapshots.update({9: {}}),
    ],
)
def test_what_peers_know_of_each_other_is_checked(spoil: Callable[[ClusterState], None]) -> None:
    cluster = busy()
    spoil(cluster.registry.state)
    with pytest.raises(InvariantViolation):
        cluster.registry.validate()
