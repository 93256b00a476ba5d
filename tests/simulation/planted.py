"""Small bugs of the kinds that such systems have, to be planted one at a time: does the simulator find them?

Each is a context manager; while it is open, the services have that bug.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo_agent.adapters.journal import Journal
from mezzo_agent.core import Agent
from mezzo_agent.core.updates import Updates
from mezzo_allocator.core.filters import TICK_SECONDS, RefuseFilters
from mezzo_allocator.core.quota import RoleQuota
from mezzo_registry.core.agents import resync
from mezzo_registry.core.tasks import updates
from mezzo_registry.core.views import allocator_messages
from tests.simulation.options import draw
from tests.simulation.simulation import Simulation


@contextmanager
def acknowledgement_forgotten() -> Iterator[None]:
    """The registry takes note of acknowledgements, and passes every tenth task's on to no agent."""
    acknowledge = updates._acknowledge

    def forget(context: Any, framework: Any, agent: Any, task_id: str, uuid: bytes) -> None:
        if not task_id.endswith("3"):
            acknowledge(context, framework, agent, task_id, uuid)

    with mock.patch.object(updates, "_acknowledge", forget):
        yield


@contextmanager
def release_forgotten() -> Iterator[None]:
    """Of what is given back the allocator is not told now and then."""
    recovered, numbers = allocator_messages.recovered, itertools.count()

    def forget(*arguments: Any, **named: Any) -> None:
        if next(numbers) % 10 != 9:
            recovered(*arguments, **named)

    with mock.patch.object(allocator_messages, "recovered", forget):
        yield


@contextmanager
def update_sent_before_it_is_on_disk() -> Iterator[None]:
    """The journal says that it has written before it has."""
    commit = Journal.commit

    async def begin(self: Journal, records: Sequence[CheckpointRecord]) -> None:
        self.unfinished = asyncio.ensure_future(commit(self, records))  # type: ignore[attr-defined]

    with mock.patch.object(Journal, "commit", begin):
        yield


@contextmanager
def task_doubled_on_reregistration() -> Iterator[None]:
    """The agent forgets after a restart what it had been told to run: the registry sends some of it again."""
    restore = Agent.restore

    def forgetful(self: Agent, records: Sequence[CheckpointRecord], *rest: Any) -> None:
        restore(self, [record for record in records if not record.HasField("task")], *rest)

    with mock.patch.object(Agent, "restore", forgetful):
        yield


@contextmanager
def acknowledgement_of_another_update_taken() -> Iterator[None]:
    """The agent takes any acknowledgement for that of the update that is under way: a repeated one, a forged one."""
    acknowledge = Updates.acknowledge

    def trust(self: Updates, framework_id: str, task_id: str, uuid: bytes) -> None:
        task = self._state.task(framework_id, task_id)
        acknowledge(self, framework_id, task_id, task.pending[0].uuid if task is not None and task.pending else uuid)

    with mock.patch.object(Updates, "acknowledge", trust):
        yield


@contextmanager
def kill_lost_while_agent_is_away() -> Iterator[None]:
    """An agent that comes back is not told what was to be killed meanwhile."""
    apply = resync.apply

    def forgetful(context: Any, agent: Any, register: Any, *, was_unreachable: bool) -> None:
        agent.kills.clear()
        apply(context, agent, register, was_unreachable=was_unreachable)

    with mock.patch.object(resync, "apply", forgetful):
        yield


@contextmanager
def quota_ignored() -> Iterator[None]:
    """Limits of roles are not seen by the allocator."""
    of = RoleQuota.of

    def unlimited(guarantees: Mapping[str, float], limits: Mapping[str, float]) -> RoleQuota:
        return of(guarantees, {})

    with mock.patch.object(RoleQuota, "of", unlimited):
        yield


@contextmanager
def filters_never_expire() -> Iterator[None]:
    """What was refused for some seconds is refused for ever."""

    def forget(self: RefuseFilters, now: float) -> Iterator[int]:
        while self._queue and self._queue[0][0] * TICK_SECONDS <= now:
            self._queue.pop(0)
        return iter(())

    with mock.patch.object(RefuseFilters, "expire", forget):
        yield


BUGS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    bug.__name__: bug
    for bug in (
        acknowledgement_forgotten,
        release_forgotten,
        update_sent_before_it_is_on_disk,
        task_doubled_on_reregistration,
        acknowledgement_of_another_update_taken,
        kill_lost_while_agent_is_away,
        quota_ignored,
        filters_never_expire,
    )
}

STEPS = 1_000
WITH: Mapping[str, Mapping[str, Any]] = {
    "kill_lost_while_agent_is_away": {
        "endless": 0.8,
        "pods": 0.0,
        "executors": 0.0,
        "tasks_per_framework": 40,
        "faults": ("break_connection", "kill_agent"),
        "fault_seconds": (0.1, 1.0),
    },
    "filters_never_expire": {"revives": False, "faults": ()},
    "acknowledgement_of_another_update_taken": {
        "answers_twice": 0.5,
        "faults": ("break_connection", "kill_agent"),
        "fault_seconds": (0.1, 0.5),
    },
    "quota_ignored": {
        "roles": ("web",),
        "quota": True,
        "operator_seconds": (0.5, 5.0),
        "endless": 0.0,
        "tasks_per_framework": 40,
        "faults": (),
    },
}
"""Options that bring out what only some clusters have the load or the features for. All others are the seed's."""


def finds(bug: str, seeds_max: int) -> int | None:
    """The first of so many seeds with which the simulator finds the bug; None where it does not."""
    for seed in range(1, seeds_max + 1):
        options = replace(draw(seed), **WITH.get(bug, {}))
        with BUGS[bug](), Simulation(seed, options) as simulation:
            try:
                simulation.run(STEPS)
            except Exception:  # noqa: BLE001  whatever gives it away
                return seed
    return None
