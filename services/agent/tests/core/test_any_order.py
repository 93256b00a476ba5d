"""Whatever happens in whatever order, with the agent killed in between: the state is whole, and each task ends once."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.errors import MezzoError
from mezzo.task_states import TERMINAL
from mezzo_agent.core import events as happened
from mezzo_agent.core.model import Executor, Phase, Task
from mezzo_agent.ports import RecoveredContainer, RecoveredState, Termination
from services.agent.tests.conftest import Conversation, Tasks

STEPS = 400
LAUNCH_FAILED = mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED


class Walk:
    """Random events that could happen next, on an agent with a framework that acknowledges now and then."""

    def __init__(self, seed: int, conversation: Conversation, tasks: type[Tasks]) -> None:
        self.random = random.Random(seed)
        self.agent = conversation
        self.tasks = tasks
        self.asked: list[str] = []
        self.running: set[str] = set()
        # By task: uuid → status, in the order in which they first came; and what was acknowledged.
        self.received: dict[str, dict[bytes, mesos.TaskStatus]] = {}
        self.acknowledged: set[bytes] = set()
        self.connections = 0
        self.uuids = 0

    def listen(self) -> None:
        self.running |= {config.container_id for config in self.agent.launched()}
        for status in self.agent.updates():
            self.received.setdefault(status.task_id.value, {}).setdefault(status.uuid, status)

    def step(self) -> None:
        action = self.random.choices(
            [
                self.launch,
                self.start,
                self.end,
                self.kill,
                self.acknowledge,
                self.update,
                self.subscribe,
                self.fire,
                self.reconnect,
                self.restart,
            ],
            weights=[6, 8, 5, 2, 14, 6, 3, 2, 1, 1],
        )[0]
        self.agent.now += self.random.random()
        self.agent.effects = []
        action()
        self.listen()

    def launch(self) -> None:
        task_id = f"t{len(self.asked)}"
        self.asked.append(task_id)
        kind = self.random.choice(["command", "executor", "pod"])
        if kind == "command":
            self.agent.run(self.tasks.command(task_id))
        elif kind == "executor":
            self.agent.run(self.tasks.executor(task_id, f"E{self.random.randrange(2)}"))
        else:
            self.asked.append(f"{task_id}-twin")
            group = mesos.TaskGroupInfo(tasks=[self.tasks.command(task_id), self.tasks.command(f"{task_id}-twin")])
            executor = mesos.ExecutorInfo(type=mesos.ExecutorInfo.DEFAULT, executor_id=mesos.ExecutorID(value="P"))
            run = session.RunTaskGroup(framework_id=mesos.FrameworkID(value="F1"), executor=executor, task_group=group)
            self.agent.receive(run_task_group=run)

    def _subject(self) -> tuple[str, Task | Executor] | None:
        known = [(each, self.agent.agent.state.containers[each]) for each in self.agent.agent.containers()]
        return self.random.choice(known) if known else None

    def start(self) -> None:
        known = self._subject()
        if known is None or known[0] not in self.running:
            return
        container_id, subject = known
        launching = isinstance(subject, Executor) or subject.phase is Phase.LAUNCHING
        if not launching:
            return
        if self.random.random() < 0.1:
            self.running.discard(container_id)
            self.agent.handle(happened.ContainerNotStarted(container_id, LAUNCH_FAILED, "no luck"))
        else:
            self.agent.handle(happened.ContainerStarted(container_id, 7))

    def end(self) -> None:
        known = self._subject()
        if known is not None and known[0] in self.running:
            self.running.discard(known[0])
            self.agent.end(known[0], self.random.choice([0, 1 << 8, 9, None]))

    def kill(self) -> None:
        if self.asked:
            self.agent.kill(self.random.choice(self.asked))

    def acknowledge(self) -> None:
        waiting = [
            status
            for statuses in self.received.values()
            for uuid, status in statuses.items()
            if uuid not in self.acknowledged
        ]
        if waiting:
            status = self.random.choice(waiting)
            self.acknowledged.add(status.uuid)
            self.agent.acknowledge(status)

    def _executor(self) -> str:
        return f"E{self.random.randrange(2)}"

    def subscribe(self) -> None:
        self.connections += 1
        self._try(lambda: self.agent.subscribe(f"c{self.connections}", self._executor()))

    def update(self) -> None:
        if not self.asked:
            return
        self.uuids += 1
        state = self.random.choice(["TASK_RUNNING", "TASK_FINISHED", "TASK_FAILED"])
        uuid = self.uuids.to_bytes(16, "little")
        task_id = self.random.choice(self.asked)
        self._try(lambda: self.agent.executor_update(task_id, state, uuid, caller=self._executor()))

    @staticmethod
    def _try(call: Callable[[], object]) -> None:
        try:
            call()
        except MezzoError:
            return  # refused, as wrong calls are

    def fire(self) -> None:
        kind = self.random.choice(list(happened.TimerKind))
        subject = self._executor() if kind.value.startswith("executor") else self.random.choice(self.asked or ["t0"])
        self.agent.fire(kind, subject)

    def reconnect(self) -> None:
        self.agent.handle(happened.SessionClosed())
        self.register()

    def register(self) -> None:
        """The registry tells of the framework in every session before it names it."""
        self.agent.register()
        self.listen()
        self.agent.add_framework()

    def restart(self) -> None:
        """kill -9: what is in the journal is all that is left; containers go on, or end meanwhile."""
        self.agent = self.agent.restart()
        self.agent.new_ids_from(self.random.getrandbits(60))
        found = {}
        for container_id in self.agent.agent.containers():
            if container_id not in self.running:
                found[container_id] = RecoveredContainer(container_id, RecoveredState.UNKNOWN)
            elif self.random.random() < 0.3:
                self.running.discard(container_id)
                ended = Termination(self.random.choice([0, 1 << 8, 9]))
                found[container_id] = RecoveredContainer(container_id, RecoveredState.ENDED, termination=ended)
            else:
                found[container_id] = RecoveredContainer(container_id, RecoveredState.RUNNING, 7)
        self.agent.handle(happened.ContainersRecovered(found))
        self.listen()
        self.register()

    def finish(self) -> None:
        """Everything ends, and everything is acknowledged."""
        for container_id in self.agent.agent.containers():
            self.agent.end(container_id)
            self.listen()
        self.register()
        while waiting := [
            status
            for statuses in self.received.values()
            for status in statuses.values()
            if status.uuid not in self.acknowledged
        ]:
            for status in waiting:
                self.acknowledged.add(status.uuid)
                self.agent.acknowledge(status)
                self.listen()


@pytest.mark.parametrize("seed", range(12))
def test_state_is_whole_and_every_task_ends_exactly_once(agent: Conversation, tasks: type[Tasks], seed: int) -> None:
    walk = Walk(seed, agent, tasks)
    for _ in range(STEPS):
        walk.step()
    walk.finish()
    assert walk.agent.agent.state.frameworks["F1"].idle
    for task_id in walk.asked:
        states = [status.state for status in walk.received[task_id].values()]
        assert sum(state in TERMINAL for state in states) == 1, task_id
        assert states[-1] in TERMINAL
