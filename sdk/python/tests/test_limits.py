"""No list and no text of a message is longer than the work on it, or the memory for it, can be."""

import sys
from types import FrameType
from typing import Any

import pytest
from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.maintenance import maintenance_pb2 as maintenance
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo import limits
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import TEXT_CHARACTERS_MAX, InvalidRequest, shorten

Call = scheduler.Call


def fill(message: Message, path: str, count: int) -> Message:
    """The message with so many items in a list, which may lie below others; or with so long a text."""
    *parents, name = path.split(".")
    target: Any = message
    for parent in parents:
        target = getattr(target, parent)
        if hasattr(target, "add"):
            target = target.add()
    held = getattr(target, name)
    if isinstance(held, str | bytes):
        setattr(target, name, type(held)(b"x" * count) if isinstance(held, bytes) else "x" * count)
    elif hasattr(held, "add"):
        for _ in range(count):
            held.add().SetInParent()
    else:
        held.extend(["x"] * count)
    return message


TOO_MUCH: list[tuple[type[Message], str, int]] = [
    (mesos.TaskInfo, "resources", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "resources.ranges.range", limits.RANGES_MAX),
    (mesos.TaskInfo, "resources.set.item", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "resources.reservations.labels.labels", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "labels.labels", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "labels.labels.key", limits.NAME_BYTES_MAX),
    (mesos.TaskInfo, "labels.labels.value", limits.TEXT_BYTES_MAX),
    (mesos.TaskInfo, "name", limits.NAME_BYTES_MAX),
    (mesos.TaskInfo, "data", limits.DATA_BYTES_MAX),
    (mesos.TaskInfo, "command.value", limits.TEXT_BYTES_MAX),
    (mesos.TaskInfo, "command.arguments", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "command.uris", limits.URIS_MAX),
    (mesos.TaskInfo, "command.environment.variables", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "command.environment.variables.value", limits.TEXT_BYTES_MAX),
    (mesos.TaskInfo, "container.volumes", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "container.network_infos.ip_addresses", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "container.docker.parameters", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "discovery.ports.ports", limits.LIST_ITEMS_MAX),
    (mesos.TaskInfo, "health_check.command.arguments", limits.LIST_ITEMS_MAX),
    (mesos.ExecutorInfo, "command.uris", limits.URIS_MAX),
    (mesos.ExecutorInfo, "data", limits.DATA_BYTES_MAX),
    (mesos.FrameworkInfo, "roles", limits.LIST_ITEMS_MAX),
    (mesos.FrameworkInfo, "principal", limits.NAME_BYTES_MAX),
    (mesos.FrameworkInfo, "webui_url", limits.TEXT_BYTES_MAX),
    (mesos.AgentInfo, "attributes", limits.LIST_ITEMS_MAX),
    (mesos.AgentInfo, "attributes.ranges.range", limits.RANGES_MAX),
    (maintenance.Schedule, "windows", limits.LIST_ITEMS_MAX),
    (maintenance.Schedule, "windows.machine_ids", limits.LIST_ITEMS_MAX),
    (master.Call, "update_weights.weight_infos", limits.ROLES_PER_CALL_MAX),
    (master.Call, "update_quota.quota_configs", limits.ROLES_PER_CALL_MAX),
    (master.Call, "set_quota.quota_request.guarantee", limits.LIST_ITEMS_MAX),
    (Call, "accept.offer_ids", limits.OFFERS_PER_CALL_MAX),
    (Call, "accept.offer_ids.value", limits.NAME_BYTES_MAX),
    (Call, "accept.operations", limits.LIST_ITEMS_MAX),
    (Call, "accept.operations.launch.task_infos", limits.TASKS_PER_CALL_MAX),
    (Call, "accept.operations.reserve.resources", limits.LIST_ITEMS_MAX),
    (Call, "decline.offer_ids", limits.OFFERS_PER_CALL_MAX),
    (Call, "decline_inverse_offers.inverse_offer_ids", limits.OFFERS_PER_CALL_MAX),
    (Call, "reconcile.tasks", limits.RECONCILED_PER_CALL_MAX),
    (Call, "reconcile_operations.operations", limits.RECONCILED_PER_CALL_MAX),
    (Call, "request.requests.resources", limits.LIST_ITEMS_MAX),
    (Call, "subscribe.suppressed_roles", limits.LIST_ITEMS_MAX),
    (Call, "message.data", limits.DATA_BYTES_MAX),
    (agent_session.Register, "frameworks.roles", limits.LIST_ITEMS_MAX),
]


