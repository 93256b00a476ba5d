"""ACCEPT: what is launched on offers, alone and in groups, and why it is refused."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import TEXT_CHARACTERS_MAX
from mezzo.resources import Resources, parse
from mezzo.resources.kind import REMEMBERED_MAX
from mezzo_registry.testing import Cluster, FakeFramework

Call = scheduler.Call
Operation = mesos.Offer.Operation


def errors(cluster: Cluster, framework: FakeFramework) -> list[tuple[str, str, str]]:
    """Task, state and reason of the updates of the last exchange."""
    return [
        (one.task_id.value, mesos.TaskState.Name(one.state), mesos.TaskStatus.Reason.Name(one.reason))
        for one in cluster.statuses(framework)
    ]


def test_launched_task_is_sent_to_its_agent(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["web"])
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024", "web")
    cluster.accept(framework, [offer], cluster.task_info(offer), refuse=0.0)
    update, run = cluster.to_agent(agent)
    assert update.framework_update.framework_info.id.value == framework.id
    assert run.run_task.framework_id.value == framework.id
    assert run.run_task.task.task_id.value == "t1"
    assert {one.allocation_info.role for one in run.run_task.task.resources} == {"web"}
    (back,) = cluster.to_allocator()
    assert str(Resources.of(back.recovered.resources)) == "cpus(allocated: web):1; mem(allocated: web):896"
    assert back.recovered.filters.HasField("refuse_seconds")
    assert back.recovered.filters.refuse_seconds == 0.0


def test_agent_is_told_of_a_framework_once(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent, "t1")
    cluster.launched(framework, agent, "t2")
    assert [one.WhichOneof("message") for one in cluster.to_agent(agent)] == ["run_task"]


def test_accept_without_tasks_is_a_decline(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.accept(framework, [cluster.offer(framework, agent)])
    (back,) = cluster.to_allocator()
    assert back.recovered.filters.refuse_seconds == 5.0
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]


def test_several_offers_of_one_agent_are_used_as_one(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offers = [cluster.offer(framework, agent, "cpus:1;mem:128") for _ in range(2)]
    cluster.accept(framework, offers, cluster.task_info(agent, "wide", "cpus:2;mem:200"))
    assert [one.WhichOneof("message") for one in cluster.to_agent(agent)] == ["framework_update", "run_task"]
    assert cluster.recovered() == ["mem(allocated: *):56"]


def test_task_on_an_offer_that_is_gone_is_lost(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    gone = mesos.Offer(id=mesos.OfferID(value="no-such-offer-O99"))
    cluster.accept(framework, [gone], cluster.task_info(agent))
    assert errors(cluster, framework) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]
    (status,) = cluster.statuses(framework)
    assert "no-such-offer-O99 is no longer valid" in status.message
    assert status.agent_id.value == agent.id
    assert status.source == mesos.TaskStatus.SOURCE_MASTER
    assert not status.HasField("uuid")


def test_task_on_an_offer_that_is_gone_is_dropped_for_a_partition_aware_framework(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("PARTITION_AWARE")
    cluster.accept(framework, [mesos.Offer(id=mesos.OfferID(value="gone"))], cluster.task_info(agent))
    assert errors(cluster, framework) == [("t1", "TASK_DROPPED", "REASON_INVALID_OFFERS")]


def test_offers_of_two_agents_cannot_be_combined(cluster: Cluster) -> None:
    agents, framework = [cluster.agent(), cluster.agent()], cluster.framework()
    offers = [cluster.offer(framework, agent) for agent in agents]
    cluster.accept(framework, offers, cluster.task_info(agents[0]))
    assert errors(cluster, framework) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]
    assert cluster.registry.state.offers == {}
    assert len(cluster.recovered()) == 2


def test_offers_for_two_roles_cannot_be_combined(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["a", "b"])
    offers = [cluster.offer(framework, agent, "cpus:1;mem:128", role) for role in ("a", "b")]
    cluster.accept(framework, offers, cluster.task_info(agent))
    assert errors(cluster, framework) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]


def test_offer_named_twice_makes_the_call_invalid(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [offer, offer], cluster.task_info(agent))
    assert errors(cluster, framework) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]


def test_offer_of_another_framework_cannot_be_used(cluster: Cluster) -> None:
    agent, framework, other = cluster.agent(), cluster.framework(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.accept(other, [offer], cluster.task_info(agent))
    assert errors(cluster, other) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]
    assert offer.id.value in cluster.registry.state.offers


def test_accept_of_no_offers_starts_nothing(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.accept(framework, [], cluster.task_info(agent))
    assert errors(cluster, framework) == [("t1", "TASK_LOST", "REASON_INVALID_OFFERS")]


def change(path: str, value: object) -> Callable[[mesos.TaskInfo], None]:
    """Sets a field of a task."""

    def set_field(info: mesos.TaskInfo) -> None:
        *parents, name = path.split(".")
        target: object = info
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)

    return set_field


def every_other_port(count: int) -> list[mesos.Resource]:
    """One resource, in so many pieces."""
    ports = mesos.Resource(name="ports", type=mesos.Value.RANGES)
    for number in range(count):
        ports.ranges.range.add(begin=2 * number, end=2 * number)
    return [ports]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (change("task_id.value", "bad/id"), "task_id.value"),
        (change("task_id.value", ""), "task_id.value"),
        (change("task_id.value", ".."), "task_id.value"),
        (change("task_id.value", "x" * 256), "task_id.value"),
        (change("task_id.value", "€" * 200), "task_id.value"),
        (change("command.value", "a\0b"), "command.value"),
        (change("agent_id.value", "other"), "agent_id.value"),
        (change("kill_policy.grace_period.nanoseconds", -1), "kill_policy.grace_period"),
        (change("max_completion_time.nanoseconds", -1), "max_completion_time"),
        (lambda info: info.ClearField("resources"), "resources"),
        (lambda info: info.ClearField("command"), ""),
        (lambda info: setattr(info.executor.executor_id, "value", "e"), ""),
        (lambda info: setattr(info.resources[0].scalar, "value", -1), "resources[0].scalar.value"),
        (lambda info: setattr(info.resources[0].allocation_info, "role", "x"), "resources[0].allocation_info.role"),
        (lambda info: info.command.environment.variables.add(name="A"), "command.environment.variables[0].value"),
        (lambda info: setattr(info.health_check, "type", mesos.HealthCheck.HTTP), "health_check.http"),
        (lambda info: setattr(info.check, "type", mesos.CheckInfo.TCP), "check.tcp"),
        (change("container.type", mesos.ContainerInfo.DOCKER), "container.docker"),
        (lambda info: setattr(info.limits["disk"], "value", 1), "limits['disk']"),
        (lambda info: setattr(info.limits["cpus"], "value", 0.5), "limits['cpus']"),
        (lambda info: setattr(info.limits["mem"], "value", 1e308), "limits['mem']"),
        (lambda info: setattr(info.limits["mem"], "value", float("nan")), "limits['mem']"),
        (lambda info: info.labels.labels.add(key="k", value="x" * 300_000), "labels.labels[0].value"),
        (lambda info: [info.labels.labels.add(key="k", value="x" * 200_000) for _ in range(2)], "labels.labels"),
        (lambda info: info.command.arguments.extend(["x"] * 10_001), "command.arguments"),
        (lambda info: info.resources.extend(every_other_port(32_769)), "resources[2].ranges.range"),
    ],
)
def test_task_that_makes_no_sense_is_an_error_that_names_the_field(
    cluster: Cluster, spoil: Callable[[mesos.TaskInfo], None], field: str
) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    spoil(info)
    cluster.accept(framework, [offer], info, cluster.task_info(offer, "good"))
    ((_, state, reason),) = errors(cluster, framework)
    assert (state, reason) == ("TASK_ERROR", "REASON_TASK_INVALID")
    where = "accept.operations[0].launch.task_infos[0]"
    assert cluster.statuses(framework)[0].message.startswith(f"{where}.{field}: " if field else f"{where}: ")
    runs = [one.run_task.task.task_id.value for one in cluster.to_agent(agent) if one.HasField("run_task")]
    assert runs == ["good"]


def test_task_with_all_its_times_is_launched_with_them(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    info.max_completion_time.nanoseconds = 5_000_000_000
    info.kill_policy.grace_period.nanoseconds = 1
    cluster.accept(framework, [offer], info)
    assert errors(cluster, framework) == []
    (sent,) = [one.run_task.task for one in cluster.to_agent(agent) if one.HasField("run_task")]
    assert sent.max_completion_time.nanoseconds == 5_000_000_000
    assert sent.kill_policy.grace_period.nanoseconds == 1


def test_task_larger_than_its_offer_is_an_error(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [offer], cluster.task_info(offer, "too-big", "cpus:10000;mem:32"))
    assert errors(cluster, framework) == [("too-big", "TASK_ERROR", "REASON_TASK_INVALID")]
    message = cluster.statuses(framework)[0].message
    assert "cpus(allocated: *):10000; mem(allocated: *):32" in message
    assert "available cpus(allocated: *):2; mem(allocated: *):1024" in message
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]


def test_task_id_that_is_in_use_is_an_error(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent, "t1")
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [offer], cluster.task_info(offer, "t1"))
    assert errors(cluster, framework) == [("t1", "TASK_ERROR", "REASON_TASK_INVALID")]


def test_two_tasks_of_one_id_in_one_call_start_once(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.accept(framework, [offer], cluster.task_info(offer), cluster.task_info(offer))
    assert errors(cluster, framework) == [("t1", "TASK_ERROR", "REASON_TASK_INVALID")]


def executor(name: str = "e1", resources: str = "cpus:0.5;mem:64") -> mesos.ExecutorInfo:
    info = mesos.ExecutorInfo()
    info.executor_id.value = name
    info.command.value = "./executor"
    info.resources.extend(parse(resources).messages())
    return info


def test_custom_executor_is_paid_for_once(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    tasks = [cluster.task_info(offer, name, "cpus:0.5;mem:100") for name in ("t1", "t2")]
    for task in tasks:
        task.ClearField("command")
        task.executor.CopyFrom(executor())
    cluster.accept(framework, [offer], *tasks)
    assert cluster.recovered() == ["cpus(allocated: *):0.5; mem(allocated: *):760"]
    sent = [one.run_task.task for one in cluster.to_agent(agent) if one.HasField("run_task")]
    assert {one.executor.framework_id.value for one in sent} == {framework.id}
    again = cluster.offer(framework, agent, "cpus:0.5;mem:100")
    assert [one.value for one in again.executor_ids] == ["e1"]


def test_executor_that_differs_from_the_running_one_is_an_error(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    tasks = [cluster.task_info(offer, name, "cpus:0.1;mem:10") for name in ("t1", "t2")]
    for task, resources in zip(tasks, ("cpus:0.5;mem:64", "cpus:0.6;mem:64"), strict=True):
        task.ClearField("command")
        task.executor.CopyFrom(executor(resources=resources))
    cluster.accept(framework, [offer], *tasks)
    assert errors(cluster, framework) == [("t2", "TASK_ERROR", "REASON_TASK_INVALID")]


def rewritten(info: mesos.ExecutorInfo) -> mesos.ExecutorInfo:
    """The same executor as another client would write it."""
    other = executor(resources="mem:64;cpus:0.25")
    other.resources.extend(parse("cpus:0.25").messages())
    for resource in other.resources:
        resource.role = "*"
    other.type = mesos.ExecutorInfo.CUSTOM
    other.command.shell = True
    for uri in reversed(info.command.uris):
        other.command.uris.add(value=uri.value, extract=True, executable=False)
    other.labels.labels.add(key="version", value="2")
    other.shutdown_grace_period.nanoseconds = 10**9
    return other


def test_an_executor_that_is_written_in_another_way_is_the_running_one(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    tasks = [cluster.task_info(offer, name, "cpus:0.1;mem:10") for name in ("t1", "t2")]
    first = executor()
    for name in ("a", "b"):
        first.command.uris.add(value=f"http://files/{name}")
    for task, info in zip(tasks, (first, rewritten(first)), strict=True):
        task.ClearField("command")
        task.executor.CopyFrom(info)
    cluster.accept(framework, [offer], *tasks)
    assert errors(cluster, framework) == []
    assert cluster.recovered() == ["cpus(allocated: *):1.3; mem(allocated: *):940"]


def test_an_executor_that_its_agent_brought_back_is_the_one_that_tasks_name(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = executor()
    info.framework_id.value = framework.id
    for resource in info.resources:
        resource.allocation_info.role = "*"
    cluster.come_back(agent, executors=[info], frameworks=[framework.info])
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    task = cluster.task_info(offer, "t1", "cpus:0.1;mem:10")
    task.ClearField("command")
    task.executor.CopyFrom(rewritten(info))
    cluster.accept(framework, [offer], task)
    assert errors(cluster, framework) == []


def group_call(offer: mesos.Offer, *tasks: mesos.TaskInfo) -> scheduler.Call:
    call = Call(type=Call.ACCEPT)
    call.accept.offer_ids.append(offer.id)
    operation = call.accept.operations.add(type=Operation.LAUNCH_GROUP)
    operation.launch_group.executor.type = mesos.ExecutorInfo.DEFAULT
    operation.launch_group.executor.executor_id.value = "pod"
    operation.launch_group.executor.resources.extend(parse("cpus:0.1;mem:32").messages())
    operation.launch_group.task_group.tasks.extend(tasks)
    return call


def test_task_group_is_sent_as_one(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    tasks = [cluster.task_info(offer, name, "cpus:0.5;mem:100") for name in ("t1", "t2")]
    cluster.call(framework, group_call(offer, *tasks))
    (run,) = [one.run_task_group for one in cluster.to_agent(agent) if one.HasField("run_task_group")]
    assert [one.task_id.value for one in run.task_group.tasks] == ["t1", "t2"]
    assert run.executor.framework_id.value == framework.id
    assert cluster.recovered() == ["cpus(allocated: *):0.9; mem(allocated: *):792"]


def test_one_bad_task_spoils_its_group(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:2;mem:1024")
    tasks = [cluster.task_info(offer, name) for name in ("t1", "bad/id")]
    cluster.call(framework, group_call(offer, *tasks))
    assert errors(cluster, framework) == [
        ("t1", "TASK_ERROR", "REASON_TASK_GROUP_INVALID"),
        ("bad/id", "TASK_ERROR", "REASON_TASK_GROUP_INVALID"),
    ]
    assert cluster.to_agent(agent) == []
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]


def test_operation_that_is_not_supported_is_answered(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    call = Call(type=Call.ACCEPT)
    call.accept.offer_ids.append(offer.id)
    operation = call.accept.operations.add(type=Operation.RESERVE)
    operation.id.value = "op-1"
    operation.reserve.SetInParent()
    cluster.call(framework, call)
    (event,) = cluster.to_framework(framework)
    status = event.update_operation_status.status
    assert status.operation_id.value == "op-1"
    assert status.state == mesos.OPERATION_ERROR
    assert "RESERVE" in status.message
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]


def test_accept_with_too_many_ranges_in_all_is_refused_and_the_offer_stands(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    tasks = [cluster.task_info(offer, f"t{number}") for number in range(4)]
    for task in tasks:
        task.resources.extend(every_other_port(30_000))
    cluster.accept(framework, [offer], *tasks)
    assert cluster.refusal().startswith("InvalidRequest: accept.operations: has 120000 ranges and items of sets in all")
    cluster.accept(framework, [offer], cluster.task_info(offer))
    assert errors(cluster, framework) == []


def test_text_of_a_task_error_is_short_whatever_the_task_says(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    info.resources.extend(every_other_port(10_000))
    cluster.accept(framework, [offer], info)
    (status,) = cluster.statuses(framework)
    assert status.state == mesos.TASK_ERROR
    assert len(status.message) <= TEXT_CHARACTERS_MAX
    assert "… (9980 more), which is more than the available cpus" in status.message


def test_accept_with_too_many_tasks_is_refused(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    cluster.accept(framework, [offer], *[info] * 10_001)
    assert cluster.refusal().startswith("InvalidRequest: accept.operations[0].launch.task_infos: has 10001 items")
    assert offer.id.value in cluster.registry.state.offers


def test_fields_that_nobody_knows_change_nothing_for_others(cluster: Cluster) -> None:
    rogue, framework, agent = cluster.framework(), cluster.framework(), cluster.agent("cpus:4;mem:1024")
    call = Call(type=Call.REQUEST)
    resources = call.request.requests.add().resources
    for number in range(REMEMBERED_MAX):
        resources.extend(parse(f"r{number}:1").messages())
    resources.extend(parse("cpus:0.125").messages())
    resources[-1].MergeFromString(b"\xfa\x3e\x01x")
    cluster.call(rogue, call)
    offer = cluster.offer(framework, agent, "cpus:2;mem:512")
    cluster.accept(framework, [offer], cluster.task_info(offer, resources="cpus:0.375;mem:64"))
    assert errors(cluster, framework) == []
    assert (framework.id, "t1") in cluster.registry.state.agents[agent.id].tasks
