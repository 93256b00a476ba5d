"""What runs holds of the agent's resources."""

from __future__ import annotations

from mezzo.resources import Resources
from mezzo_agent.core.model import Executor
from mezzo_agent.core.state import AgentState


def held_by(executor: Executor) -> Resources:
    """What an executor and its live tasks may use together, allocated to their roles."""
    lists = [executor.info.resources, *(task.info.resources for task in executor.live_tasks())]
    return Resources.sum(Resources.of(each) for each in lists)


def held(state: AgentState) -> Resources:
    """What everything that runs may use, as the agent's own resources would tell it."""
    executors = (each for framework in state.frameworks.values() for each in framework.executors.values())
    return Resources.sum(held_by(each).unallocated() for each in executors)
