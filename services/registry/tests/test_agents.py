"""How agents come and go."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import Conflict, InvalidRequest
from mezzo.resources import Resources, parse
from mezzo_registry.core import RateLimit, Settings, effects, events, records
from mezzo_registry.testing import REGISTRY_ID, START, Cluster, FakeAgent

MakeCluster = Callable[..., Cluster]


def refused_field(cluster: Cluster) -> str:
    (closed,) = cluster.of(effects.CloseAgentSession)
    assert isinstance(closed.error, InvalidRequest)
    return closed.error.field


def test_new_agent_gets_an_id_once_the_store_has_it(cluster: Cluster) -> None:
    cluster.hold_store()
    agent = FakeAgent(cluster.connect(cluster.register_message()), "", agent_session.Register())
    assert cluster.to_agent(agent) == []
    assert cluster.to_allocator() == []

    cluster.release_store()
    (message,) = cluster.to_agent(agent)
    assert message.registered.agent_id.value == f"{REGISTRY_ID}-S0"
    assert message.registered.heartbeat_interval_seconds == 15.0
    assert message.registered.heartbeat_timeout_seconds == 75.0
    assert [one.agent_update.active for one in cluster.to_allocator()] == [True]


def test_agents_are_numbered_in_the_order_in_which_they_come(cluster: Cluster) -> None:
    assert [cluster.agent().id for _ in range(3)] == [f"{REGISTRY_ID}-S{number}" for number in range(3)]


def test_admitted_agent_is_in_the_store(cluster: Cluster) -> None:
    agent = cluster.agent()
    stored = mesos.AgentInfo.FromString(cluster.store[records.ADMITTED, agent.id])
    assert stored.hostname == "node"
    assert stored.id.value == agent.id


@pytest.mark.parametrize(("reported", "shown"), [("1.12.3", "1.12.3"), ("", "1.11.0")])
def test_version_of_an_agent_is_that_of_mesos_and_ours_beside_it(cluster: Cluster, reported: str, shown: str) -> None:
    cluster.registry.identity.master_info.version = "1.11.0"
    cluster.handle(events.ObserverJoined(1))
    register = cluster.register_message()
    register.mesos_version = reported  # an agent from before there were two says none
    cluster.connect(register)
    changed = cluster.published("agent_changed")[-1]
    assert (changed.agent.version, changed.mezzo_version) == (shown, "0.1.0")


def test_second_session_of_an_agent_ends_the_first(cluster: Cluster) -> None:
    agent = cluster.agent()
    first = agent.session
    cluster.come_back(agent)
    (closed,) = cluster.of(effects.CloseAgentSession)
    assert closed.session == first
    assert isinstance(closed.error, Conflict)
    assert cluster.to_agent(agent)[0].registered.agent_id.value == agent.id


def test_end_of_the_first_session_does_not_touch_the_second(cluster: Cluster) -> None:
    agent = cluster.agent()
    first = agent.session
    cluster.come_back(agent)
    assert cluster.handle(events.AgentDisconnected(first, "closed")) == []


def test_disconnected_agent_is_not_offered(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.disconnect(agent)
    (rescind,) = cluster.to_framework(framework)
    assert rescind.rescind.offer_id == offer.id
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]
    assert [one.agent_update.active for one in cluster.to_allocator()][-1] is False


def test_silent_agent_is_unreachable_after_five_pings(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE")
    cluster.running(framework, agent)
    cluster.advance(74)
    assert cluster.states(framework) == []

    cluster.advance(16)
    assert cluster.states(framework) == [("t1", "TASK_UNREACHABLE")]
    assert (records.UNREACHABLE, agent.id) in cluster.store
    assert (records.ADMITTED, agent.id) not in cluster.store
    (status,) = [one for one in cluster.to_framework(framework) if one.HasField("update")]
    assert status.update.status.reason == mesos.TaskStatus.REASON_AGENT_REMOVED
    assert status.update.status.unreachable_time.nanoseconds > START * 1e9
    assert [one.failure.agent_id.value for one in cluster.to_framework(framework) if one.HasField("failure")] == [
        agent.id
    ]


def test_task_of_an_unreachable_agent_is_lost_to_a_framework_that_is_not_partition_aware(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.advance(90)
    assert cluster.states(framework) == [("t1", "TASK_LOST")]


def test_heartbeats_keep_an_agent(cluster: Cluster) -> None:
    agent = cluster.agent()
    for _ in range(20):
        cluster.advance(15)
        cluster.handle(events.AgentHeartbeatReceived(agent.session))
    assert agent.id in cluster.registry.state.agents


def test_unreachable_agent_comes_back_with_its_tasks(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE")
    info = cluster.running(framework, agent)
    cluster.advance(90)
    cluster.come_back(agent, tasks=[cluster.snapshot_task(framework, agent, info)], frameworks=[framework.info])
    assert cluster.states(framework) == [("t1", "TASK_RUNNING")]
    assert cluster.statuses(framework)[0].reason == mesos.TaskStatus.REASON_AGENT_REREGISTERED
    assert (records.ADMITTED, agent.id) in cluster.store
    assert (records.UNREACHABLE, agent.id) not in cluster.store
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_RUNNING")]


def test_unreachable_agent_comes_back_with_tasks_of_others_than_a_framework_that_has_ended(cluster: Cluster) -> None:
    agent, ended, other = cluster.agent(), cluster.framework(), cluster.framework("PARTITION_AWARE")
    info = cluster.running(other, agent)
    cluster.advance(90)
    cluster.call(ended, scheduler.Call(type=scheduler.Call.TEARDOWN))
    cluster.come_back(agent, tasks=[cluster.snapshot_task(other, agent, info)], frameworks=[ended.info, other.info])
    shut_down = [one.shutdown_framework for one in cluster.to_agent(agent) if one.HasField("shutdown_framework")]
    assert [one.framework_id.value for one in shut_down] == [ended.id]
    assert cluster.states(other) == [("t1", "TASK_RUNNING")]


def test_executor_of_a_framework_that_has_ended_is_not_taken_in(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.disconnect(agent)
    cluster.call(framework, scheduler.Call(type=scheduler.Call.TEARDOWN))
    info = mesos.ExecutorInfo(framework_id=framework.info.id, executor_id=mesos.ExecutorID(value="e1"))
    info.command.value = "./executor"
    info.resources.extend(parse("cpus:1").allocated_to("*").messages())
    cluster.come_back(agent, executors=[info], frameworks=[framework.info])
    known = cluster.registry.state.agents[agent.id]
    assert known.executors == {}
    assert known.available == known.total


def test_allocator_is_told_which_of_its_cycles_an_agent_is_known_after(cluster: Cluster) -> None:
    agent = cluster.agent()
    cluster.handle(events.AllocationsMade(allocator.Allocations(cycle=allocator.Cycle(number=7))))
    cluster.disconnect(agent)
    (message,) = cluster.to_allocator()
    assert message.agent_update.cycle == 7


def test_task_that_an_unreachable_agent_does_not_bring_back_is_gone(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE")
    cluster.running(framework, agent)
    cluster.advance(90)
    cluster.come_back(agent)
    assert cluster.states(framework) == [("t1", "TASK_GONE")]


@pytest.mark.parametrize("permits", [1, 4])
def test_removals_wait_for_the_rate_limit(make_cluster: MakeCluster, permits: int) -> None:
    cluster = make_cluster(Settings(agent_removal_rate_limit=RateLimit(permits, permits * 600.0)))
    for _ in range(3):
        cluster.agent()
    cluster.advance(90)
    assert len(cluster.registry.state.unreachable) == 1
    cluster.advance(600)
    assert len(cluster.registry.state.unreachable) == 2
    cluster.advance(600)
    assert len(cluster.registry.state.unreachable) == 3


def test_agent_that_speaks_again_while_its_removal_waits_is_kept(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(agent_removal_rate_limit=RateLimit(1, 600.0)))
    agents = [cluster.agent() for _ in range(2)]
    cluster.advance(90)
    (left,) = [agent for agent in agents if agent.id in cluster.registry.state.agents]
    for _ in range(100):
        cluster.handle(events.AgentHeartbeatReceived(left.session))
        cluster.advance(10)
    assert left.id in cluster.registry.state.agents
    assert cluster.registry.measure(now=cluster.now)["master/slave_unreachable_canceled"] == 1


def test_agent_that_comes_back_while_it_is_marked_unreachable_stays_admitted(cluster: Cluster) -> None:
    agent = cluster.agent()
    cluster.hold_store()
    cluster.advance(90)
    cluster.come_back(agent)
    cluster.release_store()
    assert agent.id in cluster.registry.state.agents
    assert (records.ADMITTED, agent.id) in cluster.store
    assert (records.UNREACHABLE, agent.id) not in cluster.store


def test_leaving_agent_is_removed_and_its_tasks_are_lost(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.handle(events.AgentLeaving(agent.session, "drained"))
    assert cluster.states(framework) == [("t1", "TASK_LOST")]
    assert cluster.statuses(framework)[0].reason == mesos.TaskStatus.REASON_AGENT_REMOVED
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]
    assert cluster.store == {}


def test_id_that_somebody_has_guessed_is_given_to_nobody_else(cluster: Cluster) -> None:
    guessed = f"{REGISTRY_ID}-S0"
    guesser = cluster.connect(cluster.register_message(id=guessed))
    agent = cluster.agent()
    assert agent.id == f"{REGISTRY_ID}-S1"
    assert cluster.registry.state.agents[guessed].session == guesser
    cluster.validate()


def test_agents_of_the_store_have_ten_minutes_to_come_back(make_cluster: MakeCluster) -> None:
    info = mesos.AgentInfo(hostname="node")
    info.id.value = "old-S0"
    info.resources.extend(parse("cpus:4;mem:1024").messages())
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    cluster.advance(599)
    assert "old-S0" in cluster.registry.state.agents
    cluster.advance(2)
    assert "old-S0" in cluster.registry.state.unreachable
    assert cluster.registry.measure(now=cluster.now)["master/recovery_slave_removals"] == 1


def test_agent_of_the_store_comes_back_with_its_tasks(make_cluster: MakeCluster) -> None:
    info = mesos.AgentInfo(hostname="node")
    info.id.value = "old-S0"
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    register = cluster.register_message(id="old-S0")
    agent = FakeAgent(0, "old-S0", register)
    framework_info = cluster.framework_info(id=mesos.FrameworkID(value="old-0000"))
    task = mesos.Task(name="t1", state=mesos.TASK_RUNNING)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t1", "old-0000", "old-S0"
    task.resources.extend(parse("cpus:1").allocated_to("*").messages())
    cluster.come_back(agent, tasks=[task], frameworks=[framework_info])
    assert cluster.to_agent(agent)[0].HasField("registered")
    assert "old-S0" not in cluster.registry.state.recovered

    stream = cluster.subscribe(framework_info)
    assert cluster.on_stream(stream)[0].subscribed.framework_id.value == "old-0000"
    for _ in range(65):
        cluster.advance(10)
        cluster.handle(events.AgentHeartbeatReceived(agent.session))
    assert "t1" in cluster.registry.state.frameworks["old-0000"].tasks


def test_agent_that_lost_its_id_replaces_its_old_self_at_the_same_address(cluster: Cluster) -> None:
    old = cluster.agent(pid="slave(1)@10.0.0.1:5051")
    cluster.disconnect(old)
    new = cluster.agent(pid="slave(1)@10.0.0.1:5051")
    assert set(cluster.registry.state.agents) == {new.id}


def test_address_that_an_agent_left_is_free_for_another(cluster: Cluster) -> None:
    first = cluster.agent(pid="slave(1)@10.0.0.1:7001")
    cluster.disconnect(first)
    first.register.pid = "slave(1)@10.0.0.1:7002"
    cluster.come_back(first)
    cluster.handle(events.AgentLeaving(first.session, "scaled down"))
    second = cluster.agent(pid="slave(1)@10.0.0.1:7001")
    assert set(cluster.registry.state.agents) == {second.id}


def test_agent_that_moved_is_not_removed_for_the_new_agent_at_its_former_address(cluster: Cluster) -> None:
    first, framework = cluster.agent(pid="slave(1)@10.0.0.1:7001"), cluster.framework()
    task = cluster.running(framework, first)
    first.register.pid = "slave(1)@10.0.0.1:7002"
    cluster.come_back(first, tasks=[cluster.snapshot_task(framework, first, task)], frameworks=[framework.info])
    cluster.disconnect(first)
    second = cluster.agent(pid="slave(1)@10.0.0.1:7001")
    assert set(cluster.registry.state.agents) == {first.id, second.id}
    assert set(cluster.registry.state.agents[first.id].tasks) == {(framework.id, task.task_id.value)}
    assert cluster.states(framework) == []


@pytest.mark.parametrize("who", ["another machine", "an agent with its id", "a connected agent's twin"])
def test_address_alone_makes_no_agent_the_successor_of_another(cluster: Cluster, who: str) -> None:
    first, second = cluster.agent(pid="slave(1)@10.0.0.1:7001"), cluster.agent(pid="slave(1)@10.0.0.2:7001")
    cluster.disconnect(first)
    if who == "another machine":
        cluster.agent(pid="slave(1)@10.0.0.1:7001", hostname="another")
    elif who == "an agent with its id":
        second.register.pid = "slave(1)@10.0.0.1:7001"
        cluster.come_back(second)
    else:
        cluster.come_back(first)
        cluster.agent(pid="slave(1)@10.0.0.1:7001")
    assert {first.id, second.id} <= set(cluster.registry.state.agents)


def test_agent_is_told_of_a_framework_that_came_back_under_a_forgotten_id(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(max_completed_frameworks=0))
    cluster.allocator()
    agent, framework = cluster.agent(), cluster.framework()
    task = cluster.running(framework, agent)
    identifier, _ = cluster.update(framework, agent, task.task_id.value, "TASK_FINISHED")
    cluster.acknowledge(framework, agent, task.task_id.value, identifier)
    cluster.call(framework, scheduler.Call(type=scheduler.Call.TEARDOWN))
    framework.info.name = "another"
    cluster.resubscribe(framework)
    cluster.accept(framework, [cluster.offer(framework, agent)], cluster.task_info(agent, "t2"))
    updates = [one.framework_update for one in cluster.to_agent(agent) if one.HasField("framework_update")]
    assert [one.framework_info.name for one in updates] == ["another"]


def test_task_that_a_second_agent_reports_is_killed_there_and_the_log_names_both_agents(cluster: Cluster) -> None:
    first, second, framework = cluster.agent(), cluster.agent(), cluster.framework()
    info = cluster.running(framework, first)
    cluster.disconnect(second)
    cluster.come_back(second, tasks=[cluster.snapshot_task(framework, second, info)], frameworks=[framework.info])
    kills = [one.kill_task.task_id.value for one in cluster.to_agent(second) if one.HasField("kill_task")]
    assert kills == [info.task_id.value]
    (note,) = [each for each in cluster.of(effects.Note) if each.level == "warning"]
    assert note.event == "task runs on two agents; killing it on the one that came back"
    assert (note.details["agent_id"], note.details["other_agent_id"]) == (second.id, first.id)
    assert set(cluster.registry.state.agents[first.id].tasks) == {(framework.id, info.task_id.value)}


def test_agent_that_was_marked_gone_is_told_to_shut_down(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(elected=events.Elected(gone={"gone-S1": START}))
    session = cluster.connect(cluster.register_message(id="gone-S1"))
    assert cluster.to_agent(FakeAgent(session, "", agent_session.Register()))[0].HasField("shutdown")
    assert [one.session for one in cluster.of(effects.CloseAgentSession)] == [session]


def test_agent_without_a_hostname_is_refused(cluster: Cluster) -> None:
    cluster.connect(cluster.register_message(hostname=""))
    assert refused_field(cluster) == "register.agent_info.hostname"
    assert cluster.registry.state.agents == {}


@pytest.mark.parametrize(
    "pid",
    [
        "slave(1)@10.0.0.1:5051/admin?x=",
        "slave(1)@10.0.0.1/admin#:5051",
        "slave(1)@10.0.0.1?:5051",
        "slave(1)@user:secret@10.0.0.1:5051",
        "slave(1)/../x@10.0.0.1:5051",
        "slave(1)@10.0.0.1:5051\r\n",
        "10.0.0.1:5051",
    ],
)
def test_agent_whose_address_is_more_than_a_host_and_a_port_is_refused(cluster: Cluster, pid: str) -> None:
    cluster.connect(cluster.register_message(pid=pid))
    assert refused_field(cluster) == "register.pid"


@pytest.mark.parametrize(
    "hostname", ["node/path", "node?x", "user@node", "node:80", "<b>node", "a node", "node\r\nX: y"]
)
def test_agent_whose_hostname_is_none_is_refused(cluster: Cluster, hostname: str) -> None:
    cluster.connect(cluster.register_message(hostname=hostname))
    assert refused_field(cluster) == "register.agent_info.hostname"


@pytest.mark.parametrize("hostname", ["node", "node_1.rack-2.example.", "10.0.0.1", "fd00::1"])
def test_agent_is_taken_by_every_kind_of_hostname(cluster: Cluster, hostname: str) -> None:
    assert cluster.agent(hostname=hostname, pid="slave(1)@[fd00::1]:5051").id


def test_agent_with_negative_resources_is_refused(cluster: Cluster) -> None:
    register = cluster.register_message()
    register.total_resources[0].scalar.value = -1
    cluster.connect(register)
    assert refused_field(cluster).startswith("register.total_resources")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e308])
def test_agent_with_an_attribute_that_is_no_amount_comes_back(cluster: Cluster, value: float) -> None:
    register = cluster.register_message()
    attribute = register.agent_info.attributes.add(name="level", type=mesos.Value.SCALAR)
    attribute.scalar.value = value
    session = cluster.connect(register)
    register.agent_info.id.value = next(iter(cluster.registry.state.agents))
    cluster.handle(events.AgentDisconnected(session, "the stream broke"))
    cluster.connect(register)
    assert [one.session for one in cluster.registry.state.agents.values()] == [session + 1]


def test_agent_whose_tasks_hold_more_than_it_has_is_refused(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4;mem:1024"), cluster.framework()
    info = cluster.running(framework, agent)
    task = cluster.snapshot_task(framework, agent, info)
    task.resources[0].scalar.value = 5
    cluster.come_back(agent, tasks=[task], frameworks=[framework.info])
    assert refused_field(cluster) == "register.total_resources"
    assert cluster.registry.state.agents[agent.id].tasks.keys() == {(framework.id, "t1")}


def test_agent_that_reports_a_task_twice_is_refused(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    task = cluster.snapshot_task(framework, agent, cluster.running(framework, agent))
    cluster.come_back(agent, tasks=[task, task], frameworks=[framework.info])
    assert refused_field(cluster) == "register.tasks[1].task_id.value"


def test_agent_that_reports_a_task_of_another_agent_is_refused(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    task = cluster.snapshot_task(framework, agent, cluster.running(framework, agent))
    task.agent_id.value = "another"
    cluster.come_back(agent, tasks=[task], frameworks=[framework.info])
    assert refused_field(cluster) == "register.tasks[0].agent_id.value"


def test_agent_without_an_id_that_has_tasks_is_refused(cluster: Cluster) -> None:
    cluster.connect(cluster.register_message(tasks=[mesos.Task(
        name="t", task_id=mesos.TaskID(value="t"), framework_id=mesos.FrameworkID(value="f"),
        agent_id=mesos.AgentID(value="a"), state=mesos.TASK_RUNNING,
    )]))  # fmt: skip
    assert refused_field(cluster) == "register.tasks"


def test_forgotten_unreachable_agents_are_the_oldest_and_those_beyond_the_count(make_cluster: MakeCluster) -> None:
    marked = {f"S{number}": START - number for number in range(5)}
    cluster = make_cluster(Settings(registry_max_agent_count=2), events.Elected(unreachable=marked))
    collected = cluster.advance(900)
    assert set(cluster.registry.state.unreachable) == {"S0", "S1"}
    writes = [[write.key for write in one.writes] for one in collected if isinstance(one, effects.Persist)]
    assert writes == [["S4"], ["S3"], ["S2"]], "all of them as one might be more than a transaction holds"


def test_changed_description_of_an_agent_is_stored(cluster: Cluster) -> None:
    agent = cluster.agent()
    agent.register.agent_info.attributes.add(name="rack", type=mesos.Value.TEXT).text.value = "r1"
    cluster.come_back(agent)
    stored = mesos.AgentInfo.FromString(cluster.store[records.ADMITTED, agent.id])
    assert [one.name for one in stored.attributes] == ["rack"]


def test_observers_are_told_at_once_what_an_agent_has_that_comes_back(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    agent = cluster.agent("cpus:2")
    for resources in ("cpus:1", "cpus:3"):
        cluster.disconnect(agent)
        del agent.register.total_resources[:]
        agent.register.total_resources.extend(parse(resources).messages())
        cluster.come_back(agent)
        changed = cluster.published("agent_changed")[-1]
        assert Resources.of(changed.agent.total_resources) == parse(resources)


def test_snapshot_tells_of_unreachable_and_gone_agents_and_since_when(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(
        Settings(registry_max_agent_count=1),
        events.Elected(unreachable={"a": START, "b": START + 1}, gone={"c": START + 2}),
    )
    cluster.handle(events.ObserverJoined(1))
    gone = [(one.agent_id.value, one.unreachable, one.gone, one.since) for one in cluster.published("agent_gone")]
    assert gone == [("a", True, False, START), ("b", True, False, START + 1), ("c", False, True, START + 2)]
    cluster.advance(901.0)
    forgotten = [(one.agent_id.value, one.unreachable) for one in cluster.published("agent_gone")]
    assert forgotten == [("a", False)], "forgotten: of two, one is too many"


def test_agent_with_resources_that_make_no_sense_is_refused(cluster: Cluster) -> None:
    register = cluster.register_message("cpus:1")
    disk = register.total_resources.add(name="disk", type=mesos.Value.SCALAR)
    disk.scalar.value = 1
    disk.disk.persistence.id = "a/b"
    cluster.connect(register)
    assert refused_field(cluster) == "register.total_resources[1].disk.persistence.id"


@pytest.mark.parametrize("port", ["²", "99999999999", "9" * 5000, "", "-1", "65536"])
def test_agent_whose_address_is_none_is_refused(cluster: Cluster, port: str) -> None:
    message = cluster.register_message()
    message.pid = f"slave(1)@10.0.0.1:{port}"
    cluster.connect(message)
    assert refused_field(cluster) == "register.pid"
