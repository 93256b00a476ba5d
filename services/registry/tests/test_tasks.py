"""Tasks after their launch: updates, acknowledgements, kills, reconciliation, and agents that come back."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.resources import Resources, parse
from mezzo_registry.core import Settings, effects, events
from mezzo_registry.core.views import observers
from mezzo_registry.testing import Cluster, FakeAgent, FakeFramework

Call = scheduler.Call
Status = mesos.TaskStatus
MakeCluster = Callable[..., Cluster]


def kinds(messages: list[agent_session.RegistryMessage]) -> list[str | None]:
    return [one.WhichOneof("message") for one in messages]


# --- updates ----------------------------------------------------------------------------------------------------------


def test_update_is_forwarded_as_it_came(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_RUNNING", data=b"state", message="up")
    (status,) = cluster.statuses(framework)
    assert (status.uuid, status.data, status.message) == (identifier, b"state", "up")
    assert status.agent_id.value == agent.id


def test_terminal_update_gives_the_resources_back_at_once(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]
    assert not cluster.to_allocator()[0].recovered.HasField("filters")


def test_newest_state_counts_even_before_its_update_comes(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_RUNNING", latest="TASK_FINISHED")
    assert cluster.states(framework) == [("t1", "TASK_RUNNING")]
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_RUNNING")]


def test_repeated_terminal_update_gives_nothing_back_twice(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert cluster.states(framework) == [("t1", "TASK_FINISHED")]
    assert cluster.recovered() == []


def test_task_that_has_ended_does_not_run_again(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_FAILED")
    cluster.update(framework, agent, "t1", "TASK_RUNNING")
    assert cluster.registry.state.frameworks[framework.id].tasks["t1"].state == mesos.TASK_FAILED


def test_acknowledged_terminal_update_ends_the_task(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.acknowledge(framework, agent, "t1", identifier)
    (message,) = cluster.to_agent(agent)
    assert message.acknowledge_update.uuid == identifier
    known = cluster.registry.state.frameworks[framework.id]
    assert known.tasks == {}
    assert [task.id for task in known.completed] == ["t1"]
    assert cluster.reconcile(framework) == []


def test_acknowledgement_tells_the_agent_which_update_of_which_task(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent, "t1")
    cluster.launched(framework, agent, "t2")
    identifier, _ = cluster.update(framework, agent, "t2", "TASK_RUNNING")
    cluster.acknowledge(framework, agent, "t2", identifier)
    expected = agent_session.AcknowledgeUpdate(uuid=identifier)
    expected.framework_id.value, expected.task_id.value = framework.id, "t2"
    (message,) = cluster.to_agent(agent)
    assert message.acknowledge_update == expected


def test_acknowledgement_of_another_update_does_not_end_the_task(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    earlier, _ = cluster.update(framework, agent, "t1", "TASK_RUNNING")
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.acknowledge(framework, agent, "t1", earlier)
    assert "t1" in cluster.registry.state.frameworks[framework.id].tasks
    assert kinds(cluster.to_agent(agent)) == ["acknowledge_update"]


def test_acknowledgement_for_an_agent_that_is_away_is_dropped(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.disconnect(agent)
    cluster.acknowledge(framework, agent, "t1", identifier)
    assert "t1" in cluster.registry.state.frameworks[framework.id].tasks
    assert cluster.registry.measure(now=cluster.now)["master/invalid_status_update_acknowledgements"] == 1


def test_update_that_was_acknowledged_while_its_agent_was_away_is_not_forwarded_again(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent, "t1")
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.disconnect(agent)
    cluster.acknowledge(framework, agent, "t1", identifier)
    cluster.come_back(agent)
    again, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert again == identifier
    assert not cluster.to_framework(framework)
    message = cluster.to_agent(agent)[-1]
    assert message.acknowledge_update.uuid == identifier
    assert not cluster.registry.state.frameworks[framework.id].tasks
    # Another update of a task of the same name is another matter.
    cluster.advance(1.0)
    cluster.update(framework, agent, "t1", "TASK_FAILED")
    assert cluster.to_framework(framework)


def test_acknowledgement_without_a_whole_uuid_is_refused(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.acknowledge(framework, agent, "t1", b"short")
    assert cluster.refusal() == "InvalidRequest: acknowledge.uuid: has 5 bytes; a uuid has 16"


def test_update_of_an_unknown_framework_is_counted_and_dropped(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.call(framework, Call(type=Call.TEARDOWN))
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert cluster.effects == []
    assert cluster.registry.measure(now=cluster.now)["master/invalid_status_updates"] == 1


def test_update_that_nobody_but_the_registry_may_make_is_dropped(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_UNREACHABLE")
    assert cluster.effects == []
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_RUNNING")]


def test_update_of_another_agents_task_does_not_end_it(cluster: Cluster) -> None:
    agent, liar, framework = cluster.agent(), cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.update(framework, liar, "t1", "TASK_FAILED")
    assert cluster.registry.state.frameworks[framework.id].tasks["t1"].state == mesos.TASK_RUNNING
    assert cluster.recovered() == []


def test_completed_tasks_are_remembered_up_to_a_number(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(max_completed_tasks_per_framework=2))
    agent, framework = cluster.agent(), cluster.framework()
    for name in ("t1", "t2", "t3"):
        cluster.launched(framework, agent, name)
        identifier, _ = cluster.update(framework, agent, name, "TASK_FINISHED")
        cluster.acknowledge(framework, agent, name, identifier)
    assert [task.id for task in cluster.registry.state.frameworks[framework.id].completed] == ["t2", "t3"]


# --- kills ------------------------------------------------------------------------------------------------------------


def kill(name: str, agent_id: str = "") -> scheduler.Call:
    call = Call(type=Call.KILL)
    call.kill.task_id.value = name
    if agent_id:
        call.kill.agent_id.value = agent_id
    return call


def test_kill_is_passed_on_with_its_policy(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    call = kill("t1")
    call.kill.kill_policy.grace_period.nanoseconds = 7
    cluster.call(framework, call)
    (message,) = cluster.to_agent(agent)
    assert message.kill_task.task_id.value == "t1"
    assert message.kill_task.kill_policy.grace_period.nanoseconds == 7


def test_kill_of_an_unknown_task_is_answered_by_reconciliation(cluster: Cluster) -> None:
    framework = cluster.framework()
    cluster.call(framework, kill("unknown-task"))
    (status,) = cluster.statuses(framework)
    assert (status.state, status.reason) == (mesos.TASK_LOST, Status.REASON_RECONCILIATION)


def test_kill_while_the_agent_is_away_reaches_it_when_it_is_back(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    cluster.disconnect(agent)
    cluster.call(framework, kill("t1"))
    assert cluster.of(effects.SendToAgent) == []
    cluster.come_back(agent, tasks=[cluster.snapshot_task(framework, agent, info)], frameworks=[framework.info])
    assert "kill_task" in kinds(cluster.to_agent(agent))


def test_kill_that_was_answered_is_not_sent_again(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    cluster.call(framework, kill("t1"))
    cluster.update(framework, agent, "t1", "TASK_KILLED")
    task = cluster.snapshot_task(framework, agent, info, "TASK_KILLED")
    cluster.come_back(agent, tasks=[task], frameworks=[framework.info])
    assert "kill_task" not in kinds(cluster.to_agent(agent))


def test_operator_kill_of_an_unknown_task_is_refused(cluster: Cluster) -> None:
    framework = cluster.framework()
    cluster.handle(events.OperatorKilledTask(1, framework.id, "nope"))
    assert cluster.refusal().startswith("NotFound: task_id.value: ")
    cluster.handle(events.OperatorKilledTask(2, "nope", "nope"))
    assert cluster.refusal().startswith("NotFound: framework_id.value: ")


def test_operator_kills_a_task_with_a_grace_period(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    policy = mesos.KillPolicy()
    policy.grace_period.nanoseconds = 7
    cluster.handle(events.OperatorKilledTask(1, framework.id, "t1", kill_policy=policy))
    (message,) = [each for each in cluster.to_agent(agent) if each.HasField("kill_task")]
    assert message.kill_task.kill_policy.grace_period.nanoseconds == 7
    policy.grace_period.nanoseconds = -1
    cluster.handle(events.OperatorKilledTask(2, framework.id, "t1", kill_policy=policy))
    assert cluster.refusal() == "InvalidRequest: kill_policy.grace_period: must not be negative"


# --- reconciliation ---------------------------------------------------------------------------------------------------


def test_explicit_reconciliation_tells_the_newest_state(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_STAGING")]
    (status,) = cluster.statuses(framework)
    assert (status.source, status.reason) == (Status.SOURCE_MASTER, Status.REASON_RECONCILIATION)
    assert not status.HasField("uuid")
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_RUNNING")
    cluster.acknowledge(framework, agent, "t1", identifier)
    assert cluster.reconcile(framework, "t1", agent_id=agent.id) == [("t1", "TASK_RUNNING")]


def test_reconciliation_tells_the_state_that_is_on_its_way(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_FINISHED")]
    assert cluster.reconcile(framework) == [("t1", "TASK_FINISHED")]


def test_implicit_reconciliation_tells_of_all_that_is_known(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent, "t1")
    cluster.launched(framework, agent, "t2")
    cluster.update(framework, agent, "t2", "TASK_RUNNING")
    assert cluster.reconcile(framework) == [("t1", "TASK_STAGING"), ("t2", "TASK_RUNNING")]


@pytest.mark.parametrize(("capabilities", "state"), [((), "TASK_LOST"), (("PARTITION_AWARE",), "TASK_UNKNOWN")])
def test_task_that_nobody_knows(cluster: Cluster, capabilities: tuple[str, ...], state: str) -> None:
    assert cluster.reconcile(cluster.framework(*capabilities), "nonesuch") == [("nonesuch", state)]


@pytest.mark.parametrize(("capabilities", "state"), [((), "TASK_LOST"), (("PARTITION_AWARE",), "TASK_GONE")])
def test_task_that_its_agent_does_not_know(cluster: Cluster, capabilities: tuple[str, ...], state: str) -> None:
    agent = cluster.agent()
    framework = cluster.framework(*capabilities)
    assert cluster.reconcile(framework, "t9", agent_id=agent.id) == [("t9", state)]


@pytest.mark.parametrize(("capabilities", "state"), [((), "TASK_LOST"), (("PARTITION_AWARE",), "TASK_UNREACHABLE")])
def test_task_whose_agent_is_out_of_reach(cluster: Cluster, capabilities: tuple[str, ...], state: str) -> None:
    agent = cluster.agent()
    framework = cluster.framework(*capabilities)
    cluster.advance(90)
    assert cluster.reconcile(framework, "t9", agent_id=agent.id) == [("t9", state)]
    assert cluster.statuses(framework)[0].HasField("unreachable_time")


def test_task_of_an_agent_that_was_marked_gone(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(elected=events.Elected(gone={"S9": 1.0}))
    framework = cluster.framework("PARTITION_AWARE")
    assert cluster.reconcile(framework, "t9", agent_id="S9") == [("t9", "TASK_GONE_BY_OPERATOR")]


def test_nothing_is_said_of_tasks_whose_agent_may_yet_come_back(make_cluster: MakeCluster) -> None:
    info = mesos.AgentInfo(hostname="node", id=mesos.AgentID(value="old-S0"))
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    framework = cluster.framework()
    assert cluster.reconcile(framework, "t9", agent_id="old-S0") == []
    assert cluster.reconcile(framework, "t9") == []
    assert cluster.reconcile(framework, "t9", agent_id="other") == [("t9", "TASK_LOST")]


def test_nothing_is_said_of_tasks_whose_agent_is_coming_back(make_cluster: MakeCluster) -> None:
    info = mesos.AgentInfo(hostname="elsewhere", id=mesos.AgentID(value="old-S0"))
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    framework = cluster.framework()
    cluster.hold_store()
    cluster.connect(cluster.register_message(id="old-S0"))
    assert cluster.reconcile(framework, "t9", agent_id="old-S0") == []
    cluster.release_store()
    assert cluster.reconcile(framework, "t9", agent_id="old-S0") == [("t9", "TASK_LOST")]


@pytest.mark.parametrize(("capabilities", "state"), [((), "TASK_LOST"), (("PARTITION_AWARE",), "TASK_UNREACHABLE")])
def test_the_next_leader_knows_which_agents_are_out_of_reach_and_since_when(
    make_cluster: MakeCluster, capabilities: tuple[str, ...], state: str
) -> None:
    cluster = make_cluster(elected=events.Elected(unreachable={"old-S0": 7.0}))
    framework = cluster.framework(*capabilities)
    assert cluster.reconcile(framework, "t9", agent_id="old-S0") == [("t9", state)]
    (status,) = cluster.statuses(framework)
    assert status.unreachable_time.nanoseconds == 7 * 10**9


def test_after_an_election_reconciliation_tells_the_state_that_is_on_its_way(make_cluster: MakeCluster) -> None:
    info = mesos.AgentInfo(hostname="node", id=mesos.AgentID(value="old-S0"))
    cluster = make_cluster(elected=events.Elected(admitted=(info,)))
    framework = cluster.framework(id=mesos.FrameworkID(value="old-0000"))
    agent = FakeAgent(0, "old-S0", cluster.register_message(id="old-S0"))
    task = cluster.snapshot_task(framework, agent, cluster.task_info(agent), "TASK_FINISHED")
    task.status_update_state, task.status_update_uuid = mesos.TASK_RUNNING, bytes(16)
    cluster.come_back(agent, tasks=[task], frameworks=[framework.info])
    assert cluster.reconcile(framework) == [("t1", "TASK_RUNNING")]


def asked_after(cluster: Cluster, framework: FakeFramework, agent_id: str = "") -> mesos.OperationStatus:
    call = Call(type=Call.RECONCILE_OPERATIONS)
    asked = call.reconcile_operations.operations.add()
    asked.operation_id.value = "reserve"
    if agent_id:
        asked.agent_id.value = agent_id
    cluster.call(framework, call)
    (event,) = cluster.to_framework(framework)
    assert event.type == scheduler.Event.UPDATE_OPERATION_STATUS
    return event.update_operation_status.status


def test_operations_that_nobody_knows_are_answered_for_by_where_their_agent_is(make_cluster: MakeCluster) -> None:
    back = mesos.AgentInfo(hostname="node", id=mesos.AgentID(value="old-S0"))
    cluster = make_cluster(elected=events.Elected(gone={"S9": 1.0}))
    framework, agent = cluster.framework(), cluster.agent()
    status = asked_after(cluster, framework, agent.id)
    assert (status.operation_id.value, status.agent_id.value) == ("reserve", agent.id)
    assert (status.state, status.HasField("uuid")) == (mesos.OPERATION_UNKNOWN, False)
    assert asked_after(cluster, framework).state == mesos.OPERATION_UNKNOWN
    assert asked_after(cluster, framework, "S9").state == mesos.OPERATION_GONE_BY_OPERATOR
    cluster.advance(90)
    cluster.to_framework(framework)
    assert asked_after(cluster, framework, agent.id).state == mesos.OPERATION_UNREACHABLE
    recovering = make_cluster(elected=events.Elected(admitted=(back,)))
    framework = recovering.framework()
    assert asked_after(recovering, framework, "old-S0").state == mesos.OPERATION_RECOVERING
    assert asked_after(recovering, framework).state == mesos.OPERATION_RECOVERING
    assert asked_after(recovering, framework, "other").state == mesos.OPERATION_UNKNOWN


def test_an_operations_status_that_nobody_sent_is_acknowledged_in_vain(cluster: Cluster) -> None:
    framework = cluster.framework()
    call = Call(type=Call.ACKNOWLEDGE_OPERATION_STATUS)
    call.acknowledge_operation_status.operation_id.value = "reserve"
    call.acknowledge_operation_status.uuid = b"short"
    cluster.call(framework, call)
    assert cluster.refusal() == "InvalidRequest: acknowledge_operation_status.uuid: has 5 bytes; a uuid has 16"
    call.acknowledge_operation_status.uuid = bytes(16)
    cluster.call(framework, call)
    assert cluster.of(effects.Refuse) == []
    counted = cluster.registry.measure(now=cluster.now)["master/invalid_operation_status_update_acknowledgements"]
    assert counted == 1


# --- agents that come back --------------------------------------------------------------------------------------------


def test_task_that_the_agent_never_saw_is_sent_again(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.disconnect(agent)
    cluster.come_back(agent)
    assert kinds(cluster.to_agent(agent)) == ["registered", "framework_update", "run_task"]
    assert cluster.states(framework) == []
    assert cluster.reconcile(framework, "t1") == [("t1", "TASK_STAGING")]


def test_group_that_the_agent_never_saw_is_sent_again_as_one(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    call = Call(type=Call.ACCEPT)
    call.accept.offer_ids.append(offer.id)
    group = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH_GROUP).launch_group
    group.executor.type = mesos.ExecutorInfo.DEFAULT
    group.executor.executor_id.value = "pod"
    group.executor.resources.extend(parse("cpus:0.1;mem:32").messages())
    group.task_group.tasks.extend(cluster.task_info(offer, name, "cpus:0.1;mem:32") for name in ("t1", "t2"))
    cluster.call(framework, call)
    cluster.come_back(agent)
    assert kinds(cluster.to_agent(agent)) == ["registered", "framework_update", "run_task_group"]


def test_task_that_the_agent_knew_and_now_lacks_is_lost(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.come_back(agent)
    assert cluster.states(framework) == [("t1", "TASK_LOST")]
    assert cluster.recovered() == ["cpus(allocated: *):1; mem(allocated: *):128"]


def test_task_that_the_agent_knew_and_now_lacks_is_dropped_for_the_partition_aware(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE")
    cluster.running(framework, agent)
    cluster.come_back(agent)
    assert cluster.states(framework) == [("t1", "TASK_DROPPED")]


def test_running_task_of_an_agent_that_comes_back_goes_on(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    cluster.disconnect(agent)
    cluster.come_back(agent, tasks=[cluster.snapshot_task(framework, agent, info)], frameworks=[framework.info])
    assert cluster.states(framework) == []
    (update,) = [one.agent_update for one in cluster.to_allocator() if one.HasField("agent_update")]
    assert update.active
    assert [str(Resources.of(one.resources)) for one in update.holdings] == [
        "cpus(allocated: *):1; mem(allocated: *):128"
    ]


def test_task_that_ended_while_its_agent_was_away_holds_nothing(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    cluster.disconnect(agent)
    task = cluster.snapshot_task(framework, agent, info, "TASK_FINISHED")
    cluster.come_back(agent, tasks=[task], frameworks=[framework.info])
    (update,) = [one.agent_update for one in cluster.to_allocator() if one.HasField("agent_update")]
    assert list(update.holdings) == []


def test_task_of_a_completed_framework_is_shut_down(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    cluster.disconnect(agent)
    cluster.call(framework, Call(type=Call.TEARDOWN))
    cluster.come_back(agent, tasks=[cluster.snapshot_task(framework, agent, info)], frameworks=[framework.info])
    assert kinds(cluster.to_agent(agent)) == ["registered", "shutdown_framework"]
    assert cluster.registry.state.agents[agent.id].tasks == {}


def test_framework_that_only_its_agents_know_has_time_to_come_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    framework_info = cluster.framework_info(id=mesos.FrameworkID(value="old-0000"))
    agent = cluster.agent()
    task = mesos.Task(name="t", state=mesos.TASK_RUNNING)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t", "old-0000", agent.id
    cluster.come_back(agent, tasks=[task], frameworks=[framework_info])
    for _ in range(59):
        cluster.advance(10)
        cluster.handle(events.AgentHeartbeatReceived(agent.session))
    assert "old-0000" in cluster.registry.state.frameworks
    cluster.advance(11)
    assert "old-0000" in cluster.registry.state.completed
    assert kinds(cluster.to_agent(agent)) == ["shutdown_framework"]


# --- executors and messages -------------------------------------------------------------------------------------------


def with_executor(cluster: Cluster) -> tuple[FakeAgent, FakeFramework]:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    task = cluster.task_info(offer, "t1", "cpus:0.5;mem:100")
    task.ClearField("command")
    task.executor.executor_id.value = "e1"
    task.executor.command.value = "./executor"
    task.executor.resources.extend(parse("cpus:0.5;mem:64").messages())
    cluster.accept(framework, [offer], task)
    return agent, framework


def test_exited_executor_gives_its_resources_back_and_is_told(cluster: Cluster) -> None:
    agent, framework = with_executor(cluster)
    exited = agent_session.ExecutorExited(wait_status=256)
    exited.framework_id.value, exited.executor_id.value = framework.id, "e1"
    cluster.handle(events.ExecutorExited(agent.session, exited))
    assert cluster.recovered() == ["cpus(allocated: *):0.5; mem(allocated: *):64"]
    (event,) = cluster.to_framework(framework)
    assert (event.failure.executor_id.value, event.failure.status) == ("e1", 256)


def test_messages_pass_between_framework_and_executor(cluster: Cluster) -> None:
    agent, framework = with_executor(cluster)
    call = Call(type=Call.MESSAGE)
    call.message.agent_id.value, call.message.executor_id.value, call.message.data = agent.id, "e1", b"ping"
    cluster.call(framework, call)
    assert [one.framework_message.data for one in cluster.to_agent(agent)] == [b"ping"]
    answer = agent_session.ExecutorMessage(data=b"pong")
    answer.framework_id.value, answer.executor_id.value = framework.id, "e1"
    cluster.handle(events.ExecutorMessageReceived(agent.session, answer))
    (event,) = cluster.to_framework(framework)
    assert (event.message.data, event.message.agent_id.value) == (b"pong", agent.id)


def test_shutdown_of_an_executor_is_passed_on(cluster: Cluster) -> None:
    agent, framework = with_executor(cluster)
    call = Call(type=Call.SHUTDOWN)
    call.shutdown.agent_id.value, call.shutdown.executor_id.value = agent.id, "e1"
    cluster.call(framework, call)
    assert kinds(cluster.to_agent(agent)) == ["shutdown_executor"]


# --- observers --------------------------------------------------------------------------------------------------------


def test_nothing_is_built_for_observers_when_nobody_watches(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    assert cluster.of(effects.Publish) == []


def test_observer_follows_a_task_to_its_end(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.handle(events.ObserverJoined(7))
    cluster.launched(framework, agent)
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_RUNNING")
    (published,) = cluster.of(effects.Publish)
    assert published.change.task_updated.unacknowledged
    cluster.acknowledge(framework, agent, "t1", identifier)
    assert cluster.of(effects.Publish) == []  # an observer shows it as it did before
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    (published,) = cluster.of(effects.Publish)
    assert published.change.task_updated.unacknowledged
    cluster.acknowledge(framework, agent, "t1", identifier)
    (published,) = cluster.of(effects.Publish)
    assert not published.change.task_updated.unacknowledged
    cluster.handle(events.ObserverLeft(7))
    cluster.launched(framework, agent, "t2")
    assert cluster.of(effects.Publish) == []


def test_observer_that_comes_late_is_told_the_history_of_a_task(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"):
        cluster.update(framework, agent, "t1", state, message=state.lower())
    cluster.handle(events.ObserverJoined(7))
    (added,) = cluster.published("task_added")
    told = [(mesos.TaskState.Name(status.state), status.message) for status in added.task.statuses]
    assert told == [
        ("TASK_STARTING", "task_starting"),
        ("TASK_RUNNING", "task_running"),
        ("TASK_FINISHED", "task_finished"),
    ]
    assert {status.agent_id.value for status in added.task.statuses} == {agent.id}


def test_observer_is_told_that_an_executor_came_and_that_it_ended(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.handle(events.ObserverJoined(7))
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    info.ClearField("command")
    info.executor.executor_id.value = "e1"
    info.executor.command.value = "./executor"
    info.executor.resources.extend(parse("cpus:0.1;mem:32").messages())
    cluster.accept(framework, [offer], info)
    (added,) = cluster.published("executor_added")
    assert (added.executor_info.executor_id.value, added.agent_id.value) == ("e1", agent.id)
    exited = agent_session.ExecutorExited()
    exited.framework_id.value, exited.executor_id.value = framework.id, "e1"
    cluster.handle(events.ExecutorExited(agent.session, exited))
    (removed,) = cluster.published("executor_removed")
    ids = (removed.framework_id.value, removed.agent_id.value, removed.executor_id.value)
    assert ids == (framework.id, agent.id, "e1")


def test_observer_is_told_that_a_peer_is_disconnected(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework(failover_timeout=3600.0)
    cluster.handle(events.ObserverJoined(7))
    cluster.disconnect(agent)
    (changed,) = cluster.published("agent_changed")
    assert changed.agent.agent_info.id.value == agent.id
    assert not changed.connected
    assert not changed.agent.active
    cluster.close(framework)
    (changed,) = cluster.published("framework_changed")
    assert changed.framework.framework_info.id.value == framework.id
    assert not changed.framework.connected
    assert not changed.framework.active


def published(cluster: Cluster) -> list[str]:
    """What the observer was given in the last exchange: kinds, and tasks by name and state."""
    changes = []
    for effect in cluster.effects:
        if isinstance(effect, effects.PublishSnapshot):
            changes += effect.changes
        elif isinstance(effect, effects.Publish):
            changes.append(effect.change)
    names: list[str] = []
    for change in changes:
        kind = str(change.WhichOneof("change"))
        if kind == "task_added":
            state = mesos.TaskState.Name(change.task_added.task.state)
            kind = f"{change.task_added.task.task_id.value} {state}"
        names.append(kind)
    return names


def test_large_snapshot_comes_in_parts_while_work_goes_on(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "TASKS_PER_PART", 2)
    agent, framework = cluster.agent(), cluster.framework()
    for name in ("t1", "t2", "t3", "t4", "t5"):
        cluster.launched(framework, agent, name, "cpus:0.1;mem:1")
    cluster.handle(events.ObserverJoined(1))
    assert published(cluster)[-2:] == ["t1 TASK_STAGING", "t2 TASK_STAGING"]

    cluster.update(framework, agent, "t1", "TASK_RUNNING")
    assert published(cluster) == ["task_updated"]
    cluster.update(framework, agent, "t4", "TASK_RUNNING")
    assert published(cluster) == ["t4 TASK_RUNNING", "task_updated"]

    cluster.handle(events.ObserverReady(1))
    assert published(cluster) == ["t3 TASK_STAGING", "t5 TASK_STAGING", "snapshot_end"]
    assert cluster.handle(events.ObserverReady(1)) == []


def test_task_that_ends_before_its_part_of_the_snapshot_comes_is_told_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observers, "TASKS_PER_PART", 1)
    agent, framework = cluster.agent(), cluster.framework()
    for name in ("t1", "t2"):
        cluster.launched(framework, agent, name, "cpus:0.1;mem:1")
    cluster.handle(events.ObserverJoined(1))
    identifier, _ = cluster.update(framework, agent, "t2", "TASK_FINISHED")
    cluster.acknowledge(framework, agent, "t2", identifier)
    assert published(cluster) == ["task_updated"]
    cluster.handle(events.ObserverReady(1))
    assert published(cluster) == ["snapshot_end"]
