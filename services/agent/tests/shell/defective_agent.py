"""The agent, with a defect put into its real core: `MEZZO_TEST_DEFECT="<kind of event> <task> <file>"`.

Every such event about the task meets it; with a file, only the first: that makes the file.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mezzo_agent import app
from mezzo_agent.core import subjects
from mezzo_agent.core.agent import Agent
from mezzo_agent.core.effects import Effect
from mezzo_agent.core.events import Event
from mezzo_agent.core.model import Task
from mezzo_agent.core.recovery import Reconnection
from mezzo_agent.ports import RecoveredContainer


class Plan:
    """Whom the defect is about, and how often it is met."""

    def __init__(self, words: str) -> None:
        self.event, self.task_id, *file = words.split()
        self._file = Path(file[0]) if file else None

    def meet(self) -> None:
        if self._file is None or not self._file.exists():
            if self._file is not None:
                self._file.touch()
            raise ZeroDivisionError("a mistake of ours")


def main(argv: Sequence[str] | None = None) -> int:
    plan = Plan(os.environ["MEZZO_TEST_DEFECT"])
    handle, recover = Agent.handle, Reconnection.task

    def defective_handle(agent: Agent, event: Event, *, now: float) -> list[Effect]:
        about = subjects.of_event(event, agent.state)
        if about.event == plan.event and plan.task_id in about.task_ids:
            plan.meet()
        return handle(agent, event, now=now)

    def defective_recovery(reconnection: Reconnection, task: Task, found: RecoveredContainer, *, intact: bool) -> None:
        if plan.event == "containers_recovered" and task.id == plan.task_id:
            plan.meet()
        recover(reconnection, task, found, intact=intact)

    setattr(Agent, "handle", defective_handle)  # noqa: B010  for mypy a method is not assigned
    setattr(Reconnection, "task", defective_recovery)  # noqa: B010
    return app.main(argv)


if __name__ == "__main__":
    sys.exit(main())
