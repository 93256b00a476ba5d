"""Offer constraints, as the allocator applies them.

The registry has checked them against its limits when the framework stated them, so none are set here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from mesos.v1.mesos_pb2 import AgentInfo
from mesos.v1.scheduler.scheduler_pb2 import OfferConstraints
from mezzo.offer_constraints import RegexLimits, compile_constraints

FIELD = "offer_constraints"
CHECKED_BEFORE = RegexLimits(re2_max_mem=8 << 20, re2_max_program_size=1 << 31)


class Constraints(Protocol):
    """What a framework wants of the agents that it is offered in one role."""

    def admit(self, agent: AgentInfo) -> bool:
        """Whether an agent may be offered."""
        ...


NO_CONSTRAINTS: Mapping[str, Constraints] = MappingProxyType({})


class NothingAdmitted:
    """Stands for constraints that could not be understood: better no offers than wrong ones."""

    def admit(self, agent: AgentInfo) -> bool:
        """No agent at all."""
        del agent
        return False


def constraints_by_role(constraints: OfferConstraints) -> Mapping[str, Constraints]:
    """Compile constraints.

    Raises:
        InvalidRequest: one is wrong; it names the field.
    """
    return compile_constraints(constraints, constraints.role_constraints, FIELD, CHECKED_BEFORE)
