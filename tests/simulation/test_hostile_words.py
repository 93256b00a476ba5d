"""What the registry admits of anybody, the allocator can apply: one client's words end nobody's session."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as allocator_events
from mezzo_allocator.core.allocator import Allocator
from mezzo_registry.core import effects, events
from mezzo_registry.testing import Cluster, FakeFramework

Call = scheduler.Call
Value = mesos.Value

NUMBERS = st.sampled_from([0.0, -0.0, 0.5, -1.0, 1e-9, 1e15, 1e300, math.inf, -math.inf, math.nan])
WORDS = st.sampled_from(["", "*", "cpus", "mem", "ports", "x", "a/b", "a/../b", "\x00", "€" * 300, "." * 5])
INTEGERS = st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, -(2**63)])


class Pair:
    """A registry, and an allocator that is told all that the registry orders for it."""

    def __init__(self) -> None:
        self.allocator, self.translator = Allocator(), Translator()
        self.cluster = Cluster()
        self.cluster.listener = self.carry
        self.cluster.allocator()
        self.agent = self.cluster.agent(pid="slave(1)@10.0.0.1:5051")
        self.framework = self.cluster.framework("MULTI_ROLE", roles=["*", "web"])

    def carry(self, effect: effects.Effect) -> None:
        if isinstance(effect, effects.SendToAllocator):
            message = wire.RegistryMessage.FromString(effect.message.SerializeToString())
            event = self.translator.event(message)
            if event is not None:
                self.allocator.handle(event, now=self.cluster.now)

    def check(self) -> None:
        """Another session begins with a snapshot, a cycle is run, and both are sound."""
        self.cluster.handle(events.AllocatorDisconnected())
        self.cluster.allocator()
        for effect in self.allocator.handle(allocator_events.CycleStarted(), now=self.cluster.now):
            assert isinstance(effect, allocator_events.Allocated)
        self.allocator.validate()
        self.cluster.registry.validate()


@st.composite
def resources(draw: st.DrawFn) -> mesos.Resource:
    made = mesos.Resource(name=draw(WORDS), type=draw(st.sampled_from(list(Value.Type.values()))))
    if draw(st.booleans()):
        made.scalar.value = draw(NUMBERS)
    if draw(st.booleans()):
        one = made.ranges.range.add()
        one.begin, one.end = abs(draw(INTEGERS)), abs(draw(INTEGERS))
    if draw(st.booleans()):
        made.set.item.append(draw(WORDS))
    if draw(st.booleans()):
        made.reservations.add(type=mesos.Resource.ReservationInfo.STATIC, role=draw(WORDS))
    if draw(st.booleans()):
        made.allocation_info.role = draw(WORDS)
    if draw(st.booleans()):
        made.disk.persistence.id = draw(WORDS)
    return made


@st.composite
def attributes(draw: st.DrawFn) -> mesos.Attribute:
    made = mesos.Attribute(name=draw(WORDS), type=draw(st.sampled_from(list(Value.Type.values()))))
    if draw(st.booleans()):
        made.scalar.value = draw(NUMBERS)
    if draw(st.booleans()):
        made.text.value = draw(WORDS)
    if draw(st.booleans()):
        made.ranges.range.add(begin=1, end=2)
    return made


@st.composite
def constraints(draw: st.DrawFn) -> scheduler.OfferConstraints:
    made = scheduler.OfferConstraints()
    constraint = made.role_constraints[draw(st.sampled_from(["*", "web"]))].groups.add().attribute_constraints.add()
    if draw(st.booleans()):
        constraint.selector.attribute_name = draw(WORDS)
    else:
        constraint.selector.pseudoattribute_type = draw(st.integers(0, 3))  # type: ignore[assignment]
    kind = draw(st.sampled_from(["exists", "not_exists", "text_equals", "text_not_matches"]))
    if kind == "text_equals":
        constraint.predicate.text_equals.value = draw(WORDS)
    elif kind == "text_not_matches":
        constraint.predicate.text_not_matches.regex = draw(st.sampled_from(["x*", "(", "\x00", "(a|b){1,50}", ""]))
    else:
        getattr(constraint.predicate, kind).SetInParent()
    return made


@st.composite
def filters(draw: st.DrawFn) -> scheduler.Call:
    """A framework's offer filters, constraints and suppressed roles, as UPDATE_FRAMEWORK has them."""
    call = Call(type=Call.UPDATE_FRAMEWORK)
    group = call.update_framework.framework_info.offer_filters[draw(st.sampled_from(["*", "web"]))]
    for _ in range(draw(st.integers(0, 2))):
        group.min_allocatable_resources.quantities.add().quantities[draw(WORDS)].value = draw(NUMBERS)
    call.update_framework.suppressed_roles.extend(draw(st.lists(st.sampled_from(["*", "web", "x"]), max_size=2)))
    if draw(st.booleans()):
        call.update_framework.offer_constraints.CopyFrom(draw(constraints()))
    return call


def update(pair: Pair, framework: FakeFramework, call: scheduler.Call) -> None:
    info = mesos.FrameworkInfo()
    info.CopyFrom(framework.info)
    info.offer_filters.MergeFrom(call.update_framework.framework_info.offer_filters)
    call.update_framework.framework_info.CopyFrom(info)
    pair.cluster.call(framework, call)


