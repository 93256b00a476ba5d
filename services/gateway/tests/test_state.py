"""The state copy: what it keeps of the changes that a registry tells."""

from __future__ import annotations

import orjson
import pytest

from mesos.v1.mesos_pb2 import TASK_FINISHED, TASK_KILLING, TASK_LOST, TASK_RUNNING, TASK_STARTING, TASK_UNREACHABLE
from mezzo.operator.v1.operator_pb2 import (
    TASK_LIST_COMPLETED,
    TASK_LIST_UNREACHABLE,
    FrameworkForgotten,
    StateChange,
)
from mezzo_gateway.state import cluster as facts
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.copy import StateCopy
from mezzo_gateway.state.view import View
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    agent_changed,
    agent_gone,
    executor_added,
    executor_removed,
    framework_changed,
    offer_added,
    offer_removed,
    ports,
    role_changed,
    scalar,
    snapshot,
    status,
    task_added,
    task_forgotten,
    task_updated,
)


@pytest.fixture
def copy() -> StateCopy:
    copy = StateCopy()
    copy.apply(snapshot(agent_changed(), framework_changed()))
    return copy


def cluster_of(copy: StateCopy) -> Cluster:
    assert copy.cluster is not None
    return copy.cluster


def used(copy: StateCopy, agent_id: str = AGENT_ID) -> dict[str, object]:
    return cluster_of(copy).agent_holdings[agent_id].used.model()


def test_nothing_is_shown_before_the_snapshot_is_whole() -> None:
    copy = StateCopy()
    begin, *changes, end = snapshot(agent_changed(), framework_changed())
    assert not copy.apply([begin, *changes]).replaced
    assert copy.cluster is None
    assert copy.apply([end]).replaced
    assert list(cluster_of(copy).agents) == [AGENT_ID]


def test_a_change_that_cannot_be_applied_is_dropped_alone(copy: StateCopy) -> None:
    nonsense = task_added("bad", resources=[scalar("cpus", float("nan"))])
    for changes in (
        [nonsense, task_added("good")],
        snapshot(agent_changed(), framework_changed(), nonsense, task_added("good")),
    ):
        applied = copy.apply(changes)
        assert [(kind, type(error)) for kind, error in applied.dropped] == [("task_added", ValueError)]
        assert list(cluster_of(copy).frameworks[FRAMEWORK_ID].active.records) == ["good"]


def test_a_new_snapshot_replaces_the_old_copy_at_its_end_and_not_before(copy: StateCopy) -> None:
    begin, *changes, end = snapshot(agent_changed("S7"))
    copy.apply([begin, *changes])
    assert list(cluster_of(copy).agents) == [AGENT_ID]
    copy.apply([end])
    assert list(cluster_of(copy).agents) == ["S7"]


def test_a_copy_is_stale_from_the_break_of_the_stream_until_the_next_whole_snapshot(copy: StateCopy) -> None:
    assert copy.stale_since is None
    copy.disconnected(10.0)
    copy.disconnected(20.0)
    assert copy.stale_since == 10.0
    begin, *changes, end = snapshot(agent_changed("S7"))
    copy.apply([begin, *changes])
    copy.disconnected(30.0)
    copy.apply([end])  # the end of a snapshot whose beginning was on the broken stream
    assert copy.stale_since == 10.0
    assert list(cluster_of(copy).agents) == [AGENT_ID]
    copy.apply(snapshot(agent_changed("S7")))
    assert copy.stale_since is None


def test_an_answer_is_made_again_only_after_a_change(copy: StateCopy) -> None:
    made = []

    def make(cluster: Cluster) -> bytes:
        made.append(len(cluster.agents))
        return orjson.dumps(made)

    assert copy.cached(View.EVERYTHING, "agents", make) == copy.cached(View.EVERYTHING, "agents", make) == b"[1]"
    copy.apply([agent_changed("S7")])
    assert copy.cached(View.EVERYTHING, "agents", make) == b"[1,2]"


def test_there_is_no_answer_before_the_first_snapshot() -> None:
    with pytest.raises(LookupError):
        StateCopy().cached(View.EVERYTHING, "state", lambda _: b"")


def test_a_running_task_uses_its_resources_and_a_finished_one_does_not(copy: StateCopy) -> None:
    copy.apply([task_added(resources=[scalar("cpus", 0.5), ports(31000, 31001)])])
    assert used(copy) == {"cpus": 0.5, "mem": 0.0, "disk": 0.0, "gpus": 0.0, "ports": "[31000-31001]"}
    copy.apply([task_updated(status(TASK_FINISHED))])
    assert used(copy) == {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}
    framework = cluster_of(copy).frameworks[FRAMEWORK_ID]
    assert "t1" in framework.active.records  # until its last update is acknowledged
    copy.apply([task_updated(status(TASK_FINISHED), task_list=TASK_LIST_COMPLETED, unacknowledged=False)])
    assert not framework.active.records
    assert list(framework.finished.records) == [("t1", AGENT_ID)]
    copy.apply([task_forgotten(TASK_LIST_COMPLETED)])
    assert not framework.finished.records
    assert not framework.holdings.peers


