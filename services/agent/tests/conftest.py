"""A conversation with the agent's core, and a fake containerizer for tests of the shell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as executor_api
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1 import checkpoint_pb2 as checkpoint
from mezzo.resources import parse
from mezzo_agent.core import Agent, Settings
from mezzo_agent.core import events as happened
from mezzo_agent.core.effects import (
    CancelTimer,
    DiscardSandbox,
    Effect,
    LaunchContainer,
    Persist,
    SendToExecutor,
    SendToRegistry,
    StartTimer,
)
from mezzo_agent.core.model import Task
from mezzo_agent.core.subjects import Subject
from mezzo_agent.ports import ContainerConfig, Termination

E = TypeVar("E", bound=Effect)
WORK_DIR = Path("/var/lib/mezzo")


class Conversation:
    """Tells an agent's core what happens, and keeps what it answers."""

    def __init__(
        self,
        records: list[checkpoint.CheckpointRecord] | None = None,
        defects: dict[Subject, str] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(**{"work_dir": WORK_DIR, "ip": "10.0.0.1", "port": 5051, **settings})
        self._numbers = itertools.count(1000 if records else 1)
        info = mesos.AgentInfo(hostname="h1", port=5051, resources=parse("cpus:8;mem:8192").messages())
        self.agent = Agent(self.settings, info, lambda: next(self._numbers).to_bytes(16, "big"))
        self.now = 1000.0
        self.journal: list[checkpoint.CheckpointRecord] = list(records or ())
        self.effects: list[Effect] = []
        # Of what a fixture has launched.
        self.container_id = ""
        self.configs: list[ContainerConfig] = []
        self.agent.restore(self.journal, defects)

    def new_ids_from(self, number: int) -> None:
        self._numbers = itertools.count(number)

    # --- what happens

    def handle(self, event: happened.Event) -> list[Effect]:
        self.effects = self.agent.handle(event, now=self.now)
        self.journal += [effect.record for effect in self.effects if isinstance(effect, Persist)]
        self.agent.validate()
        return self.effects

    def receive(self, **message: Any) -> list[Effect]:
        return self.handle(happened.RegistryMessageReceived(session.RegistryMessage(**message)))

    def register(self, agent_id: str = "S0") -> list[Effect]:
        self.handle(happened.SessionOpened())
        return self.receive(registered=session.Registered(agent_id=mesos.AgentID(value=agent_id)))

    def add_framework(self, framework_id: str = "F1", *capabilities: str, **fields: Any) -> None:
        types = [
            mesos.FrameworkInfo.Capability(type=mesos.FrameworkInfo.Capability.Type.Value(each))
            for each in capabilities
        ]
        info = mesos.FrameworkInfo(
            user="u", name="f", id=mesos.FrameworkID(value=framework_id), capabilities=types, **fields
        )
        self.receive(framework_update=session.FrameworkUpdate(framework_info=info))

    def run(self, task: mesos.TaskInfo, framework_id: str = "F1") -> list[Effect]:
        message = session.RunTask(framework_id=mesos.FrameworkID(value=framework_id), task=task)
        return self.receive(run_task=message)

    def run_command(self, task_id: str = "t1", **fields: Any) -> str:
        """Run it up to TASK_RUNNING; returns the container."""
        self.run(command_task(task_id, **fields))
        container_id = self.launched()[0].container_id
        self.handle(happened.ContainerStarted(container_id, 77))
        return container_id

    def kill(self, task_id: str = "t1", policy: mesos.KillPolicy | None = None) -> list[Effect]:
        ids: dict[str, Any] = {"framework_id": mesos.FrameworkID(value="F1"), "task_id": mesos.TaskID(value=task_id)}
        return self.receive(kill_task=session.KillTask(**ids, kill_policy=policy))

    def end(self, container_id: str, wait_status: int | None = 0, **more: Any) -> list[Effect]:
        return self.handle(happened.ContainerEnded(container_id, Termination(wait_status, **more)))

    def acknowledge(self, status: mesos.TaskStatus, framework_id: str = "F1") -> list[Effect]:
        message = session.AcknowledgeUpdate(
            framework_id=mesos.FrameworkID(value=framework_id), task_id=status.task_id, uuid=status.uuid
        )
        return self.receive(acknowledge_update=message)

    def acknowledge_all(self, framework_id: str = "F1") -> list[mesos.TaskStatus]:
        """As a framework that acknowledges whatever comes; returns what came, the updates in `effects` first."""
        seen = []
        waiting = self.updates()
        while waiting:
            status = waiting.pop(0)
            seen.append(status)
            self.acknowledge(status, framework_id)
            waiting += self.updates()
        return seen

    def fire(self, kind: happened.TimerKind, subject_id: str = "t1", framework_id: str = "F1") -> list[Effect]:
        return self.handle(happened.TimerFired(happened.Timer(kind, framework_id, subject_id)))

    def executor_call(self, type_: str, token: str | None = None, executor_id: str = "E1", **member: Any) -> None:
        self.handle(happened.ExecutorCalled(_call(type_, executor_id, **member), token))

    def subscribe(
        self, connection: str = "c1", executor_id: str = "E1", token: str | None = None, **fields: Any
    ) -> None:
        call = _call("SUBSCRIBE", executor_id, subscribe=executor_api.Call.Subscribe(**fields))
        self.handle(happened.ExecutorSubscribed(call, token, connection))

    def executor_update(self, task_id: str, state: str, uuid: bytes, caller: str = "E1", **fields: Any) -> None:
        status = mesos.TaskStatus(
            task_id=mesos.TaskID(value=task_id), state=mesos.TaskState.Value(state), uuid=uuid, **fields
        )
        self.executor_call("UPDATE", executor_id=caller, update=executor_api.Call.Update(status=status))

    # --- what it answers

    def sent(self, kind: str) -> list[Any]:
        messages = [effect.message for effect in self.effects if isinstance(effect, SendToRegistry)]
        return [getattr(message, kind) for message in messages if message.WhichOneof("message") == kind]

    def updates(self) -> list[mesos.TaskStatus]:
        return [update.status for update in self.sent("task_update")]

    def states(self) -> list[str]:
        return [mesos.TaskState.Name(status.state) for status in self.updates()]

    def launched(self) -> list[ContainerConfig]:
        return [effect.config for effect in self.effects if isinstance(effect, LaunchContainer)]

    def of(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent_to_executor(self) -> list[executor_api.Event]:
        return [effect.event for effect in self.effects if isinstance(effect, SendToExecutor)]

    def timers(self) -> dict[happened.TimerKind, float]:
        return {effect.timer.kind: effect.delay_seconds for effect in self.effects if isinstance(effect, StartTimer)}

    def cancelled(self) -> set[happened.TimerKind]:
        return {effect.timer.kind for effect in self.effects if isinstance(effect, CancelTimer)}

    def discarded(self) -> list[Path]:
        return [effect.path for effect in self.effects if isinstance(effect, DiscardSandbox)]

    def task(self, task_id: str = "t1", framework_id: str = "F1") -> Task:
        """As the core knows it."""
        task = self.agent.state.task(framework_id, task_id)
        assert task is not None
        return task

    def restart(self, defects: dict[Subject, str] | None = None, **settings: Any) -> Conversation:
        """Another process on the same disk, after defects if need be; nothing has been recovered yet."""
        return Conversation(self.journal, defects, **settings)


def _call(type_: str, executor_id: str, framework_id: str = "F1", **member: Any) -> executor_api.Call:
    return executor_api.Call(
        type=executor_api.Call.Type.Value(type_),
        framework_id=mesos.FrameworkID(value=framework_id),
        executor_id=mesos.ExecutorID(value=executor_id),
        **member,
    )


def resources(text: str = "cpus:1;mem:64", role: str = "*") -> list[mesos.Resource]:
    return parse(text).allocated_to(role).messages()


def command_task(task_id: str = "t1", command: str = "sleep 1000", **fields: Any) -> mesos.TaskInfo:
    return mesos.TaskInfo(
        name=task_id,
        task_id=mesos.TaskID(value=task_id),
        agent_id=mesos.AgentID(value="S0"),
        resources=fields.pop("resources", resources()),
        command=mesos.CommandInfo(value=command),
        **fields,
    )


def executor_task(task_id: str = "t1", executor_id: str = "E1", **fields: Any) -> mesos.TaskInfo:
    executor = mesos.ExecutorInfo(
        executor_id=mesos.ExecutorID(value=executor_id),
        command=mesos.CommandInfo(value="./executor"),
        resources=resources("cpus:0.1;mem:32"),
        **fields,
    )
    return mesos.TaskInfo(
        name=task_id,
        task_id=mesos.TaskID(value=task_id),
        agent_id=mesos.AgentID(value="S0"),
        resources=resources(),
        executor=executor,
    )


class Tasks:
    """Makes TaskInfo messages: `tasks.command(...)` and `tasks.executor(...)`."""

    command = staticmethod(command_task)
    executor = staticmethod(executor_task)


@pytest.fixture
def agent() -> Iterator[Conversation]:
    """A registered agent that knows framework F1."""
    conversation = Conversation()
    conversation.register()
    conversation.add_framework()
    yield conversation
    conversation.agent.validate()


@pytest.fixture
def new_agent() -> type[Conversation]:
    """Makes conversations with other settings or another journal."""
    return Conversation


@pytest.fixture
def tasks() -> type[Tasks]:
    return Tasks
