"""Planned maintenance: schedules, machines that go down and come back, and the frameworks that are asked to leave."""

from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.allocator import allocator_pb2 as mesos_allocator
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo_registry.core import Settings, effects, events, records
from mezzo_registry.core.settings import PLAN_BYTES_MAX
from mezzo_registry.core.state.maintenance import Plan, address_of
from mezzo_registry.testing import Cluster, FakeAgent, FakeFramework

Call = master.Call
Answered = allocator.InverseOfferAnswered
Status = mesos_allocator.InverseOfferStatus
MakeCluster = Callable[..., Cluster]
SOON = mesos.Unavailability(start=mesos.TimeInfo(nanoseconds=1_900_000_000 * 10**9))
PID = "slave(1)@10.0.0.1:5051"


def named(hostname: str = "", ip: str = "") -> mesos.MachineID:
    one = mesos.MachineID()
    if hostname:
        one.hostname = hostname
    if ip:
        one.ip = ip
    return one


def schedule(*windows: tuple[list[mesos.MachineID], mesos.Unavailability]) -> master.Call:
    call = Call(type=Call.UPDATE_MAINTENANCE_SCHEDULE)
    call.update_maintenance_schedule.schedule.SetInParent()
    for machines, unavailability in windows:
        window = call.update_maintenance_schedule.schedule.windows.add(machine_ids=machines)
        window.unavailability.CopyFrom(unavailability)
    return call


def start(*machines: mesos.MachineID) -> master.Call:
    call = Call(type=Call.START_MAINTENANCE)
    call.start_maintenance.machines.extend(machines)
    call.start_maintenance.SetInParent()
    return call


def stop(*machines: mesos.MachineID) -> master.Call:
    call = Call(type=Call.STOP_MAINTENANCE)
    call.stop_maintenance.machines.extend(machines)
    call.stop_maintenance.SetInParent()
    return call


def status(cluster: Cluster) -> "master.Response.GetMaintenanceStatus":
    cluster.operate(Call(type=Call.GET_MAINTENANCE_STATUS))
    (answer,) = cluster.of(effects.Answer)
    given: master.Response.GetMaintenanceStatus = answer.response.get_maintenance_status
    return given


def kinds(messages: list[allocator.RegistryMessage]) -> list[str | None]:
    return [one.WhichOneof("message") for one in messages]


def advise(
    cluster: Cluster, framework: FakeFramework, agent: FakeAgent, when: mesos.Unavailability = SOON
) -> list[mesos.InverseOffer]:
    """The allocator advises an inverse offer. Returns what the framework is sent."""
    allocations = allocator.Allocations()
    one = allocations.inverse_allocations.add(framework=cluster.number_of(framework))
    one.agent = cluster.registry.state.agents[agent.id].number
    one.unavailability.CopyFrom(when)
    cluster.handle(events.AllocationsMade(allocations))
    sent = cluster.to_framework(framework)
    return [offer for event in sent for offer in event.inverse_offers.inverse_offers]


def draining(cluster: Cluster) -> tuple[FakeAgent, FakeFramework, mesos.InverseOffer]:
    """An agent that will be unavailable, a framework with a task there, and what it is asked."""
    agent, framework = cluster.agent(pid=PID), cluster.framework(failover_timeout=1000.0)
    cluster.running(framework, agent)
    cluster.operate(schedule(([named("node", "10.0.0.1")], SOON)))
    (offer,) = advise(cluster, framework, agent)
    return agent, framework, offer


def answer(kind: str, *offers: mesos.InverseOffer, refuse: float | None = None) -> scheduler.Call:
    call = scheduler.Call(type=scheduler.Call.Type.Value(f"{kind}_INVERSE_OFFERS"))
    reply = call.accept_inverse_offers if kind == "ACCEPT" else call.decline_inverse_offers
    reply.inverse_offer_ids.extend(offer.id for offer in offers)
    if refuse is not None:
        reply.filters.refuse_seconds = refuse
    reply.SetInParent()
    return call


