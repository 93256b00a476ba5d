"""What must always be true of the agent's state. Checked after each test, and after each step of the simulation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from mezzo_agent.core.failures import InvariantViolation
from mezzo_agent.core.model import Executor, ExecutorKind, ExecutorState, Framework, Phase, Task
from mezzo_agent.core.state import AgentState


def check(state: AgentState) -> None:
    """Check the state, and every index into it.

    Raises:
        InvariantViolation: with everything that is wrong, and the last rows of the story.
    """
    problems = list(_problems(state))
    if problems:
        raise InvariantViolation("\n".join([*problems, "What happened before:", *state.story.last()]))


def _problems(state: AgentState) -> Iterator[str]:
    if state.registered and not state.agent_id:
        yield "registered without an id"
    for framework_id, framework in state.frameworks.items():
        if framework_id != framework.id:
            yield f"framework {framework.id} is kept under {framework_id}"
        if state.removal_reason is not None and not framework.shutting_down:
            yield f"framework {framework.id} goes on, on an agent that is being removed"
        yield from _problems_of_framework(framework)
        yield from _problems_of_what_has_ended(framework)
        for executor_id, executor in framework.executors.items():
            if executor_id != executor.id or executor.framework_id != framework.id:
                yield f"executor {executor.id} of {executor.framework_id} is kept under {executor_id} of {framework.id}"
            yield from _problems_of_executor(framework, executor)
        for task_id, task in framework.tasks.items():
            if task_id != task.id or task.framework_id != framework.id:
                yield f"task {task.id} of {task.framework_id} is kept under {task_id} of {framework.id}"
            if task.group > state.group_count:
                yield f"task {task.id} of {framework.id} is of group {task.group}, of {state.group_count}"
            yield from _problems_of_task(framework, task)
    yield from _problems_of_containers(state)
    yield from _problems_of_connections(state)
    yield from _problems_of_completed_frameworks(state)


def _problems_of_framework(framework: Framework) -> Iterator[str]:
    if framework.idle and framework.shutting_down:
        yield f"framework {framework.id} is shut down, and still in the state"
    if not framework.idle and not framework.persisted and not framework.shutting_down:
        yield f"framework {framework.id} has executors or tasks, and is not in the journal"


def _problems_of_what_has_ended(framework: Framework) -> Iterator[str]:
    """Executors that are closed, and tasks of which nothing is open any more: kept to be shown, and nothing else."""
    for executor in framework.completed_executors:
        if framework.executors.get(executor.id) is executor:
            yield f"executor {executor.id} of {framework.id} is completed, and still in the state"
        if executor.live_tasks():
            yield f"executor {executor.id} of {framework.id} is completed, and has live tasks"
    for executor in (*framework.executors.values(), *framework.completed_executors):
        for task in executor.completed_tasks:
            if framework.tasks.get(task.id) is task or executor.tasks.get(task.id) is task:
                yield f"task {task.id} of {framework.id} is completed, and still in the state"
            if not task.terminal:
                yield f"task {task.id} of {framework.id} is completed, and has not ended"


def _problems_of_executor(framework: Framework, executor: Executor) -> Iterator[str]:
    where = f"executor {executor.id} of {framework.id}"
    if executor.state is ExecutorState.TERMINATED:
        yield f"{where} is TERMINATED, and still in the state"
    if executor.kind is not ExecutorKind.CUSTOM and executor.state is not ExecutorState.RUNNING:
        yield f"{where} is no process, and {executor.state}"
    if executor.kind is ExecutorKind.COMMAND and list(executor.tasks) != [executor.id]:
        yield f"{where} stands for a command, and has the tasks {list(executor.tasks)}"
    if executor.kind is not ExecutorKind.CUSTOM and not executor.live_tasks():
        yield f"{where} has no live task, and is still in the state"
    for task_id, task in executor.tasks.items():
        if framework.tasks.get(task_id) is not task:
            yield f"{where} has task {task_id}, which its framework has not"
        if task.executor is not executor:
            yield f"{where} has task {task_id}, which is another's"


def _problems_of_task(framework: Framework, task: Task) -> Iterator[str]:
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
    states = [status.state for status in task.statuses]
    if len(set(states)) != len(states):
        yield f"{where} has two statuses of one state"
    if states and states[-1] != task.state:
        yield f"{where} is in state {task.state}, and its newest status is of {states[-1]}"
    if task.executor is not None:
        if task.executor.tasks.get(task.id) is not task:
            yield f"{where} is not known to its executor"
        if task.phase is not Phase.ENDED and framework.executors.get(task.executor.id) is not task.executor:
            yield f"{where} runs, and its executor is not in the state"
    elif task.phase is not Phase.ENDED:
        yield f"{where} has no executor, and has not ended"


def _problems_of_containers(state: AgentState) -> Iterator[str]:
    expected: dict[str, Task | Executor] = {}
    for framework in state.frameworks.values():
        for executor in framework.executors.values():
            if executor.kind is ExecutorKind.CUSTOM:
                expected[executor.container_id] = executor
        for task in framework.tasks.values():
            if task.container_id is not None and task.phase is not Phase.ENDED:
                if task.container_id in expected:
                    yield f"two run in container {task.container_id}"
                expected[task.container_id] = task
    if expected != state.containers:
        odd = expected.keys() ^ state.containers.keys()
        yield f"the index of containers is wrong about {sorted(odd) or 'who uses them'}"


def _problems_of_connections(state: AgentState) -> Iterator[str]:
    yield from _twice(
        "connection",
        (
            executor.connection
            for framework in state.frameworks.values()
            for executor in framework.executors.values()
            if executor.connection is not None
        ),
    )


def _problems_of_completed_frameworks(state: AgentState) -> Iterator[str]:
    yield from _twice("completed framework", (framework.id for framework in state.completed_frameworks))
    for framework in state.completed_frameworks:
        if framework.id in state.frameworks:
            yield f"framework {framework.id} is completed, and still in the state"
        if not framework.idle:
            yield f"framework {framework.id} is completed, and has executors or tasks"
        if not framework.completed_executors:
            yield f"framework {framework.id} is completed, and never had executors"


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{what} {name} is there {count} times"
