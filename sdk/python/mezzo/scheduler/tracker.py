"""What a framework launches, and what becomes of it: offers and updates in, tasks to launch out.

A launch can be lost on its way, with the gateway or the registry that the call went through, and nobody says so unless
asked. So a framework reconciles what it has launched and not heard of; a task that nobody knows, and of which nothing
was ever heard, waits for another offer, and is launched under another id (see docs/high-availability-framework-guide.md
of Mesos).

Pure: no clock, no network. A framework calls `take` for each offer, `receive` for each update, and reconciles
`unfinished` after each subscription and now and then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Resources
from mezzo.task_states import TERMINAL

NOWHERE = frozenset(
    {mesos.TASK_UNKNOWN, mesos.TASK_GONE, mesos.TASK_GONE_BY_OPERATOR, mesos.TASK_DROPPED, mesos.TASK_LOST}
)
"""What reconciliation answers of a task that nobody has."""


class Received(Enum):
    """What an update was."""

    NEW = "new"
    """It says something that was not known."""
    REPEATED = "repeated"
    """It was sent again, or answers a reconciliation with what is known."""
    LAUNCH_LOST = "launch lost"
    """The launch reached no agent; the task waits for another offer."""
    FOREIGN = "foreign"
    """It is of no launch of this tracker, or of one that has been made up for."""


@dataclass(slots=True, eq=False)
class Launch:
    """A task on its way from waiting for an offer to its end."""

    task: mesos.TaskInfo
    """As it is launched; id and agent change when it has to be launched again."""
    name: str
    """The id that it was given first."""
    needed: Resources
    """What it takes of an offer, with an executor of its own."""
    attempts: int = 0
    waiting: bool = True
    """Whether it waits for an offer."""
    offer_id: mesos.OfferID = field(default_factory=mesos.OfferID)
    """The offer that it was launched on last."""
    statuses: list[mesos.TaskStatus] = field(default_factory=list)
    """What was heard of this attempt, each once."""

    @property
    def task_id(self) -> str:
        """The id of this attempt."""
        return self.task.task_id.value

    @property
    def status(self) -> mesos.TaskStatus | None:
        """The newest that was heard of it."""
        return self.statuses[-1] if self.statuses else None

    @property
    def reached_agent(self) -> bool:
        """Whether its agent has said anything of it: only agents give updates an id."""
        return any(status.uuid for status in self.statuses)

    @property
    def end(self) -> mesos.TaskStatus | None:
        """Its first terminal status."""
        return next((status for status in self.statuses if status.state in TERMINAL), None)


class LaunchTracker:
    """The launches of one framework."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        """In the order in which they were added."""
        self._waiting: dict[Launch, None] = {}
        self._by_task_id: dict[str, Launch] = {}

    def add(self, task: mesos.TaskInfo, needed: Resources | None = None) -> Launch:
        """Let a task wait for an offer that is large enough. It needs an id, resources, and no agent.

        `needed` is what an offer has to have: by default what the task and its executor ask for.

        Raises:
            ResourceError: its resources make no sense.
        """
        if needed is None:
            needed = Resources.of(task.resources) + Resources.of(task.executor.resources)
        launch = Launch(task, task.task_id.value, needed)
        self.launches.append(launch)
        self._waiting[launch] = None
        return launch

    def restore(
        self, launch: Launch, task_id: str, agent_id: str, attempts: int, statuses: list[mesos.TaskStatus]
    ) -> None:
        """Go on with a task that was launched by another process: let one that was added wait no longer.

        The statuses are what was heard of it. It is reconciled with the rest of what is unfinished.
        """
        del self._waiting[launch]
        launch.waiting, launch.attempts = False, attempts
        launch.statuses.extend(statuses)
        launch.task.task_id.value, launch.task.agent_id.value = task_id, agent_id
        self._by_task_id[task_id] = launch

    def withdraw(self, launch: Launch) -> None:
        """Give up a task that waits for an offer: it is not launched any more."""
        del self._waiting[launch]
        self.launches.remove(launch)

    def take(self, offer: mesos.Offer, *, tasks_max: int | None = None) -> list[mesos.TaskInfo]:
        """The tasks to launch on an offer: as many of the waiting as fit, the oldest first. They wait no longer."""
        free = Resources.of(offer.resources).unallocated()
        taken: list[Launch] = []
        for launch in self._waiting:
            if tasks_max is not None and len(taken) >= tasks_max:
                break
            if free.contains(launch.needed):
                free -= launch.needed
                taken.append(launch)
        for launch in taken:
            self._launch(launch, offer)
        return [launch.task for launch in taken]

    def receive(self, status: mesos.TaskStatus) -> Received:
        """Record an update."""
        launch = self._by_task_id.get(status.task_id.value)
        if launch is None:
            return Received.FOREIGN
        if status.reason == mesos.TaskStatus.REASON_RECONCILIATION:
            return self._receive_answer(launch, status)
        if launch.waiting:
            if status.state in NOWHERE:
                return Received.FOREIGN
            # The launch was late, not lost.
            launch.waiting = False
            self._waiting.pop(launch, None)  # it may have been withdrawn
        if status.uuid and any(each.uuid == status.uuid for each in launch.statuses):
            return Received.REPEATED
        launch.statuses.append(status)
        return Received.NEW

    def _receive_answer(self, launch: Launch, status: mesos.TaskStatus) -> Received:
        """Record what a reconciliation was answered."""
        if launch.waiting or launch.end is not None or status.state not in NOWHERE:
            return Received.REPEATED
        if not launch.reached_agent:
            launch.waiting = True
            self._waiting[launch] = None
            return Received.LAUNCH_LOST
        if status.state not in TERMINAL:
            # Nobody knows it for now. Its agent may come back with it.
            return Received.REPEATED
        launch.statuses.append(status)
        return Received.NEW

    def launch_of(self, task_id: str) -> Launch | None:
        """The launch whose newest attempt has this id."""
        return self._by_task_id.get(task_id)

    def unfinished(self) -> Iterator[Launch]:
        """What was launched and has not ended, as far as was heard: what to reconcile."""
        return (launch for launch in self._by_task_id.values() if not launch.waiting and launch.end is None)

    @property
    def any_waiting(self) -> bool:
        """Whether offers are of use."""
        return bool(self._waiting)

    @property
    def finished(self) -> bool:
        """Whether everything that was added has ended."""
        return not self._waiting and all(launch.end is not None for launch in self.launches)

    def _launch(self, launch: Launch, offer: mesos.Offer) -> None:
        del self._waiting[launch]
        launch.attempts += 1
        launch.statuses.clear()
        if launch.attempts > 1:
            # The lost launch may still arrive, and be refused: that must not be taken for the end of this one.
            del self._by_task_id[launch.task_id]
            launch.task.task_id.value = f"{launch.name}.{launch.attempts}"
        launch.waiting = False
        launch.offer_id.CopyFrom(offer.id)
        launch.task.agent_id.CopyFrom(offer.agent_id)
        self._by_task_id[launch.task_id] = launch