def rescinded(cluster: Cluster, framework: FakeFramework) -> list[mesos.OfferID]:
    sent = cluster.to_framework(framework)
    return [one.rescind_inverse_offer.inverse_offer_id for one in sent if one.HasField("rescind_inverse_offer")]


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_schedule_is_stored_before_anything_follows(cluster: Cluster, make_cluster: MakeCluster) -> None:
    agent, framework = cluster.agent(pid=PID), cluster.framework()
    offer = cluster.offer(framework, agent, "cpus:1")
    cluster.hold_store()
    call = schedule(([named("NODE", "10.0.0.1")], SOON))
    cluster.operate(call)
    assert not cluster.of(effects.Answer)
    assert not cluster.to_framework(framework)
    cluster.release_store()
    assert cluster.of(effects.Answer)
    assert [one.rescind.offer_id for one in cluster.to_framework(framework)] == [offer.id]
    assert kinds(cluster.to_allocator()) == ["recovered", "agent_update"]
    assert cluster.to_allocator()[1].agent_update.unavailability == SOON
    tables: dict[str, dict[str, bytes]] = {}
    for (table, key), value in cluster.store.items():
        tables.setdefault(table, {})[key] = value
    later = make_cluster(None, records.elected(tables))
    later.operate(Call(type=Call.GET_MAINTENANCE_SCHEDULE))
    (read,) = later.of(effects.Answer)
    assert read.response.get_maintenance_schedule.schedule == call.update_maintenance_schedule.schedule


def test_offers_of_a_draining_machine_say_when_it_is_unavailable(cluster: Cluster) -> None:
    cluster.operate(schedule(([named(ip="10.0.0.1")], SOON)))
    agent = cluster.agent(pid=PID)
    framework = cluster.framework()
    assert cluster.offer(framework, agent, "cpus:1").unavailability == SOON
    cluster.operate(schedule())
    assert cluster.to_allocator()[-1].agent_update.HasField("unavailability") is False
    assert not cluster.offer(framework, agent, "cpus:1").HasField("unavailability")


def test_unchanged_plans_of_a_machine_touch_none_of_its_offers(cluster: Cluster) -> None:
    agent, framework, _ = draining(cluster)
    cluster.offer(framework, agent, "cpus:1")
    cluster.operate(schedule(([named("node", "10.0.0.1"), named("other")], SOON)))
    assert not cluster.to_framework(framework)
    assert not cluster.to_allocator()


def test_schedule_that_makes_no_sense_is_refused(cluster: Cluster) -> None:
    negative = mesos.Unavailability(start=SOON.start, duration=mesos.DurationInfo(nanoseconds=-1))
    where = "update_maintenance_schedule.schedule.windows"
    for call, field in (
        (schedule(([], SOON)), f"{where}[0].machine_ids"),
        (schedule(([mesos.MachineID()], SOON)), f"{where}[0].machine_ids[0]"),
        (schedule(([named(ip="10.0.0")], SOON)), f"{where}[0].machine_ids[0].ip"),
        (schedule(([named("a")], SOON), ([named("b"), named("A")], SOON)), f"{where}[1].machine_ids[1]"),
        (schedule(([named("a")], negative)), f"{where}[0].unavailability.duration.nanoseconds"),
        (Call(type=Call.UPDATE_MAINTENANCE_SCHEDULE), "update_maintenance_schedule"),
    ):
        cluster.operate(call)
        assert cluster.refusal().startswith(f"InvalidRequest: {field}: ")
    assert not cluster.registry.state.plan


@pytest.mark.parametrize(
    ("pid", "address"), [(PID, "10.0.0.1"), ("slave(1)@[::1]:5051", "::1"), ("", ""), ("slave(1)", "")]
)
def test_address_of_an_agent_is_that_of_its_pid(pid: str, address: str) -> None:
    assert address_of(pid) == address


# --- machines that go down and come back ------------------------------------------------------------------------------


