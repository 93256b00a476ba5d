"""The event stream of operators: what each change of the state copy is called there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mesos.v1.master.master_pb2 import Event
from mezzo_gateway.state import v1
from mezzo_gateway.state.cluster import (
    AgentAppeared,
    AgentDisappeared,
    Cluster,
    Fact,
    FrameworkAppeared,
    FrameworkDisappeared,
    FrameworkUpdated,
    TaskAdvanced,
    TaskAppeared,
)


def heartbeat() -> Event:
    """A sign of life."""
    return Event(type=Event.HEARTBEAT)


def event_of(cluster: Cluster, fact: Fact) -> Event:
    """The event that tells of `fact`."""
    return _EVENTS[type(fact)](cluster, fact)


def _agent_appeared(cluster: Cluster, fact: AgentAppeared) -> Event:
    event = Event(type=Event.AGENT_ADDED)
    event.agent_added.agent.CopyFrom(v1.agent_message(cluster, fact.agent))
    return event


def _agent_disappeared(_: Cluster, fact: AgentDisappeared) -> Event:
    event = Event(type=Event.AGENT_REMOVED)
    event.agent_removed.agent_id.value = fact.agent_id
    return event


def _framework_appeared(_: Cluster, fact: FrameworkAppeared) -> Event:
    event = Event(type=Event.FRAMEWORK_ADDED)
    event.framework_added.framework.CopyFrom(v1.framework_message(fact.framework))
    return event


def _framework_updated(_: Cluster, fact: FrameworkUpdated) -> Event:
    event = Event(type=Event.FRAMEWORK_UPDATED)
    event.framework_updated.framework.CopyFrom(v1.framework_message(fact.framework))
    return event


def _framework_disappeared(_: Cluster, fact: FrameworkDisappeared) -> Event:
    event = Event(type=Event.FRAMEWORK_REMOVED)
    assert fact.framework.message is not None
    event.framework_removed.framework_info.CopyFrom(fact.framework.message.framework_info)
    return event


def _task_appeared(_: Cluster, fact: TaskAppeared) -> Event:
    event = Event(type=Event.TASK_ADDED)
    event.task_added.task.CopyFrom(fact.task.task)
    return event


def _task_advanced(_: Cluster, fact: TaskAdvanced) -> Event:
    event = Event(type=Event.TASK_UPDATED)
    updated = event.task_updated
    updated.framework_id.CopyFrom(fact.task.task.framework_id)
    updated.status.CopyFrom(fact.status)
    updated.state = fact.task.task.state
    return event


_EVENTS: dict[type, Callable[[Cluster, Any], Event]] = {
    AgentAppeared: _agent_appeared,
    AgentDisappeared: _agent_disappeared,
    FrameworkAppeared: _framework_appeared,
    FrameworkUpdated: _framework_updated,
    FrameworkDisappeared: _framework_disappeared,
    TaskAppeared: _task_appeared,
    TaskAdvanced: _task_advanced,
}
