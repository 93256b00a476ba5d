"""From the messages of a session to the events of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mesos.v1.mesos_pb2 import Resource
from mesos.v1.scheduler.scheduler_pb2 import OfferConstraints
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.errors import InvalidRequest
from mezzo.memo import Memo
from mezzo.resources import Resources
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.constraints import NO_CONSTRAINTS, Constraints, NothingAdmitted, constraints_by_role
from mezzo_chassis.log import get_logger

FORMS_MAX = 65_536
"""How many forms of resources are remembered before all are forgotten."""

_ACCEPTED = {
    wire.InverseOfferAnswered.ANSWER_ACCEPTED: True,
    wire.InverseOfferAnswered.ANSWER_DECLINED: False,
}

REQUESTS_MAX = 10
"""How many hints of one framework are remembered."""

log = get_logger(__name__)


class Translator:
    """Reads messages. Most agents and most tasks are alike, so what was parsed lately is remembered by its bytes."""

    def __init__(self) -> None:
        self._forms: Memo[bytes, Resources] = Memo(FORMS_MAX)
        self._readers: dict[str, Callable[[Any], ev.Event]] = {
            "begin": self._begin,
            "snapshot_end": lambda _: ev.SnapshotEnded(),
            "agent_update": self._agent_update,
            "agent_removed": lambda message: ev.AgentRemoved(message.agent),
            "framework_update": self._framework_update,
            "framework_removed": lambda message: ev.FrameworkRemoved(message.framework),
            "recovered": self._recovered,
            "allocated": self._allocated,
            "inverse_offer_answered": self._inverse_offer_answered,
            "revive": lambda message: ev.OffersRevived(message.framework, tuple(message.roles), message.in_vain),
            "suppress": lambda message: ev.OffersSuppressed(message.framework, tuple(message.roles)),
            "request": self._request,
            "role_update": self._role_update,
            "allocate_now": lambda _: ev.FullPassWanted(),
        }

    def event(self, message: wire.RegistryMessage) -> ev.Event | None:
        """The event that a message is; None for a heartbeat, or for what this version does not know.

        Raises:
            InvalidRequest: a field is wrong; it names the field.
        """
        kind = message.WhichOneof("message")
        reader = self._readers.get(kind or "")
        return reader(getattr(message, kind)) if reader and kind else None

    def resources(self, messages: Iterable[Resource], field: str) -> Resources:
        """The value of some messages.

        Raises:
            ResourceError: one of them makes no sense.
        """
        key = b"".join([message.SerializePartialToString() for message in messages])
        value = self._forms.find(key)
        if value is None:
            value = self._forms.keep(key, Resources.of(messages, field))
        return value

    @staticmethod
    def _begin(message: wire.Begin) -> ev.Event:
        return ev.SessionBegun(message.registry_id, message.domain if message.HasField("domain") else None)

    def _agent_update(self, message: wire.AgentUpdate) -> ev.Event:
        holdings = [
            (holding.framework, self.resources(holding.resources, f"agent_update.holdings[{index}].resources"))
            for index, holding in enumerate(message.holdings)
        ]
        return ev.AgentChanged(
            agent=message.agent,
            info=message.agent_info,
            total=self.resources(message.total, "agent_update.total").unallocated(),
            holdings=None if message.keeps_holdings else holdings,
            active=message.active,
            capabilities=frozenset(capability.type for capability in message.capabilities),
            cycle=message.cycle if message.HasField("cycle") else None,
            unavailability=message.unavailability if message.HasField("unavailability") else None,
        )

    def _framework_update(self, message: wire.FrameworkUpdate) -> ev.Event:
        constraints = (
            _constraints(message.offer_constraints) if message.HasField("offer_constraints") else NO_CONSTRAINTS
        )
        return ev.FrameworkChanged(
            framework=message.framework,
            info=message.framework_info,
            suppressed_roles=frozenset(message.suppressed_roles),
            active=message.active,
            constraints=constraints,
        )

    def _recovered(self, message: wire.Recovered) -> ev.Event:
        return ev.ResourcesRecovered(
            framework=message.framework,
            agent=message.agent,
            resources=self.resources(message.resources, "recovered.resources"),
            refuse_seconds=message.filters.refuse_seconds if message.HasField("filters") else None,
            unanswered=message.unanswered,
        )

    def _allocated(self, message: wire.Allocated) -> ev.Event:
        resources = self.resources(message.resources, "allocated.resources")
        return ev.ResourcesAllocated(message.framework, message.agent, resources)

    @staticmethod
    def _inverse_offer_answered(message: wire.InverseOfferAnswered) -> ev.Event:
        seconds = message.filters.refuse_seconds if message.HasField("filters") else None
        return ev.InverseOfferAnswered(message.framework, message.agent, seconds, _ACCEPTED.get(message.answer))

    def _request(self, message: wire.Request) -> ev.Event:
        amounts = []
        for index, request in enumerate(message.requests[:REQUESTS_MAX]):
            resources = self.resources(request.resources, f"request.requests[{index}].resources")
            amounts.append(dict(resources.quantities().items()))
        return ev.ResourcesRequested(message.framework, amounts)

    @staticmethod
    def _role_update(message: wire.RoleUpdate) -> ev.Event:
        if message.weight < 0:
            raise InvalidRequest("role_update.weight", f"{message.weight} is negative")
        guarantees, limits = dict(message.quota_guarantees), dict(message.quota_limits)
        return ev.RoleConfigured(message.role, message.weight or 1.0, guarantees, limits)


def _constraints(stated: OfferConstraints) -> Mapping[str, Constraints]:
    """Compiled constraints. The registry refuses wrong ones; should one come through, it admits no agent."""
    try:
        return constraints_by_role(stated)
    except InvalidRequest as error:
        log.warning("invalid offer constraints; no agent is admitted", field=error.field, error=error.message)
        return dict.fromkeys(stated.role_constraints, NothingAdmitted())