def test_agents_of_a_machine_that_goes_down_end_and_are_not_taken_again(cluster: Cluster) -> None:
    agent, framework, offer = draining(cluster)
    cluster.hold_store()
    cluster.operate(start(named("node", "10.0.0.1")))
    assert not cluster.to_agent(agent)
    cluster.release_store()
    assert cluster.to_agent(agent)[0].HasField("shutdown")
    assert rescinded(cluster, framework) == [offer.id]
    sent = cluster.to_framework(framework)
    assert [one.update.status.state for one in sent if one.HasField("update")] == [mesos.TASK_LOST]
    assert [one.failure.agent_id.value for one in sent if one.HasField("failure")] == [agent.id]
    assert agent.id not in cluster.registry.state.agents
    assert [one.hostname for one in status(cluster).status.down_machines] == ["node"]
    again = cluster.register_message(pid=PID)
    session = cluster.connect(again)
    assert cluster.to_agent(FakeAgent(session, "", again))[0].HasField("shutdown")
    assert cluster.of(effects.CloseAgentSession)
    assert not cluster.registry.state.agents


def test_agent_that_is_being_admitted_while_its_machine_goes_down_ends(cluster: Cluster) -> None:
    cluster.operate(schedule(([named("node")], SOON)))
    cluster.hold_store()
    cluster.operate(start(named("node")))
    register = cluster.register_message(pid=PID)
    cluster.connect(register)
    cluster.release_store()
    assert not cluster.registry.state.agents
    assert ("admitted", f"{cluster.identity.registry_id}-S0") not in cluster.store


def test_agent_that_is_being_admitted_while_its_address_goes_down_ends(cluster: Cluster) -> None:
    cluster.operate(schedule(([named(ip="10.0.0.1")], SOON)))
    cluster.hold_store()
    cluster.operate(start(named(ip="10.0.0.1")))
    register = cluster.register_message(pid=PID)
    session = cluster.connect(register)
    cluster.release_store()
    assert cluster.to_agent(FakeAgent(session, "", register))[0].HasField("shutdown")
    assert not cluster.registry.state.agents
    assert ("admitted", f"{cluster.identity.registry_id}-S0") not in cluster.store


def test_agent_of_the_term_before_that_comes_back_to_a_machine_that_is_down_is_removed(
    cluster: Cluster, make_cluster: MakeCluster
) -> None:
    agent = cluster.agent(pid=PID)
    cluster.operate(schedule(([named(ip="10.0.0.1")], SOON)))
    tables: dict[str, dict[str, bytes]] = {}
    for (table, key), value in cluster.store.items():
        tables.setdefault(table, {})[key] = value
    later = make_cluster(None, records.elected(tables))
    later.operate(start(named(ip="10.0.0.1")))
    assert agent.id in later.registry.state.agents
    register = later.register_message(pid=PID)
    register.agent_info.id.value = agent.id
    later.connect(register)
    assert not later.registry.state.agents
    assert ("admitted", agent.id) not in later.store


def test_machine_named_in_two_ways_counts_by_each(cluster: Cluster) -> None:
    later = mesos.Unavailability(start=mesos.TimeInfo(nanoseconds=SOON.start.nanoseconds + 1))
    cluster.operate(schedule(([named("node", "10.0.0.1")], later), ([named(ip="10.0.0.1")], SOON)))
    agent, framework = cluster.agent(pid=PID), cluster.framework()
    assert cluster.offer(framework, agent, "cpus:1").unavailability == SOON
    cluster.operate(start(named(ip="10.0.0.1")))
    assert cluster.to_agent(agent)[-1].HasField("shutdown")


def test_an_address_is_the_same_however_it_is_written(cluster: Cluster) -> None:
    cluster.operate(schedule(([named(ip="2001:DB8:0:0::1")], SOON)))
    agent, framework = cluster.agent(pid="slave(1)@[2001:db8::1]:5051"), cluster.framework()
    assert cluster.offer(framework, agent, "cpus:1").unavailability == SOON


def test_schedule_that_could_not_be_started_is_refused(cluster: Cluster) -> None:
    machines = [named(f"{number:06d}.machine.with.a.long.name.example.com", "10.0.0.1") for number in range(6000)]
    call = schedule((machines, SOON))
    planned = records.maintain(Plan(call.update_maintenance_schedule.schedule))
    assert sum(len(one.value or b"") for one in planned) < PLAN_BYTES_MAX
    cluster.operate(call)
    assert cluster.refusal().startswith("LimitExceeded: the schedule has")


