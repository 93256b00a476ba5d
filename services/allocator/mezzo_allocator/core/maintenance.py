"""Planned maintenance: whoever holds anything of an agent that will be unavailable is asked to leave it.

An inverse offer asks a framework. One is out per framework and agent; once it has been answered, however, the next one
follows when the filters of the answer have ended. Meanwhile the agent goes on being offered: an offer tells when the
agent goes. This is as in Mesos (docs/maintenance.md of apache/mesos).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mesos.v1.mesos_pb2 import Unavailability
from mezzo_allocator.core.agents import AgentTable
from mezzo_allocator.core.events import InverseAllocation
from mezzo_allocator.core.frameworks import FrameworkTable


@dataclass(slots=True)
class Plan:
    """The maintenance that is planned for one agent, and how far its frameworks have been asked about it."""

    unavailability: Unavailability
    asked: set[int] = field(default_factory=set)
    """The frameworks that an inverse offer is out to."""
    answered: dict[int, float] = field(default_factory=dict)
    """Until when a framework that has answered is not asked again."""


class Maintenance:
    """All plans, by the row of the agent. `due` are the rows where somebody may have to be asked."""

    def __init__(self) -> None:
        self.due: set[int] = set()
        self._plans: dict[int, Plan] = {}
        self._ends: list[tuple[float, int, int]] = []  # (until, row, framework)

    # -- what changes --------------------------------------------------------------------------------------------------

    def plan(self, row: int, unavailability: Unavailability | None) -> None:
        """Set when an agent will be unavailable; None: it will not, or it is gone. A new time starts anew."""
        if unavailability is None:
            self._plans.pop(row, None)
            self.due.discard(row)
        elif row not in self._plans or self._plans[row].unavailability != unavailability:
            # A copy: the message is a part of another, which it would keep alive.
            self._plans[row] = Plan(Unavailability.FromString(unavailability.SerializeToString()))
            self.due.add(row)

    def mark(self, row: int) -> None:
        """Note that others than before may hold something of an agent."""
        if row in self._plans:
            self.due.add(row)

    def mark_holders_of(self, rows: NDArray[np.int64]) -> None:
        """Note that others than before may hold something of these agents."""
        if self._plans:
            self.due |= self._plans.keys() & rows.tolist()

    def mark_all(self) -> None:
        """Note that something has changed that may concern any agent."""
        self.due |= self._plans.keys()

    def end(self, row: int, framework: int, until: float | None) -> None:
        """An inverse offer is no longer out; the framework is not asked again until a time (None: it may be)."""
        plan = self._plans.get(row)
        if plan is None or framework not in plan.asked:
            return
        plan.asked.discard(framework)
        if until is None:
            self.due.add(row)
        else:
            plan.answered[framework] = until
            heapq.heappush(self._ends, (until, row, framework))

    def forget_answers(self, framework: int) -> None:
        """Forget the filters of a framework's answers."""
        for row, plan in self._plans.items():
            if plan.answered.pop(framework, None) is not None:
                self.due.add(row)

    def forget_framework(self, framework: int) -> None:
        """Nobody can be asked any more: what is out is rescinded, and what was answered is forgotten."""
        for plan in self._plans.values():
            plan.asked.discard(framework)
            plan.answered.pop(framework, None)

    def expire(self, now: float) -> None:
        """End the filters whose time has come."""
        while self._ends and self._ends[0][0] <= now:
            until, row, framework = heapq.heappop(self._ends)
            plan = self._plans.get(row)
            if plan is not None and plan.answered.get(framework) == until:
                del plan.answered[framework]
                self.due.add(row)

    # -- what follows --------------------------------------------------------------------------------------------------

    def next_end(self) -> float | None:
        """When the next filter may end."""
        return self._ends[0][0] if self._ends else None

    @property
    def planned(self) -> int:
        """For how many agents maintenance is planned."""
        return len(self._plans)

    @property
    def out(self) -> int:
        """How many inverse offers are out."""
        return sum(len(plan.asked) for plan in self._plans.values())

    def inverse_allocations(self, agents: AgentTable, frameworks: FrameworkTable) -> list[InverseAllocation]:
        """The inverse offers to be made now: to whom, about which agents."""
        allocations = []
        for row in sorted(self.due):
            plan, agent = self._plans[row], agents.by_row[row]
            assert agent is not None
            for framework in self._holders(agent.held, frameworks):
                if framework not in plan.asked and framework not in plan.answered:
                    plan.asked.add(framework)
                    allocations.append(InverseAllocation(framework, agent.number, plan.unavailability))
        self.due.clear()
        return allocations

    @staticmethod
    def _holders(held: Iterable[int], frameworks: FrameworkTable) -> Iterator[int]:
        """The connected frameworks among the clients that hold something, each once."""
        holders = {client.framework.number: client.framework for client in map(frameworks.clients.__getitem__, held)}
        return (number for number, framework in sorted(holders.items()) if framework.active)

    def validate(self, agents: AgentTable, frameworks: FrameworkTable) -> None:
        """Check that inverse offers are about agents and frameworks that are there.

        Raises:
            AssertionError: one is not.
        """
        assert self.due <= self._plans.keys(), self.due
        for row, plan in self._plans.items():
            assert agents.by_row[row] is not None, row
            concerned = plan.asked | plan.answered.keys()
            assert not plan.asked & plan.answered.keys(), plan
            assert all(frameworks.by_number[number].active for number in concerned), plan
