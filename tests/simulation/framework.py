"""A framework: launches tasks, kills some, answers late, twice or not at all, and notices every contradiction."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.resources import parse
from mezzo.scheduler.tracker import LaunchTracker, Received
from mezzo.task_states import TERMINAL
from tests.simulation.clock import Clock
from tests.simulation.network import Connection

NEEDED = parse("cpus:0.5;mem:64")
RECONNECT_SECONDS = (0.05, 0.5)
ANSWER_SECONDS = (0.0, 0.5)
RECONCILE_SECONDS = 3.0
REFUSE_SECONDS = (0.0, 3.0)
KILL_ONE_IN = 12
DUPLICATE_ONE_IN = 8
IGNORE_OFFER_ONE_IN = 15


LOST = frozenset({mesos.TASK_LOST, mesos.TASK_DROPPED, mesos.TASK_GONE})
"""TASK_UNKNOWN is not among them: it says that the registry does not know, and not that the task has ended."""


class ContradictionError(AssertionError):
    """What a framework was told cannot be true."""


@dataclass(slots=True)
class Attempt:
    """One launch of a task: a call that may be lost on its way."""

    task_id: str
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    """Everything that was said of it, also what was said again."""
    ends: set[bytes] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class FrameworkNode:
    name: str
    clock: Clock
    random: random.Random
    tasks_max: int
    connect: Callable[[FrameworkNode], Connection | None]
    tracker: LaunchTracker = field(default_factory=LaunchTracker)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    info: mesos.FrameworkInfo = field(default_factory=mesos.FrameworkInfo)
    connection: Connection | None = None
    subscribed: bool = False

    def start(self) -> None:
        self.info = mesos.FrameworkInfo(user="", name=self.name, failover_timeout=10_000, checkpoint=True)
        self.info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
        for number in range(self.tasks_max):
            self.tracker.add(self._task(f"{self.name}-{number}"))
        self._subscribe()
        self._reconcile_now_and_then()

    # ------------------------------------------------------------------------------------------- the stream

    def _subscribe(self) -> None:
        connection = self.connect(self)
        if connection is None:
            self.clock.after(self.random.uniform(*RECONNECT_SECONDS), self._subscribe)
            return
        self.connection, self.subscribed = connection, False
        call = v1.Call(type=v1.Call.SUBSCRIBE)
        call.subscribe.framework_info.CopyFrom(self.info)
        if self.info.HasField("id"):
            call.framework_id.CopyFrom(self.info.id)
        connection.send(0, call)

    def closed(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection, self.subscribed = None, False
            self.clock.after(self.random.uniform(*RECONNECT_SECONDS), self._subscribe)

    def receive(self, connection: Connection, event: Any) -> None:
        if self.connection is not connection:
            return
        if event.type == v1.Event.SUBSCRIBED:
            self.info.id.CopyFrom(event.subscribed.framework_id)
            self.subscribed = True
            self._reconcile()
        elif event.type == v1.Event.OFFERS:
            for offer in event.offers.offers:
                self._answer_later(offer)
        elif event.type == v1.Event.UPDATE:
            self._note(event.update.status)
        elif event.type == v1.Event.ERROR:
            raise ContradictionError(f"{self.name} was refused: {event.error.message}")

    def _call(self, call_type: v1.Call.Type.ValueType) -> v1.Call:
        return v1.Call(type=call_type, framework_id=self.info.id)

    def _send(self, call: v1.Call) -> None:
        if self.connection and self.subscribed:
            self.connection.send(0, call)

    # ------------------------------------------------------------------------------------------ the offers

    def _answer_later(self, offer: mesos.Offer) -> None:
        if self.random.randrange(IGNORE_OFFER_ONE_IN) == 0:
            return  # it will be rescinded
        connection = self.connection

        def answer() -> None:
            if self.connection is connection:
                self._answer(offer)

        self.clock.after(self.random.uniform(*ANSWER_SECONDS), answer)

    def _answer(self, offer: mesos.Offer) -> None:
        call = self._call(v1.Call.ACCEPT)
        call.accept.offer_ids.append(offer.id)
        call.accept.filters.refuse_seconds = self.random.uniform(*REFUSE_SECONDS)
        operation = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH)
        operation.launch.SetInParent()
        for task in self.tracker.take(offer, tasks_max=self.random.randint(0, 4)):
            self.attempts[task.task_id.value] = Attempt(task.task_id.value)
            operation.launch.task_infos.append(task)
        self._send(call)

    @staticmethod
    def _task(task_id: str) -> mesos.TaskInfo:
        task = mesos.TaskInfo(name=task_id, agent_id=mesos.AgentID(value=""), resources=NEEDED.messages())
        task.task_id.value = task_id
        task.command.value = "simulated"
        return task

    # ----------------------------------------------------------------------------------------- the updates

    def _note(self, status: mesos.TaskStatus) -> None:
        attempt = self.attempts[status.task_id.value]
        if status.uuid:
            self._check_end(attempt, status)
        elif status.state in LOST and not attempt.ends and any(each.uuid for each in attempt.statuses):
            raise ContradictionError(f"{attempt.task_id} was lost although its agent had it: {status.message}")
        attempt.statuses.append(status)
        if self.tracker.receive(status) is Received.LAUNCH_LOST:
            self._send(self._call(v1.Call.REVIVE))
        if status.uuid:
            self._answer_update(status)

    @staticmethod
    def _check_end(attempt: Attempt, status: mesos.TaskStatus) -> None:
        if attempt.ends and status.uuid not in {each.uuid for each in attempt.statuses}:
            states = [mesos.TaskState.Name(each.state) for each in (*attempt.statuses, status)]
            raise ContradictionError(f"{attempt.task_id} goes on after its end: {states}")
        if status.state in TERMINAL:
            attempt.ends.add(status.uuid)

    def _answer_update(self, status: mesos.TaskStatus) -> None:
        for _ in range(2 if self.random.randrange(DUPLICATE_ONE_IN) == 0 else 1):
            call = self._call(v1.Call.ACKNOWLEDGE)
            call.acknowledge.agent_id.CopyFrom(status.agent_id)
            call.acknowledge.task_id.CopyFrom(status.task_id)
            call.acknowledge.uuid = status.uuid
            self._send(call)
        if status.state == mesos.TASK_RUNNING and self.random.randrange(KILL_ONE_IN) == 0:
            call = self._call(v1.Call.KILL)
            call.kill.task_id.CopyFrom(status.task_id)
            self._send(call)

    def _reconcile(self) -> None:
        call = self._call(v1.Call.RECONCILE)
        call.reconcile.SetInParent()
        for launch in self.tracker.unfinished():
            task = call.reconcile.tasks.add()
            task.task_id.value = launch.task_id
            # A registry that was elected after the agent got out of reach cannot know of the task without it.
            task.agent_id.CopyFrom(launch.task.agent_id)
        if call.reconcile.tasks:
            self._send(call)

    def _reconcile_now_and_then(self) -> None:
        if self.subscribed:
            self._reconcile()
        self.clock.after(RECONCILE_SECONDS, self._reconcile_now_and_then)
