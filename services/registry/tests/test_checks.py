"""Checks and health checks of tasks: which are launched, and which field of the others is wrong."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo_registry.testing import Cluster

TIMES = ("delay_seconds", "interval_seconds", "timeout_seconds")
Write = Callable[[mesos.TaskInfo], object]


def command_check(info: mesos.TaskInfo) -> None:
    info.check.type = mesos.CheckInfo.COMMAND
    info.check.command.command.value = "true"


def command_health_check(info: mesos.TaskInfo) -> None:
    info.health_check.type = mesos.HealthCheck.COMMAND
    info.health_check.command.value = "true"


def http_check(info: mesos.TaskInfo) -> None:
    info.check.type = mesos.CheckInfo.HTTP
    info.check.http.port = 80
    info.check.http.path = "/healthy"


def http_health_check(info: mesos.TaskInfo) -> None:
    info.health_check.type = mesos.HealthCheck.HTTP
    info.health_check.http.port = 80
    info.health_check.http.scheme = "https"
    info.health_check.http.path = "/healthy"


def tcp_check(info: mesos.TaskInfo) -> None:
    info.check.type = mesos.CheckInfo.TCP
    info.check.tcp.port = 80


def tcp_health_check(info: mesos.TaskInfo) -> None:
    info.health_check.type = mesos.HealthCheck.TCP
    info.health_check.tcp.port = 80


def arguments_alone(info: mesos.TaskInfo) -> None:
    command_check(info)
    info.check.command.command.ClearField("value")
    info.check.command.command.arguments.append("true")
    command_health_check(info)
    info.health_check.command.ClearField("value")
    info.health_check.command.arguments.append("true")


def no_waiting(info: mesos.TaskInfo) -> None:
    tcp_check(info)
    tcp_health_check(info)
    for name in TIMES:
        setattr(info.check, name, 0)
        setattr(info.health_check, name, 0)
    info.health_check.grace_period_seconds = 0


def no_path(info: mesos.TaskInfo) -> None:
    http_check(info)
    info.check.http.ClearField("path")
    http_health_check(info)
    info.health_check.http.ClearField("path")
    info.health_check.http.ClearField("scheme")


def launch(cluster: Cluster, *writes: Write) -> tuple[list[mesos.TaskInfo], list[str]]:
    """Launch a task; what of it reached its agent, and what was said about it."""
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    for write in writes:
        write(info)
    cluster.accept(framework, [offer], info)
    sent = [one.run_task.task for one in cluster.to_agent(agent) if one.HasField("run_task")]
    return sent, [status.message for status in cluster.statuses(framework)]


@pytest.mark.parametrize(
    "write",
    [
        command_check,
        command_health_check,
        http_check,
        http_health_check,
        tcp_check,
        tcp_health_check,
        arguments_alone,
        no_waiting,
        no_path,
    ],
)
def test_check_that_can_be_made_is_sent_to_the_agent(cluster: Cluster, write: Write) -> None:
    asked = mesos.TaskInfo()
    write(asked)
    (sent,), said = launch(cluster, write)
    assert said == []
    assert (sent.check, sent.health_check) == (asked.check, asked.health_check)


def set_to(path: str, value: object) -> Write:
    *parents, name = path.split(".")

    def write(info: mesos.TaskInfo) -> None:
        target: object = info
        for parent in parents:
            target = getattr(target, parent)
        setattr(target, name, value)

    return write


def without(path: str) -> Write:
    *parents, name = path.split(".")

    def write(info: mesos.TaskInfo) -> None:
        target: object = info
        for parent in parents:
            target = getattr(target, parent)
        target.ClearField(name)  # type: ignore[attr-defined]

    return write


WRONG: list[tuple[Write, Write, str]] = [
    (command_check, without("check.command.command.value"), "check.command.command.value"),
    (command_check, set_to("check.command.command.value", "a\0b"), "check.command.command.value"),
    (command_check, set_to("check.command.command.user", "a\0b"), "check.command.command.user"),
    (command_health_check, without("health_check.command.value"), "health_check.command.value"),
    (command_health_check, set_to("health_check.command.value", "a\0b"), "health_check.command.value"),
    (http_check, without("check.http"), "check.http"),
    (http_check, set_to("check.http.path", "healthy"), "check.http.path"),
    (http_health_check, without("health_check.http"), "health_check.http"),
    (http_health_check, set_to("health_check.http.path", "healthy"), "health_check.http.path"),
    (http_health_check, set_to("health_check.http.scheme", "ftp"), "health_check.http.scheme"),
    (tcp_check, without("check.tcp"), "check.tcp"),
    (tcp_health_check, without("health_check.tcp"), "health_check.tcp"),
    (tcp_check, set_to("check.type", mesos.CheckInfo.UNKNOWN), "check.type"),
    (tcp_health_check, set_to("health_check.type", mesos.HealthCheck.UNKNOWN), "health_check.type"),
    *(
        (write, set_to(f"check.{name}", -0.001), f"check.{name}")
        for write in (command_check, tcp_check)
        for name in TIMES
    ),
    *(
        (write, set_to(f"health_check.{name}", -0.001), f"health_check.{name}")
        for write in (command_health_check, tcp_health_check)
        for name in (*TIMES, "grace_period_seconds")
    ),
    (tcp_check, set_to("check.delay_seconds", float("nan")), "check.delay_seconds"),
]


@pytest.mark.parametrize(
    ("write", "spoil", "field"), WRONG, ids=[f"{number}-{field}" for number, (_, _, field) in enumerate(WRONG)]
)
def test_check_that_could_not_be_made_is_an_error_that_names_the_field(
    cluster: Cluster, write: Write, spoil: Write, field: str
) -> None:
    sent, (message,) = launch(cluster, write, spoil)
    assert sent == []
    assert message.startswith(f"accept.operations[0].launch.task_infos[0].{field}: ")