@settings(max_examples=150, deadline=None)
@given(call=filters())
def test_what_a_framework_says_of_offers(call: scheduler.Call) -> None:
    pair = Pair()
    update(pair, pair.framework, call)
    pair.check()


@settings(max_examples=150, deadline=None)
@given(requested=st.lists(resources(), max_size=3))
def test_what_a_framework_requests(requested: list[mesos.Resource]) -> None:
    pair = Pair()
    call = Call(type=Call.REQUEST)
    call.request.requests.add().resources.extend(requested)
    pair.cluster.call(pair.framework, call)
    pair.check()


@settings(max_examples=150, deadline=None)
@given(
    had=st.lists(resources(), max_size=3), said=st.lists(attributes(), max_size=3), constrained=constraints(),
    domain=st.none() | WORDS,
)  # fmt: skip
def test_what_an_agent_has_and_says_of_itself(
    had: list[mesos.Resource],
    said: list[mesos.Attribute],
    constrained: scheduler.OfferConstraints,
    domain: str | None,
) -> None:
    pair = Pair()
    call = Call(type=Call.UPDATE_FRAMEWORK)
    call.update_framework.offer_constraints.CopyFrom(constrained)
    update(pair, pair.framework, call)
    register = pair.cluster.register_message()
    register.agent_info.attributes.extend(said)
    register.total_resources.extend(had)
    if domain is not None:
        register.agent_info.domain.fault_domain.region.name = domain
        register.agent_info.domain.fault_domain.zone.name = domain
    pair.cluster.connect(register)
    pair.check()


@settings(max_examples=150, deadline=None)
@given(call=filters(), roles=st.lists(WORDS, max_size=2), timeout=NUMBERS, held=st.lists(resources(), max_size=2))
def test_what_an_agent_says_of_its_frameworks_and_tasks(
    call: scheduler.Call, roles: list[str], timeout: float, held: list[mesos.Resource]
) -> None:
    pair = Pair()
    register = pair.cluster.register_message(id="far-S1")
    framework = register.frameworks.add(user="root", name="far", roles=roles, failover_timeout=timeout)
    framework.id.value = "far-0000"
    framework.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    framework.offer_filters.MergeFrom(call.update_framework.framework_info.offer_filters)
    task = register.tasks.add(name="t", state=mesos.TASK_RUNNING)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t1", "far-0000", "far-S1"
    task.resources.extend(held)
    register.total_resources.extend(held)
    pair.cluster.connect(register)
    pair.check()


@settings(max_examples=100, deadline=None)
@given(start=INTEGERS, duration=INTEGERS, refuse=NUMBERS, accepts=st.booleans())
def test_what_an_operator_plans_and_a_framework_answers(
    start: int, duration: int, refuse: float, accepts: bool
) -> None:
    pair = Pair()
    call = master.Call(type=master.Call.UPDATE_MAINTENANCE_SCHEDULE)
    window = call.update_maintenance_schedule.schedule.windows.add()
    window.machine_ids.add(hostname="node")
    window.unavailability.start.nanoseconds = start
    window.unavailability.duration.nanoseconds = duration
    pair.cluster.operate(call)
    offered = wire.InverseAllocation(framework=pair.cluster.number_of(pair.framework), agent=1)
    offered.unavailability.CopyFrom(window.unavailability)
    pair.cluster.handle(events.AllocationsMade(wire.Allocations(inverse_allocations=[offered])))
    answer = Call(type=Call.ACCEPT_INVERSE_OFFERS if accepts else Call.DECLINE_INVERSE_OFFERS)
    said = answer.accept_inverse_offers if accepts else answer.decline_inverse_offers
    said.filters.refuse_seconds = refuse
    for offer_id in pair.cluster.registry.state.inverse_offers:
        said.inverse_offer_ids.add(value=offer_id)
    pair.cluster.call(pair.framework, answer)
    pair.check()


@settings(max_examples=100, deadline=None)
@given(role=WORDS, weight=NUMBERS, name=WORDS, guarantee=NUMBERS, limit=NUMBERS)
def test_what_an_operator_configures(role: str, weight: float, name: str, guarantee: float, limit: float) -> None:
    pair = Pair()
    weights = master.Call(type=master.Call.UPDATE_WEIGHTS)
    weights.update_weights.weight_infos.add(role=role, weight=weight)
    pair.cluster.operate(weights)
    quota = master.Call(type=master.Call.UPDATE_QUOTA)
    config = quota.update_quota.quota_configs.add(role=role)
    config.guarantees[name].value = guarantee
    config.limits[name].value = limit
    quota.update_quota.force = True
    pair.cluster.operate(quota)
    pair.check()


@pytest.mark.parametrize("refuse", [0.0, -1.0, 1e300, math.inf])
def test_for_how_long_a_framework_declines(refuse: float) -> None:
    pair = Pair()
    offer = pair.cluster.offer(pair.framework, pair.agent)
    call = Call(type=Call.DECLINE)
    call.decline.offer_ids.append(offer.id)
    call.decline.filters.refuse_seconds = refuse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.cluster, "listener", None)  # the allocator did not make this offer, and cannot take it back
        pair.cluster.call(pair.framework, call)
    pair.check()
