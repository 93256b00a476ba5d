"""Which phase of a task, and which state of an executor, may follow which. What is not in a table is a defect."""

from __future__ import annotations

from mezzo_agent.core.model import ExecutorState, Phase

TASK_TRANSITIONS = {
    # Its container is being launched, or its executor has been sent it.
    (Phase.QUEUED, Phase.LAUNCHING),
    # An executor reports a task before it was sent it: from an earlier stream, or out of its own head.
    (Phase.QUEUED, Phase.RUNNING),
    # Killed, or its executor ended, before anything of it ran.
    (Phase.QUEUED, Phase.ENDED),
    # An executor that subscribes again did not receive it; or the agent restarted, and nothing of it runs.
    (Phase.LAUNCHING, Phase.QUEUED),
    # The agent restarted before the container was launched: it is launched once more.
    (Phase.LAUNCHING, Phase.LAUNCHING),
    (Phase.LAUNCHING, Phase.RUNNING),
    (Phase.LAUNCHING, Phase.ENDED),
    (Phase.RUNNING, Phase.ENDED),
}
"""A task that is refused has no transitions: it is ENDED from the beginning."""

EXECUTOR_TRANSITIONS = {
    # Launched; or launched once more, as the agent restarted before it was.
    (ExecutorState.RUNNING, ExecutorState.REGISTERING),
    (ExecutorState.REGISTERING, ExecutorState.RUNNING),
    (ExecutorState.REGISTERING, ExecutorState.TERMINATING),
    (ExecutorState.REGISTERING, ExecutorState.TERMINATED),
    (ExecutorState.RUNNING, ExecutorState.TERMINATING),
    (ExecutorState.RUNNING, ExecutorState.TERMINATED),
    (ExecutorState.TERMINATING, ExecutorState.TERMINATED),
}
"""Of custom executors alone: what supervises commands and pods is no process, and RUNNING until it is gone."""
