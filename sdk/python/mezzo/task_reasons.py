"""The reasons of task statuses, in words."""

from __future__ import annotations

from collections.abc import Mapping

from mesos.v1 import mesos_pb2 as mesos

Reason = mesos.TaskStatus.Reason

REASONS: Mapping[Reason.ValueType, str] = {
    Reason.REASON_COMMAND_EXECUTOR_FAILED: "its executor failed",
    Reason.REASON_CONTAINER_LAUNCH_FAILED: "its container could not be launched",
    Reason.REASON_CONTAINER_LIMITATION: "it went over a limit of its container",
    Reason.REASON_CONTAINER_LIMITATION_DISK: "it used more disk than it was given",
    Reason.REASON_CONTAINER_LIMITATION_MEMORY: "it used more memory than it was given",
    Reason.REASON_CONTAINER_PREEMPTED: "its container was ended in favour of another",
    Reason.REASON_MAX_COMPLETION_TIME_REACHED: "it took longer than it was allowed to",
    Reason.REASON_EXECUTOR_REGISTRATION_TIMEOUT: "its executor did not subscribe in time",
    Reason.REASON_EXECUTOR_REREGISTRATION_TIMEOUT: "its executor did not subscribe again in time",
    Reason.REASON_EXECUTOR_TERMINATED: "its executor ended",
    Reason.REASON_FRAMEWORK_REMOVED: "its framework was removed",
    Reason.REASON_INVALID_OFFERS: "it was launched on offers that were not valid any more",
    Reason.REASON_RECONCILIATION: "its framework asked for its state",
    Reason.REASON_RESOURCES_UNKNOWN: "the agent does not have the resources that it was launched on",
    Reason.REASON_AGENT_DISCONNECTED: "its agent was not connected",
    Reason.REASON_AGENT_DRAINING: "its agent is drained",
    Reason.REASON_AGENT_REMOVED: "its agent was removed",
    Reason.REASON_AGENT_REMOVED_BY_OPERATOR: "an operator removed its agent",
    Reason.REASON_AGENT_REREGISTERED: "its agent came back",
    Reason.REASON_AGENT_RESTARTED: "its agent was restarted",
    Reason.REASON_TASK_KILLED_DURING_LAUNCH: "it was killed before it began",
    Reason.REASON_TASK_CHECK_STATUS_UPDATED: "its check has a new result",
    Reason.REASON_TASK_HEALTH_CHECK_STATUS_UPDATED: "its health check has a new result",
    Reason.REASON_TASK_INVALID: "its description is invalid",
    Reason.REASON_TASK_UNAUTHORIZED: "its framework may not launch it",
}
"""The others are told by their names."""


def reason(value: Reason.ValueType) -> str:
    """A reason in words, without a subject: `its container could not be launched`."""
    return REASONS.get(value) or Reason.Name(value).removeprefix("REASON_").lower().replace("_", " ")