@pytest.mark.parametrize(("kind", "path", "most"), TOO_MUCH)
def test_as_much_as_is_allowed_is_admitted_and_one_more_is_not(kind: type[Message], path: str, most: int) -> None:
    for check in (limits.check, limits.check_call):
        check(fill(kind(), path, most))
    for check in (limits.check, limits.check_call):
        with pytest.raises(InvalidRequest) as raised:
            check(fill(kind(), path, most + 1))
        assert raised.value.field.replace("[0]", "") == path
        assert f"at most {most} are allowed" in raised.value.message


def test_maps_are_limited_in_their_entries_and_keys() -> None:
    task = mesos.TaskInfo()
    for number in range(limits.LIST_ITEMS_MAX + 1):
        task.limits[str(number)].value = 1
    with pytest.raises(InvalidRequest, match=r"limits: has 10001 items"):
        limits.check(task)
    task.limits.clear()
    task.limits["x" * 5000].value = 1
    with pytest.raises(InvalidRequest, match=r"limits\['x+'\]: has 5000 bytes"):
        limits.check(task)


def test_texts_are_counted_in_bytes() -> None:
    limits.check(mesos.TaskInfo(name="x" * limits.NAME_BYTES_MAX))
    with pytest.raises(InvalidRequest, match="name: has 6000 bytes"):
        limits.check(mesos.TaskInfo(name="€" * 2000))


def test_tasks_of_a_call_are_left_to_whoever_launches_them() -> None:
    call = Call()
    operation = call.accept.operations.add()
    operation.launch.task_infos.add(name="x" * 5000)
    operation.launch_group.executor.name = "x" * 5000
    operation.launch_group.task_group.tasks.add(name="x" * 5000)
    limits.check_call(call)
    with pytest.raises(InvalidRequest, match=r"x\[2\]\.name: has 5000 bytes"):
        limits.check(operation.launch.task_infos[0], "x[2]")


def test_ranges_of_a_call_are_limited_together() -> None:
    ports = mesos.Resource(name="ports", type=mesos.Value.RANGES)
    for number in range(1000):
        ports.ranges.range.add(begin=number, end=number)
    one_item = mesos.Resource(name="disks", type=mesos.Value.SET, set=mesos.Value.Set(item=["a"]))
    limits.check_pieces([[ports]] * 100, "x")
    with pytest.raises(InvalidRequest, match="x: has 100001 ranges and items of sets in all"):
        limits.check_pieces([*[[ports]] * 100, [one_item]], "x")


def lines_run(message: Message) -> int:
    """How many lines of Python a check takes, once its tables are made."""
    limits.check(message)
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        limits.check(message)
    finally:
        sys.settrace(before)
    return count


def test_a_task_of_ordinary_size_is_admitted_by_its_size() -> None:
    task = mesos.TaskInfo(name="t", command=mesos.CommandInfo(value="./run"))
    while len(task.SerializePartialToString()) < 1200:
        task.labels.labels.add(key=f"label{len(task.labels.labels)}", value="x" * 20)
    assert lines_run(task) <= 10


def test_shortened_texts_say_how_much_was_left_out() -> None:
    assert shorten("x" * TEXT_CHARACTERS_MAX) == "x" * TEXT_CHARACTERS_MAX
    text = shorten("x" * 2_900_000)
    assert len(text) <= TEXT_CHARACTERS_MAX
    kept, _, rest = text.partition("… ")
    assert rest == f"({2_900_000 - len(kept)} characters left out)"
    assert shorten(text) == text
    assert shorten("abcdef", 3) == "… (6 characters left out)"