def test_a_task_of_an_unreachable_agent_uses_nothing(copy: StateCopy) -> None:
    copy.apply([task_added()])
    lost = task_updated(status(TASK_UNREACHABLE), task_list=TASK_LIST_UNREACHABLE)
    applied = copy.apply([agent_gone(unreachable=True), lost])
    cluster = cluster_of(copy)
    assert list(cluster.unreachable_agents) == [AGENT_ID]
    assert not cluster.frameworks[FRAMEWORK_ID].holdings.used
    assert list(cluster.frameworks[FRAMEWORK_ID].unreachable.records) == ["t1"]
    assert applied.facts[0] == facts.AgentDisappeared(AGENT_ID)
    back = copy.apply([agent_changed(), task_added()])
    assert not cluster.unreachable_agents
    assert isinstance(back.facts[0], facts.AgentAppeared)
    assert not cluster.frameworks[FRAMEWORK_ID].unreachable.records
    assert used(copy)["cpus"] == 0.5


def test_the_statuses_of_a_task_are_kept_one_per_state_in_a_row(copy: StateCopy) -> None:
    copy.apply([task_added(state=TASK_STARTING)])
    copy.apply([task_updated(status(TASK_RUNNING)), task_updated(status(TASK_RUNNING))])
    record = cluster_of(copy).task(FRAMEWORK_ID, "t1")
    assert record is not None
    assert [one.state for one in record.task.statuses] == [TASK_STARTING, TASK_RUNNING]


def test_the_state_of_a_task_may_be_ahead_of_the_status_that_is_on_its_way(copy: StateCopy) -> None:
    copy.apply([task_added(state=TASK_STARTING), task_updated(status(TASK_RUNNING), latest=TASK_KILLING)])
    record = cluster_of(copy).task(FRAMEWORK_ID, "t1")
    assert record is not None
    assert record.task.state == TASK_KILLING
    assert record.task.status_update_state == TASK_RUNNING
    assert record.task.status_update_uuid == status(TASK_RUNNING).uuid


def test_an_update_that_says_nothing_new_is_not_told_to_observers(copy: StateCopy) -> None:
    copy.apply([task_added(state=TASK_STARTING)])
    assert len(copy.apply([task_updated(status(TASK_RUNNING))]).facts) == 1
    assert not copy.apply([task_updated(status(TASK_RUNNING), unacknowledged=False)]).facts


def test_offers_and_executors_come_and_go(copy: StateCopy) -> None:
    copy.apply([offer_added(), executor_added()])
    cluster = cluster_of(copy)
    framework = cluster.frameworks[FRAMEWORK_ID]
    assert framework.holdings.offered.model()["cpus"] == 1.0
    assert framework.holdings.used.model()["cpus"] == 0.1
    assert used(copy)["cpus"] == 0.1
    copy.apply([offer_removed(), offer_removed(), executor_removed(), executor_removed()])
    assert not framework.holdings.offered
    assert not framework.holdings.used
    assert not cluster.offers


def test_observers_are_told_of_frameworks_that_come_change_and_go(copy: StateCopy) -> None:
    told = copy.apply([framework_changed("F1"), framework_changed("F1"), framework_changed("F1", completed=True)]).facts
    assert [type(fact) for fact in told] == [
        facts.FrameworkAppeared,
        facts.FrameworkUpdated,
        facts.FrameworkDisappeared,
    ]
    assert list(cluster_of(copy).completed_frameworks) == ["F1"]


def test_a_forgotten_framework_leaves_nothing_behind(copy: StateCopy) -> None:
    copy.apply([task_added(), executor_added(), offer_added()])
    forgotten = FrameworkForgotten()
    forgotten.framework_id.value = FRAMEWORK_ID
    copy.apply([StateChange(framework_forgotten=forgotten)])
    cluster = cluster_of(copy)
    assert cluster.framework(FRAMEWORK_ID) is None
    assert not cluster.offers
    holdings = cluster.agent_holdings[AGENT_ID]
    assert not holdings.used
    assert not holdings.offered
    assert not holdings.peers


def test_an_agent_of_the_store_alone_appears_when_it_comes_back() -> None:
    copy = StateCopy()
    copy.apply(snapshot(agent_changed(recovered=True)))
    assert [type(fact) for fact in copy.apply([agent_changed()]).facts] == [facts.AgentAppeared]
    assert not copy.apply([agent_changed()]).facts


def test_the_holdings_of_a_removed_agent_go_with_the_last_of_its_tasks(copy: StateCopy) -> None:
    copy.apply([task_added(state=TASK_LOST, task_list=TASK_LIST_COMPLETED), agent_gone()])
    assert AGENT_ID in cluster_of(copy).agent_holdings
    copy.apply([task_forgotten(TASK_LIST_COMPLETED)])
    assert AGENT_ID not in cluster_of(copy).agent_holdings


def test_changes_that_this_gateway_does_not_know_are_passed_over(copy: StateCopy) -> None:
    assert not copy.apply([StateChange()]).facts


def test_a_role_keeps_its_weight(copy: StateCopy) -> None:
    copy.apply([role_changed("ads", 2.5)])
    assert cluster_of(copy).roles["ads"].weight == 2.5
