"""How much memory a message may take is known before it is read."""

import tracemalloc

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import InvalidRequest
from mezzo.parsing import DEPTH_MAX, MESSAGES_MAX, parse

Call = scheduler.Call


def launching(*tasks_by_operation: int) -> bytes:
    """An ACCEPT with operations of so many tasks, of which nothing is said."""
    call = Call(type=Call.ACCEPT)
    for tasks in tasks_by_operation:
        launch = call.accept.operations.add().launch
        for _ in range(tasks):
            launch.task_infos.add()
    return call.SerializePartialToString()


def test_a_message_is_read_as_protobuf_reads_it() -> None:
    call = Call(type=Call.ACCEPT, accept=Call.Accept(offer_ids=[mesos.OfferID(value="o")]))
    call.accept.operations.add().launch.task_infos.add(name="t").limits["cpus"].value = 1
    data = call.SerializePartialToString()
    for messages_max in (10, MESSAGES_MAX):
        assert parse(Call, data, messages_max).SerializePartialToString(deterministic=True) == data


@pytest.mark.parametrize("tasks", [(20,), (10, 10), (1,) * 8])
def test_messages_are_counted_on_all_levels(tasks: tuple[int, ...]) -> None:
    # The call's own, an operation and a launch each, and the tasks.
    messages = 1 + 2 * len(tasks) + sum(tasks)
    assert len(parse(Call, launching(*tasks), messages).accept.operations) == len(tasks)
    with pytest.raises(InvalidRequest, match="too many messages"):
        parse(Call, launching(*tasks), messages - 1)


def test_parts_that_would_be_merged_are_counted_each() -> None:
    with pytest.raises(InvalidRequest, match="too many messages"):
        parse(Call, launching(3) * 4, 10)


@pytest.mark.parametrize("data", [b"garbage", b"\x0a\x10x", launching(3)[:-1]])
def test_what_is_no_such_message_is_refused(data: bytes) -> None:
    for messages_max in (1, MESSAGES_MAX):
        with pytest.raises(InvalidRequest, match="the body is not a Call in protobuf"):
            parse(Call, data, messages_max)


def nested(depth: int, innermost: str = "") -> bytes:
    """A container in so many others."""
    data = mesos.ContainerID(value=innermost).SerializeToString()
    tag = mesos.ContainerID.DESCRIPTOR.fields_by_name["parent"].number << 3 | 2
    for _ in range(depth):
        length, rest = [], len(data)
        while rest > 127:
            length.append(rest & 127 | 128)
            rest >>= 7
        data = bytes([tag, *length, rest]) + data
    return data


def test_messages_within_messages_are_not_kept_once_for_each_level() -> None:
    data = nested(DEPTH_MAX - 10, "x" * 100_000)
    tracemalloc.start()
    try:
        parse(mesos.ContainerID, data, DEPTH_MAX)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(data)


def test_what_is_too_deep_is_refused() -> None:
    data = nested(2 * DEPTH_MAX)
    with pytest.raises(InvalidRequest, match="the body is not a ContainerID"):
        parse(mesos.ContainerID, data, DEPTH_MAX + 50)
