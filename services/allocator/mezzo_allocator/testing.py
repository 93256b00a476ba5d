"""A cluster to talk to the core about: names instead of numbers, text instead of messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo, Resource, TimeInfo, Unavailability
from mesos.v1.scheduler.scheduler_pb2 import OfferConstraints
from mezzo.resources import Resources, parse, to_thousandths
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.constraints import constraints_by_role
from mezzo_allocator.core.loops import REFERENCE, Loops
from mezzo_allocator.core.policy import Policy

Offers = list[tuple[str, str, str]]

CAPABILITY = FrameworkInfo.Capability


class Conversation:
    """Drives an allocator as a registry would, and checks its invariants after each step."""

    def __init__(self, policy: Policy | None = None, loops: Loops = REFERENCE) -> None:
        self.core = Allocator(policy, loops)
        self.now = 100.0
        self._frameworks: dict[str, int] = {}
        self._agents: dict[str, int] = {}
        self.say(ev.SessionBegun("registry"))
        self.say(ev.SnapshotEnded())
        self.cycle()

    def say(self, event: ev.Event) -> list[ev.Effect]:
        effects = list(self.core.handle(event, now=self.now))
        self.core.validate()
        return effects

    # -- what there is -------------------------------------------------------------------------------------------------

    def framework(
        self,
        name: str,
        *roles: str,
        capabilities: Iterable[int] = (),
        suppressed: Iterable[str] = (),
        active: bool = True,
        minimum: list[dict[str, float]] | None = None,
        constraints: OfferConstraints | None = None,
    ) -> None:
        info = FrameworkInfo(user="nobody", name=name)
        info.id.value = name
        info.roles.extend(roles or ["*"])
        for capability in {*capabilities, CAPABILITY.MULTI_ROLE}:
            info.capabilities.add(type=FrameworkInfo.Capability.Type.ValueType(capability))
        if minimum is not None:
            for role in info.roles:
                alternatives = info.offer_filters[role].min_allocatable_resources
                alternatives.SetInParent()
                for alternative in minimum:
                    amounts = alternatives.quantities.add()
                    for resource, value in alternative.items():
                        amounts.quantities[resource].value = value
        number = self._frameworks.setdefault(name, len(self._frameworks) + 1)
        compiled = constraints_by_role(constraints) if constraints is not None else {}
        self.say(ev.FrameworkChanged(number, info, frozenset(suppressed), active, compiled))

    def agent(
        self,
        name: str,
        resources: str | Resources,
        *,
        holdings: Mapping[tuple[str, str], str | Resources] | None = None,
        active: bool = True,
        info: AgentInfo | None = None,
        capabilities: Iterable[int] = (),
        cycle: int | None = None,
        keeps_holdings: bool = False,
        unavailable: int | None = None,
    ) -> None:
        total = in_full(resources)
        held = [
            (self._frameworks[framework], in_full(what).allocated_to(role))
            for (framework, role), what in (holdings or {}).items()
        ]
        known = None if keeps_holdings else held
        number = self._agents.setdefault(name, len(self._agents) + 1)
        described = info or AgentInfo(hostname=name)
        described.id.value = self.agent_id(name)
        planned = None if unavailable is None else unavailability(unavailable)
        self.say(ev.AgentChanged(number, described, total, known, active, frozenset(capabilities), cycle, planned))

    def role(
        self,
        name: str,
        weight: float = 1.0,
        guarantees: Mapping[str, float] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.say(ev.RoleConfigured(name, weight, guarantees or {}, limits or {}))

    def remove_framework(self, name: str) -> None:
        self.say(ev.FrameworkRemoved(self._frameworks[name]))

    def remove_agent(self, name: str) -> None:
        self.say(ev.AgentRemoved(self._agents[name]))

    # -- what happens --------------------------------------------------------------------------------------------------

    def cycle(self, after: float = 0.0, agents_max: int = 10_000) -> list[ev.Allocation]:
        """Run one cycle; return its allocations."""
        self.now += after
        (outcome,) = self.say(ev.CycleStarted(agents_max))
        assert isinstance(outcome, ev.Allocated)
        return list(outcome.allocations)

    def inverse_offers(self, after: float = 0.0) -> list[tuple[str, str]]:
        """Run one cycle; return the inverse offers that it advises: (framework, agent)."""
        self.now += after
        (outcome,) = self.say(ev.CycleStarted())
        assert isinstance(outcome, ev.Allocated)
        return [(self.framework_numbered(each.framework), self.agent_named(each.agent)) for each in outcome.inverse]

    def full_pass(self) -> Offers:
        """Run a cycle that looks at all agents, as each interval has one."""
        self.say(ev.FullPassWanted())
        return self.offers()

    def offers(self, after: float = 0.0) -> Offers:
        """Run one cycle; return (framework, agent, resources) in the order of the decisions."""
        return [self.summary(allocation) for allocation in self.cycle(after)]

    def summary(self, allocation: ev.Allocation) -> tuple[str, str, str]:
        return self.framework_of(allocation), self.agent_of(allocation), brief(Resources.sum(allocation.resources))

    def framework_of(self, allocation: ev.Allocation) -> str:
        return self.framework_numbered(allocation.framework)

    def framework_numbered(self, number: int) -> str:
        return next(name for name, each in self._frameworks.items() if each == number)

    def agent_named(self, number: int) -> str:
        return next(name for name, each in self._agents.items() if each == number)

    @staticmethod
    def agent_id(name: str) -> str:
        return f"registry-S-{name}"

    def agent_of(self, allocation: ev.Allocation) -> str:
        return self.agent_named(allocation.agent)

    def recover(
        self, framework: str, agent: str, resources: str | Resources, role: str = "*", refuse: float | None = None
    ) -> None:
        back = in_full(resources)
        numbers = self._frameworks[framework], self._agents[agent]
        self.say(ev.ResourcesRecovered(*numbers, back.allocated_to(role), refuse))

    def decline(self, allocation: ev.Allocation, seconds: float = 5.0) -> None:
        back = Resources.sum(allocation.resources).allocated_to(allocation.role)
        self.say(ev.ResourcesRecovered(allocation.framework, allocation.agent, back, seconds))

    def release(self, allocation: ev.Allocation) -> None:
        """Give back what was offered, without refusing it."""
        back = Resources.sum(allocation.resources).allocated_to(allocation.role)
        self.say(ev.ResourcesRecovered(allocation.framework, allocation.agent, back))

    def time_out(self, allocation: ev.Allocation) -> None:
        """Have an offer come back that nobody answered."""
        back = Resources.sum(allocation.resources).allocated_to(allocation.role)
        self.say(ev.ResourcesRecovered(allocation.framework, allocation.agent, back, unanswered=True))

    def use(self, allocation: ev.Allocation, resources: str, seconds: float = 5.0) -> None:
        """Launch something with a part of an offer; the rest is declined."""
        rest = Resources.sum(allocation.resources) - parse(resources)
        back = rest.allocated_to(allocation.role)
        self.say(ev.ResourcesRecovered(allocation.framework, allocation.agent, back, seconds))

    def take(self, framework: str, agent: str, resources: str | Resources, role: str = "*") -> None:
        numbers = self._frameworks[framework], self._agents[agent]
        self.say(ev.ResourcesAllocated(*numbers, in_full(resources).allocated_to(role)))

    def answer(self, framework: str, agent: str, refuse: float | None = None) -> None:
        """End an inverse offer."""
        self.say(ev.InverseOfferAnswered(self._frameworks[framework], self._agents[agent], refuse))

    def request(self, framework: str, *amounts: Mapping[str, float]) -> None:
        hints = [{name: to_thousandths(value) for name, value in each.items()} for each in amounts]
        self.say(ev.ResourcesRequested(self._frameworks[framework], hints))

    def revive(self, framework: str, *roles: str, in_vain: bool = False) -> None:
        self.say(ev.OffersRevived(self._frameworks[framework], roles, in_vain))

    def suppress(self, framework: str, *roles: str) -> None:
        self.say(ev.OffersSuppressed(self._frameworks[framework], roles))


def begun(loops: Loops = REFERENCE, policy: Policy | None = None) -> Allocator:
    """An allocator whose session has begun with an empty cluster."""
    core = Allocator(policy, loops)
    core.handle(ev.SessionBegun("r"), now=0.0)
    core.handle(ev.SnapshotEnded(), now=0.0)
    core.handle(ev.CycleStarted(), now=0.0)
    return core


def cycle(core: Allocator, now: float, agents_max: int = 10_000) -> list[ev.Allocation]:
    """Run one cycle; return its allocations."""
    (outcome,) = core.handle(ev.CycleStarted(agents_max), now=now)
    assert isinstance(outcome, ev.Allocated)
    return list(outcome.allocations)


def unavailability(start_seconds: int) -> Unavailability:
    """Maintenance that begins at a time and does not end."""
    return Unavailability(start=TimeInfo(nanoseconds=start_seconds * 1_000_000_000))


def in_full(resources: str | Resources) -> Resources:
    """Resources, from text if need be."""
    return resources if isinstance(resources, Resources) else parse(resources)


def shared_volume(identifier: str, disk_mb: int = 10, role: str = "eng") -> Resources:
    """A persistent volume that is reserved for a role and that several tasks may use at a time."""
    (disk,) = parse(f"disk:{disk_mb}").messages()
    disk.reservations.add(type=Resource.ReservationInfo.STATIC, role=role)
    disk.disk.persistence.id = identifier
    disk.disk.volume.container_path = "data"
    disk.disk.volume.mode = disk.disk.volume.RW
    disk.shared.SetInParent()
    return Resources.of([disk])


def revocable(text: str) -> Resources:
    """Resources that may be taken back at any time."""
    messages = parse(text).messages()
    for message in messages:
        message.revocable.SetInParent()
    return Resources.of(messages)


def brief(resources: Resources) -> str:
    """Resources as the tests write them: `cpus:1;mem(eng):512`, by name."""
    texts = []
    for kind in resources:
        role = "" if kind.role == "*" else f"({kind.role})"
        one = resources.filter(lambda other, kind=kind: other is kind)  # type: ignore[misc]
        amount = str(one).rpartition(":")[2] if kind.size is None else str(kind.size / 1000)
        texts.append(f"{kind.name}{role}:{amount}")
    return ";".join(sorted(texts))
