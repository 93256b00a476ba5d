"""The documents of the legacy endpoints: what is in them, and what a change does to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mesos.v1.master.master_pb2 import Response
from mesos.v1.mesos_pb2 import TASK_FAILED, TASK_FINISHED, TASK_RUNNING, Resource, TimeInfo
from mezzo import jsonv0
from mezzo.operator.v1.operator_pb2 import TASK_LIST_COMPLETED
from mezzo_chassis.build import Build
from mezzo_gateway.state import legacy, v1, v1_wire
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.copy import StateCopy
from mezzo_gateway.state.resource_counter import count_resources
from mezzo_gateway.state.roles import role_rows
from mezzo_gateway.testing.changes import (
    AGENT_ID,
    FRAMEWORK_ID,
    START_TIME,
    agent_changed,
    agent_gone,
    executor_added,
    framework_changed,
    offer_added,
    ports,
    role_changed,
    scalar,
    snapshot,
    status,
    task_added,
    task_updated,
)

VERSION = Build("0.1.0", 0.0).document()


@pytest.fixture
def copy() -> StateCopy:
    copy = StateCopy()
    copy.apply(snapshot(agent_changed(), framework_changed()))
    return copy


def cluster_of(copy: StateCopy) -> Cluster:
    assert copy.cluster is not None
    return copy.cluster


def state(copy: StateCopy) -> Any:
    return json.loads(legacy.state(cluster_of(copy), VERSION, {}))


def task_ids(copy: StateCopy, **query: Any) -> list[str]:
    page = json.loads(legacy.tasks(cluster_of(copy), legacy.TasksQuery(**query)))
    return [task["id"] for task in page["tasks"]]


def test_a_sum_is_shown_as_the_shared_model_shows_it() -> None:
    resources = [scalar("cpus", 1.5), scalar("mem", 64), ports(31000, 31001), ports(31003, 31003)]
    assert count_resources(resources).model() == jsonv0.resources_of(resources)


def test_a_change_shows_in_the_next_document(copy: StateCopy) -> None:
    copy.apply([task_added(), offer_added(), executor_added()])
    before = state(copy)
    (framework,), (agent,) = before["frameworks"], before["slaves"]
    assert [task["state"] for task in framework["tasks"]] == ["TASK_RUNNING"]
    assert agent["used_resources"]["cpus"] == framework["used_resources"]["cpus"] == 0.6
    assert agent["offered_resources"]["cpus"] == framework["offered_resources"]["cpus"] == 1.0
    assert framework["resources"]["cpus"] == 1.6
    assert [offer["id"] for offer in framework["offers"]] == ["O0"]
    assert [(one["executor_id"], one["slave_id"]) for one in framework["executors"]] == [("e1", AGENT_ID)]
    copy.apply([task_updated(status(TASK_FAILED), task_list=TASK_LIST_COMPLETED)])
    after = state(copy)["frameworks"][0]
    assert not after["tasks"]
    assert [task["state"] for task in after["completed_tasks"]] == ["TASK_FAILED"]
    assert state(copy)["slaves"][0]["used_resources"]["cpus"] == 0.1


def test_agents_are_counted_by_how_they_stand(copy: StateCopy) -> None:
    copy.apply([agent_changed("S7", recovered=True), agent_changed("S8"), agent_gone("S8", unreachable=True)])
    document = state(copy)
    counted = {name: document[name] for name in ("activated_slaves", "deactivated_slaves", "unreachable_slaves")}
    assert counted == {"activated_slaves": 1.0, "deactivated_slaves": 0.0, "unreachable_slaves": 1.0}
    assert [agent["id"] for agent in document["slaves"]] == [AGENT_ID]
    assert [agent["id"] for agent in document["recovered_slaves"]] == ["S7"]
    told = Response.GetAgents.FromString(v1_wire.agents(cluster_of(copy)))
    assert [agent.id.value for agent in told.recovered_agents] == ["S7"]


def test_reserved_resources_are_shown_by_role(copy: StateCopy) -> None:
    copy.apply([agent_changed(resources=[scalar("cpus", 1), scalar("cpus", 2, reserved_to="ads")])])
    agent = json.loads(legacy.slaves(cluster_of(copy)))["slaves"][0]
    assert agent["reserved_resources"]["ads"]["cpus"] == 2.0
    assert agent["unreserved_resources"]["cpus"] == 1.0
    assert agent["reserved_resources_full"]["ads"][0]["scalar"]["value"] == 2.0
    assert agent["resources"]["cpus"] == 3.0


def test_one_agent_or_framework_is_shown_alone_when_it_is_asked_for(copy: StateCopy) -> None:
    copy.apply([agent_changed("S7"), framework_changed("F7")])
    cluster = cluster_of(copy)
    assert [one["id"] for one in json.loads(legacy.slaves(cluster, "S7"))["slaves"]] == ["S7"]
    assert [one["id"] for one in json.loads(legacy.frameworks(cluster, "F7"))["frameworks"]] == ["F7"]
    assert not json.loads(legacy.slaves(cluster, "nope"))["slaves"]


def test_constraints_of_a_framework_are_shown_as_they_were_last_updated(copy: StateCopy) -> None:
    for predicate in ("exists", "not_exists"):
        change = framework_changed()
        group = change.framework_changed.framework.offer_constraints.role_constraints["*"].groups.add()
        constraint = group.attribute_constraints.add()
        constraint.selector.attribute_name = "foo"
        getattr(constraint.predicate, predicate).SetInParent()
        copy.apply([change])
        told = {"selector": {"attribute_name": "foo"}, "predicate": {predicate: {}}}
        shown = {"role_constraints": {"*": {"groups": [{"attribute_constraints": [told]}]}}}
        cluster = cluster_of(copy)
        assert state(copy)["frameworks"][0]["offer_constraints"] == shown
        assert json.loads(legacy.frameworks(cluster))["frameworks"][0]["offer_constraints"] == shown
        (framework,) = v1.frameworks(cluster).frameworks
        assert framework.offer_constraints == change.framework_changed.framework.offer_constraints


def test_tasks_come_latest_first_and_a_hundred_at_a_time(copy: StateCopy) -> None:
    copy.apply([task_added(f"t{n}", timestamp=START_TIME + n) for n in range(150)])
    latest_first = [f"t{n}" for n in reversed(range(150))]
    assert task_ids(copy) == latest_first[:100]
    assert task_ids(copy, limit=5) == latest_first[:5]
    assert task_ids(copy, limit=5, offset=3) == latest_first[3:8]
    assert task_ids(copy, limit=5, ascending=True) == [f"t{n}" for n in range(5)]
    assert task_ids(copy, limit=-1) == latest_first
    assert task_ids(copy, limit=0) == []


def test_tasks_of_every_list_are_found_by_framework_and_by_id(copy: StateCopy) -> None:
    copy.apply(
        [
            framework_changed("F7"),
            task_added("t1"),
            task_added("t2", framework_id="F7", state=TASK_FINISHED, task_list=TASK_LIST_COMPLETED),
        ]
    )
    assert set(task_ids(copy)) == {"t1", "t2"}
    assert task_ids(copy, framework_id="F7") == ["t2"]
    assert task_ids(copy, task_id="t1") == ["t1"]
    assert task_ids(copy, framework_id="F7", task_id="t1") == task_ids(copy, framework_id="nope") == []


def test_the_summary_counts_tasks_by_state(copy: StateCopy) -> None:
    copy.apply([task_added("t1"), task_added("t2", state=TASK_FINISHED, task_list=TASK_LIST_COMPLETED)])
    document = json.loads(legacy.state_summary(cluster_of(copy)))
    for one in (document["slaves"][0], document["frameworks"][0]):
        assert (one["TASK_RUNNING"], one["TASK_FINISHED"], one["TASK_FAILED"]) == (1, 1, 0)
    assert document["slaves"][0]["framework_ids"] == [FRAMEWORK_ID]
    assert document["frameworks"][0]["slave_ids"] == [AGENT_ID]


def test_a_role_shows_what_it_holds_and_a_quota_counts_what_is_below_it() -> None:
    copy = StateCopy()
    copy.apply(
        snapshot(
            agent_changed(resources=[scalar("cpus", 4), scalar("mem", 512, reserved_to="ads")]),
            framework_changed(roles=["ads", "ads/web"]),
            task_added(resources=[scalar("cpus", 0.5, allocated_to="ads/web")]),
            offer_added(resources=[scalar("cpus", 1, allocated_to="ads")]),
            role_changed("ads", 2.0, guarantees={"cpus": 1.5}, limits={"cpus": 3.0, "mem": 1024.0}),
        )
    )
    ads, web = (row.model() for row in role_rows(cluster_of(copy)))
    assert (ads["name"], ads["weight"], ads["frameworks"]) == ("ads", 2.0, [FRAMEWORK_ID])
    assert (ads["offered"], ads["allocated"], ads["reserved"]) == ({"cpus": 1.0}, {"cpus": 0.5}, {"mem": 512.0})
    assert ads["resources"] == {"cpus": 1.5}
    assert web["allocated"] == web["resources"] == {"cpus": 0.5}
    assert ads["quota"] == {
        "role": "ads",
        "guarantee": {"cpus": 1.5},
        "limit": {"cpus": 3.0, "mem": 1024.0},
        "consumed": {"mem": 512.0, "cpus": 0.5},
    }
    (config,), (info,) = (getattr(v1.quota(cluster_of(copy)).status, name) for name in ("configs", "infos"))
    assert (config.guarantees["cpus"].value, config.limits["mem"].value) == (1.5, 1024.0)
    assert [(one.name, one.scalar.value) for one in info.guarantee] == [("cpus", 1.5)]


def test_what_is_reserved_or_revocable_counts_against_no_quota_when_it_is_used() -> None:
    revocable = scalar("cpus", 1, allocated_to="ads")
    revocable.revocable.SetInParent()
    used = [revocable, scalar("cpus", 2, allocated_to="ads", reserved_to="ads"), scalar("cpus", 4, allocated_to="ads")]
    copy = StateCopy()
    copy.apply(snapshot(framework_changed(roles=["ads"]), task_added(resources=used)))
    (ads,) = (row.model() for row in role_rows(cluster_of(copy)))
    assert ads["allocated"] == {"cpus": 7.0}
    assert ads["quota"] == {"role": "ads", "guarantee": {}, "limit": {}, "consumed": {"cpus": 4.0}}


def test_consumed_quota_is_what_is_reserved_and_what_is_allocated_beside_it() -> None:
    def of_role(cpus: float, mem: float, *, reserved: bool) -> list[Resource]:
        reserved_to = "role" if reserved else None
        return [
            scalar(name, value, allocated_to="role", reserved_to=reserved_to)
            for name, value in (("cpus", cpus), ("mem", mem))
        ]

    copy = StateCopy()
    copy.apply(
        snapshot(
            agent_changed(
                resources=[
                    *(scalar("cpus", 101, reserved_to="role"), scalar("mem", 1010, reserved_to="role")),
                    *(scalar("cpus", 1010), scalar("mem", 10100)),
                ]
            ),
            framework_changed(roles=["role"]),
            task_added("on-reserved", resources=of_role(1, 10, reserved=True)),
            task_added("beside-it", resources=of_role(10, 100, reserved=False)),
            offer_added(
                resources=[
                    *of_role(100, 1000, reserved=True),
                    *of_role(1000, 10000, reserved=False),
                ]
            ),
        )
    )
    (row,) = (each.model() for each in role_rows(cluster_of(copy)))
    assert row["quota"] == {"role": "role", "guarantee": {}, "limit": {}, "consumed": {"cpus": 111.0, "mem": 1110.0}}
    assert row["allocated"] == {"cpus": 11.0, "mem": 110.0}
    assert row["offered"] == {"cpus": 1100.0, "mem": 11000.0}
    assert row["resources"] == {"cpus": 1111.0, "mem": 11110.0}
    assert row["reserved"] == {"cpus": 101.0, "mem": 1010.0}


def test_roles_are_shown_with_those_above_them_until_nobody_uses_them_and_nothing_is_configured() -> None:
    copy = StateCopy()
    copy.apply(snapshot(role_changed("ads/web/eu", 2.0), role_changed("plain")))
    assert [row.name for row in role_rows(cluster_of(copy))] == ["ads", "ads/web", "ads/web/eu"]
    copy.apply([role_changed("ads/web/eu", forgotten=True)])
    assert not role_rows(cluster_of(copy))
    assert "ads/web/eu" not in cluster_of(copy).roles


def test_rendering_makes_all_that_the_next_document_needs(copy: StateCopy) -> None:
    copy.apply([task_added(f"t{n}") for n in range(3)])
    cluster = cluster_of(copy)
    assert len(list(legacy.rendering_tasks(cluster))) == 3
    assert len(list(legacy.rendering_agents(cluster))) == 1
    assert not list(legacy.rendering_tasks(cluster))
    copy.apply([task_updated(status(TASK_RUNNING, "t0"))])
    assert len(list(legacy.rendering_tasks(cluster))) == 1
    assert len(list(legacy.rendering_agents(cluster))) == 1  # what it uses
    for rendering in (v1.rendering, v1_wire.rendering):
        assert len(list(rendering(cluster))) == 4  # three tasks, an agent
        assert not list(rendering(cluster))
    copy.apply([task_updated(status(TASK_FAILED, "t0"))])
    for rendering in (v1.rendering, v1_wire.rendering):
        assert len(list(rendering(cluster))) == 2  # the task, and the agent that it ran on


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**21, 2**40])
def test_numbers_are_written_as_protobuf_reads_them(number: int) -> None:
    wire = v1_wire.varint(1 << 3) + v1_wire.varint(number)  # the first field, a number
    assert TimeInfo.FromString(wire).nanoseconds == number


def test_ids_and_names_outside_ascii_survive(copy: StateCopy) -> None:
    copy.apply([task_added("tâsk-日本-🚀")])
    assert task_ids(copy) == ["tâsk-日本-🚀"]
    assert v1.subscribed_json(cluster_of(copy), 15.0).isascii()
