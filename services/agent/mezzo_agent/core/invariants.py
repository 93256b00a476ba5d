"""What must always be true of the agent's state. Checked after each test, and after each step of the simulation."""

from __future__ import annotations

from collections.abc import Iterable

from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState, Framework, Phase, Task
from mezzo_agent.core.state import AgentState


class InvariantViolation(AssertionError):
    """The state contradicts itself; the message ends with the last events."""


def check(state: AgentState, story: Iterable[str]) -> None:
    """Raises `InvariantViolation`."""
    problems = list(_problems(state))
    if problems:
        raise InvariantViolation("\n".join([*problems, "The last events:", *story]))


def _problems(state: AgentState) -> Iterable[str]:
    if state.registered and not state.agent_id:
        yield "registered without an id"
    expected: dict[str, object] = {}
    for framework_id, framework in state.frameworks.items():
        if framework_id != framework.id:
            yield f"framework {framework.id} is kept under {framework_id}"
        for executor in framework.executors.values():
            yield from _problems_of_executor(framework, executor)
            if executor.kind is ExecutorKind.CUSTOM:
                expected[executor.container_id] = executor
        for task in framework.tasks.values():
            yield from _problems_of_task(framework, task)
            if task.container_id is not None and task.phase is not Phase.ENDED:
                expected[task.container_id] = task
    if expected != state.containers:
        odd = expected.keys() ^ state.containers.keys()
        yield f"the index of containers is wrong about {sorted(odd) or 'who uses them'}"


def _problems_of_executor(framework: Framework, executor: Executor) -> Iterable[str]:
    where = f"executor {executor.id} of {framework.id}"
    if executor.state is ExecutorState.TERMINATED:
        yield f"{where} is TERMINATED, and still in the state"
    if executor.kind is ExecutorKind.COMMAND and list(executor.tasks) != [executor.id]:
        yield f"{where} stands for a command, and has the tasks {list(executor.tasks)}"
    if executor.kind is not ExecutorKind.CUSTOM and not executor.live_tasks():
        yield f"{where} has no live task, and is still in the state"
    for task in executor.tasks.values():
        if framework.tasks.get(task.id) is not task:
            yield f"{where} has task {task.id}, which its framework has not"


def _problems_of_task(framework: Framework, task: Task) -> Iterable[str]:
    where = f"task {task.id} of {framework.id}"
    if (task.phase is Phase.ENDED) != task.terminal:
        yield f"{where} is {task.phase}, and its state is {task.state}"
    if task.terminal and not task.pending:
        yield f"{where} has ended and is acknowledged, and still in the state"
    if task.pending and framework.shutting_down:
        yield f"{where} has updates for a framework that is gone"
    uuids = [status.uuid for status in task.pending]
    if len(set(uuids)) != len(uuids):
        yield f"{where} has an update twice"
    if task.executor is not None and task.executor.tasks.get(task.id) is not task:
        yield f"{where} is not known to its executor"
