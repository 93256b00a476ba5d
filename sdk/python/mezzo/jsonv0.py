"""The JSON of Mesos' legacy (v0) endpoints (`/state`, `/slaves`, `/tasks`, …): shapes alone, for whoever serves them.

They differ from the messages of v1: names of old (`slave_id`), resources as sums by name, enums and ids flattened.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mezzo import jsonpb
from mezzo.confidential import withhold, without_credentials
from mezzo.resources import UNRESERVED_ROLE, Form, Resources, from_thousandths
from mezzo.resources.ranges import normalise
from mezzo.resources.ranges import text_of as ranges_text

Document = dict[str, Any]

ALWAYS = ("disk", "mem", "gpus", "cpus")


def resources(value: Resources) -> Document:
    """Sums by name: scalars as numbers, the common ones always there; ranges and sets as text.

    What is revocable stands by itself, as `cpus_revocable`.
    """
    scalars = dict.fromkeys(ALWAYS, 0)
    ranges: dict[str, list[tuple[int, int]]] = {}
    items: dict[str, set[str]] = {}
    for kind, amount in value.items():
        name = f"{kind.name}_revocable" if kind.revocable else kind.name
        if isinstance(amount, int):
            scalars[name] = scalars.get(name, 0) + kind.thousandths(amount)
        elif isinstance(amount, tuple):
            ranges.setdefault(name, []).extend(amount)
        else:
            items.setdefault(name, set()).update(amount)
    return sums(scalars, ranges, items)


def sums(
    scalars: Mapping[str, int], ranges: Mapping[str, Iterable[tuple[int, int]]], items: Mapping[str, Iterable[str]]
) -> Document:
    """The same of sums by name that are made already: thousandths, ranges in any order, items of sets."""
    document: Document = {name: from_thousandths(thousandths) for name, thousandths in scalars.items()}
    document.update((name, ranges_text(normalise(found))) for name, found in ranges.items())
    document.update((name, set_text(found)) for name, found in items.items())
    return document


def set_text(items: Iterable[str]) -> str:
    """As in `--resources`: `{sda1, sdb1}`."""
    return "{" + ", ".join(sorted(items)) + "}"


def resources_of(messages: Iterable[mesos.Resource]) -> Document:
    return resources(Resources.of(messages))


def resources_full(value: Resources) -> list[Document]:
    """Every resource as it is, in the form that operators see."""
    return [jsonpb.to_dict(message) for message in value.messages(Form.ENDPOINT)]


def reserved_resources(value: Resources) -> Document:
    """Sums of what is reserved, by role."""
    return {role: resources(part) for role, part in value.reserved_by_role().items()}


def reserved_resources_full(value: Resources) -> Document:
    return {role: resources_full(part) for role, part in value.reserved_by_role().items()}


def attributes(messages: Iterable[mesos.Attribute]) -> Document:
    """By name: numbers as numbers, everything else as text."""
    return {message.name: _attribute_value(message) for message in messages}


def _attribute_value(message: mesos.Attribute) -> Any:
    if message.type == mesos.Value.SCALAR:
        return _number(message.scalar.value)
    if message.type == mesos.Value.RANGES:
        return ranges_text(normalise((each.begin, each.end) for each in message.ranges.range))
    if message.type == mesos.Value.SET:
        return set_text(message.set.item)
    return message.text.value


def labels(message: mesos.Labels) -> list[Document]:
    return [jsonpb.to_dict(label) for label in message.labels]


def task_status(message: mesos.TaskStatus) -> Document:
    """One of a task's `statuses`: state, time and what is known of the container, but neither reason nor message."""
    document: Document = {
        "state": mesos.TaskState.Name(message.state),
        "timestamp": _number(message.timestamp),
    }
    if message.HasField("labels"):
        document["labels"] = labels(message.labels)
    if message.HasField("container_status"):
        status = jsonpb.to_dict(message.container_status)
        # The process is told by v1 alone.
        status.pop("executor_pid", None)
        document["container_status"] = status
    if message.HasField("healthy"):
        document["healthy"] = message.healthy
    if message.HasField("check_status"):
        document["check_status"] = jsonpb.to_dict(message.check_status)
    return document


def role_of(messages: Iterable[mesos.Resource]) -> str:
    """The role that resources are allocated to; those of a task or an executor all are to one."""
    return next((each.allocation_info.role for each in messages if each.HasField("allocation_info")), UNRESERVED_ROLE)


def task(message: mesos.Task) -> Document:
    """A task, as in `/tasks` and wherever tasks are listed."""
    document: Document = {
        "id": message.task_id.value,
        "name": message.name,
        "framework_id": message.framework_id.value,
        "executor_id": message.executor_id.value,
        "slave_id": message.agent_id.value,
        "state": mesos.TaskState.Name(message.state),
        "resources": resources_of(message.resources),
        "role": role_of(message.resources),
        "statuses": [task_status(status) for status in message.statuses],
    }
    if message.limits:
        document["limits"] = {name: _number(limit.value) for name, limit in message.limits.items()}
    if message.HasField("user"):
        document["user"] = message.user
    if message.HasField("labels"):
        document["labels"] = labels(message.labels)
    for name in ("discovery", "container", "health_check"):
        if message.HasField(name):
            document[name] = jsonpb.to_dict(getattr(message, name))
    return document


def _number(value: float) -> float | str | None:
    return value if math.isfinite(value) else jsonpb.beyond_json(value)


def command_info(message: mesos.CommandInfo) -> Document:
    """A command; the values of its variables are told as they are, secrets not at all."""
    document: Document = {
        "shell": message.shell,
        "argv": list(message.arguments),
        "uris": [_uri(uri) for uri in message.uris],
    }
    if message.HasField("value"):
        document["value"] = message.value
    if message.HasField("user"):
        document["user"] = message.user
    if message.HasField("environment"):
        document["environment"] = {
            "variables": [
                jsonpb.to_dict(variable)
                for variable in message.environment.variables
                if variable.type != mesos.Environment.Variable.SECRET
            ]
        }
    return document


def _uri(message: mesos.CommandInfo.URI) -> Document:
    document: Document = {
        "value": without_credentials(message.value),
        "executable": message.executable,
        "extract": message.extract,
        "cache": message.cache,
    }
    if message.HasField("output_file"):
        document["output_file"] = message.output_file
    return document


def executor_info(message: mesos.ExecutorInfo) -> Document:
    document: Document = {
        "executor_id": message.executor_id.value,
        "name": message.name,
        "framework_id": message.framework_id.value,
        "command": command_info(message.command),
        "resources": resources_of(message.resources),
    }
    if message.resources:
        document["role"] = role_of(message.resources)
    if message.HasField("type"):
        document["type"] = mesos.ExecutorInfo.Type.Name(message.type)
    if message.HasField("source"):
        document["source"] = message.source
    if message.HasField("labels"):
        document["labels"] = labels(message.labels)
    if message.HasField("container"):
        container = mesos.ContainerInfo()
        container.CopyFrom(message.container)
        withhold(container)
        document["container"] = jsonpb.to_dict(container)
    if message.HasField("discovery"):
        document["discovery"] = jsonpb.to_dict(message.discovery)
    return document