def test_schedule_that_is_too_long_is_refused_before_it_is_looked_at(cluster: Cluster) -> None:
    machines = [named("the-same-" + "x" * 100)] * (PLAN_BYTES_MAX // 100)
    cluster.operate(schedule((machines, SOON)))
    assert cluster.refusal().startswith("LimitExceeded: the schedule has")


def test_machine_that_is_in_service_again_leaves_the_schedule(cluster: Cluster) -> None:
    cluster.operate(schedule(([named("node"), named("other")], SOON)))
    machines = status(cluster).status
    assert (len(machines.draining_machines), len(machines.down_machines)) == (2, 0)
    cluster.operate(start(named("node")))
    machines = status(cluster).status
    assert [one.id.hostname for one in machines.draining_machines] == ["other"]
    assert [one.hostname for one in machines.down_machines] == ["node"]
    cluster.operate(stop(named("NODE")))
    assert cluster.of(effects.Answer)
    assert [one.id.hostname for one in status(cluster).status.draining_machines] == ["other"]
    agent = cluster.agent(pid=PID)
    assert cluster.to_agent(agent)[0].HasField("registered")
    assert not cluster.to_allocator()[0].agent_update.HasField("unavailability")


def test_machines_go_down_and_come_back_in_turn_only(cluster: Cluster) -> None:
    cluster.operate(start(named("node")))
    assert cluster.refusal() == "InvalidRequest: start_maintenance.machines[0]: machine node is not in the schedule"
    cluster.operate(start())
    assert cluster.refusal() == "InvalidRequest: start_maintenance.machines: must not be empty"
    cluster.operate(stop(named("node")))
    assert cluster.refusal() == "InvalidRequest: stop_maintenance.machines[0]: machine node is not in the schedule"
    cluster.operate(start(mesos.MachineID()))
    assert cluster.refusal().startswith("InvalidRequest: start_maintenance.machines[0]")
    cluster.operate(schedule(([named("node"), named("other")], SOON)))
    cluster.operate(stop(named("node")))
    assert cluster.refusal() == "InvalidRequest: stop_maintenance.machines[0]: machine node is not down"
    cluster.operate(start(named("node"), named("node")))
    assert "is named twice" in cluster.refusal()
    cluster.operate(start(named("node")))
    for machines in ([named("node")], [named("node"), named("other")]):
        cluster.operate(start(*machines))
        assert "is down already" in cluster.refusal()
    cluster.operate(schedule())
    assert "machine node is down; stop its maintenance before it leaves the schedule" in cluster.refusal()
    cluster.operate(start(named("other")))
    assert [one.hostname for one in status(cluster).status.down_machines] == ["node", "other"]
    cluster.operate(stop(named("node"), named("other")))
    assert not cluster.registry.state.plan


# --- inverse offers ---------------------------------------------------------------------------------------------------


def test_framework_is_asked_to_leave(cluster: Cluster) -> None:
    agent, framework, offer = draining(cluster)
    assert offer.framework_id.value == framework.id
    assert offer.agent_id.value == agent.id
    assert offer.unavailability == SOON
    assert offer.url.path == "/slave(1)"
    assert advise(cluster, framework, agent) == [], "it is out already"
    assert not cluster.to_allocator()


@pytest.mark.parametrize(
    ("kind", "answer_type", "shown"),
    [
        ("ACCEPT", Answered.ANSWER_ACCEPTED, Status.ACCEPT),
        ("DECLINE", Answered.ANSWER_DECLINED, Status.DECLINE),
    ],
)
def test_answer_is_passed_on_and_shown_to_operators(
    cluster: Cluster, kind: str, answer_type: "Answered.Answer.ValueType", shown: "Status.Status.ValueType"
) -> None:
    agent, framework, offer = draining(cluster)
    assert not status(cluster).status.draining_machines[0].statuses
    cluster.call(framework, answer(kind, offer, refuse=60.0))
    (message,) = cluster.to_allocator()
    answered = message.inverse_offer_answered
    assert (answered.answer, answered.filters.refuse_seconds) == (answer_type, 60.0)
    assert answered.agent == cluster.registry.state.agents[agent.id].number
    (reply,) = status(cluster).status.draining_machines[0].statuses
    assert (reply.status, reply.framework_id.value) == (shown, framework.id)
    cluster.call(framework, answer(kind, offer))
    assert not cluster.to_allocator(), "it is no longer out"


def test_answer_without_filters_has_the_usual_ones(cluster: Cluster) -> None:
    _, framework, offer = draining(cluster)
    cluster.call(framework, answer("DECLINE", offer))
    assert cluster.to_allocator()[0].inverse_offer_answered.filters.refuse_seconds == 5.0


def test_answer_of_a_framework_that_is_gone_is_shown_no_longer(cluster: Cluster) -> None:
    _, framework, offer = draining(cluster)
    cluster.call(framework, answer("ACCEPT", offer))
    assert status(cluster).status.draining_machines[0].statuses
    cluster.call(framework, scheduler.Call(type=scheduler.Call.TEARDOWN))
    assert not status(cluster).status.draining_machines[0].statuses


def test_answer_of_another_framework_is_none(cluster: Cluster) -> None:
    _, _, offer = draining(cluster)
    cluster.call(cluster.framework(), answer("ACCEPT", offer))
    assert not cluster.to_allocator()
    assert offer.id.value in cluster.registry.state.inverse_offers


def test_other_plans_rescind_what_was_asked_and_forget_what_was_said(cluster: Cluster) -> None:
    _, framework, offer = draining(cluster)
    other = cluster.framework()
    cluster.running(other, FakeAgent(1, offer.agent_id.value, cluster.register_message()), "t2")
    (asked,) = advise(cluster, other, FakeAgent(1, offer.agent_id.value, cluster.register_message()))
    cluster.call(other, answer("ACCEPT", asked))
    later = mesos.Unavailability(start=mesos.TimeInfo(nanoseconds=SOON.start.nanoseconds + 1))
    cluster.operate(schedule(([named("node", "10.0.0.1")], later)))
    assert rescinded(cluster, framework) == [offer.id]
    assert rescinded(cluster, other) == []
    assert kinds(cluster.to_allocator()) == ["inverse_offer_answered", "agent_update"]
    assert not status(cluster).status.draining_machines[0].statuses


@pytest.mark.parametrize("who", ["agent", "framework"])
def test_nobody_is_asked_who_is_away(cluster: Cluster, who: str) -> None:
    agent, framework, offer = draining(cluster)
    if who == "agent":
        cluster.disconnect(agent)
        assert rescinded(cluster, framework) == [offer.id]
    else:
        cluster.close(framework)
    assert not cluster.registry.state.inverse_offers
    answered = [one.inverse_offer_answered for one in cluster.to_allocator() if one.HasField("inverse_offer_answered")]
    assert [one.answer for one in answered] == [Answered.ANSWER_UNSPECIFIED]
    assert advise(cluster, framework, agent) == []
    assert kinds(cluster.to_allocator()) == ["inverse_offer_answered"]


def test_advice_about_plans_of_before_is_given_back(cluster: Cluster) -> None:
    agent, framework, offer = draining(cluster)
    cluster.call(framework, answer("ACCEPT", offer))
    earlier = mesos.Unavailability(start=mesos.TimeInfo(nanoseconds=1))
    assert advise(cluster, framework, agent, earlier) == []
    assert kinds(cluster.to_allocator()) == ["inverse_offer_answered"]


def test_inverse_offer_that_nobody_answers_is_rescinded_after_the_offer_timeout(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_timeout=30.0))
    cluster.allocator()
    agent, framework, offer = draining(cluster)
    cluster.advance(29)
    assert rescinded(cluster, framework) == []
    cluster.advance(2)
    assert rescinded(cluster, framework) == [offer.id]
    assert kinds(cluster.to_allocator()) == ["inverse_offer_answered"]
    (asked,) = advise(cluster, framework, agent)
    cluster.advance(31)
    assert rescinded(cluster, framework) == [asked.id]
