"""Whatever index of the cluster state is wrong, `validate` finds it, and says which.

Each test spoils one index of a cluster that has one of each, as a defect would: an entry is missing, is stale, or says
something else than what it repeats.
"""

from collections.abc import Callable
from dataclasses import fields

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.allocator.allocator_pb2 import InverseOfferStatus
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import Form, Quantities, Resources, parse
from mezzo_registry.core import Registry, Settings, events
from mezzo_registry.core.failures import InvariantViolation
from mezzo_registry.core.invariants import PROBLEMS_MAX
from mezzo_registry.core.settings import Identity
from mezzo_registry.core.state.cluster import ClusterState
from mezzo_registry.core.state.entities import Agent, Executor, Framework, InverseOffer, Offer, Task
from mezzo_registry.core.state.maintenance import Plan
from mezzo_registry.core.state.roles import Quota
from mezzo_registry.core.state.transitions import AgentState, FrameworkState
from mezzo_registry.core.tasks.updates import ACKNOWLEDGED_MAX
from mezzo_registry.testing import START, Cluster, FakeAgent, FakeFramework

Spoil = Callable[[ClusterState], object]


def plan_maintenance(cluster: Cluster, hostname: str) -> None:
    call = master.Call(type=master.Call.UPDATE_MAINTENANCE_SCHEDULE)
    window = call.update_maintenance_schedule.schedule.windows.add()
    window.machine_ids.add(hostname=hostname)
    window.unavailability.start.nanoseconds = int((START + 86_400) * 1e9)
    cluster.operate(call)


def ask_to_leave(cluster: Cluster, framework: FakeFramework, agent: FakeAgent) -> None:
    state = cluster.registry.state
    allocations = allocator.Allocations()
    one = allocations.inverse_allocations.add(
        framework=state.frameworks[framework.id].number, agent=state.agents[agent.id].number
    )
    one.unavailability.start.nanoseconds = int((START + 86_400) * 1e9)
    cluster.handle(events.AllocationsMade(allocations))


def busy() -> Cluster:
    """One of each, whatever can be had of a cluster."""
    cluster = Cluster(Settings(offer_timeout=3_600.0), events.Elected(gone={"long-gone-S0": START}))
    cluster.allocator()
    lost = cluster.agent(pid="slave(1)@10.0.0.2:5051", hostname="lost")
    framework = cluster.framework("PARTITION_AWARE")
    cluster.running(framework, lost, "t2")
    cluster.disconnect(lost)
    cluster.advance(3_600)
    agent = cluster.agent(pid="slave(1)@10.0.0.1:5051")
    cluster.agent(hostname="idle")
    plan_maintenance(cluster, "node")
    cluster.running(framework, agent)
    offer = cluster.offer(framework, agent, "cpus:1;mem:256")
    own = cluster.task_info(offer, "t3", "cpus:0.5;mem:128")
    own.executor.executor_id.value = "own"
    own.executor.command.value = "true"
    own.executor.resources.extend(parse("cpus:0.1;mem:32").messages())
    own.ClearField("command")
    cluster.accept(framework, [offer], own)
    cluster.launched(framework, agent, "t4")
    uuid, _ = cluster.update(framework, agent, "t4", "TASK_FINISHED")
    cluster.acknowledge(framework, agent, "t4", uuid)
    cluster.offer(framework, agent, "cpus:1;mem:128")
    cluster.offer(framework, agent, "cpus:0.5;mem:64")
    ask_to_leave(cluster, framework, agent)
    cluster.call(framework, scheduler.Call(type=scheduler.Call.SUPPRESS))
    kill = scheduler.Call(type=scheduler.Call.KILL)
    kill.kill.task_id.value = "t3"
    cluster.call(framework, kill)
    cluster.call(cluster.framework(), scheduler.Call(type=scheduler.Call.TEARDOWN))
    cluster.registry.validate()
    return cluster


def node(state: ClusterState) -> Agent:
    return next(agent for agent in state.agents.values() if agent.info.hostname == "node")


def idle(state: ClusterState) -> Agent:
    return next(agent for agent in state.agents.values() if agent.info.hostname == "idle")


def only(state: ClusterState) -> Framework:
    (framework,) = state.frameworks.values()
    return framework


def ended(state: ClusterState) -> Framework:
    (framework,) = state.completed.values()
    return framework


def replace(entity: object, **values: object) -> None:
    for name, value in values.items():
        setattr(entity, name, value)


SPOILED: dict[str, tuple[Spoil, str]] = {
    # of agents
    "an agent under another id": (lambda one: one.agents.update({"S9": node(one)}), "agents is wrong"),
    "an agent without its number": (lambda one: one.agents_by_number.popitem(), "agents_by_number is wrong"),
    "a number of no agent": (lambda one: one.agents_by_number.update({99: node(one)}), "agents_by_number is wrong"),
    "an agent without its session": (lambda one: one.agents_by_session.popitem(), "agents_by_session is wrong"),
    "a session of no agent": (lambda one: one.agents_by_session.update({99: node(one)}), "agents_by_session is wrong"),
    "an agent without its address": (lambda one: one.agents_by_pid.clear(), "agents_by_pid is wrong"),
    "an address of no agent": (lambda one: one.agents_by_pid.update(x={"x": node(one)}), "agents_by_pid is wrong"),
    "an address that is empty": (lambda one: one.agents_by_pid.update(x={}), "agents_by_pid is wrong"),
    "recovered and unknown": (lambda one: one.recovered.add("S9"), "recovered has"),
    "of the store, and not recovered": (lambda one: replace(idle(one), state=AgentState.RECOVERED), "recovered has"),
    "admitted and unreachable": (lambda one: one.unreachable.update({node(one).id: 0.0}), "unreachable has admitted"),
    "admitted and gone": (lambda one: one.gone.update({node(one).id: 0.0}), "gone has admitted"),
    "a number twice": (lambda one: replace(idle(one), number=node(one).number), "have the number"),
    "a number that comes again": (lambda one: replace(one, next_number=0), "next_number is 0"),
    "available too little": (lambda one: replace(idle(one), available=Resources.EMPTY), "do not add up"),
    "available too much": (lambda one: replace(node(one), available=node(one).total), "do not add up"),
    "removed and listed": (lambda one: replace(idle(one), state=AgentState.REMOVED), "removed, but still listed"),
    "connected without a session": (lambda one: replace(idle(one), session=None), "is connected, but its session"),
    "a session that is not connected": (
        lambda one: replace(idle(one), state=AgentState.DISCONNECTED), "is disconnected, but its session",
    ),
    "offered and not connected": (
        lambda one: replace(node(one), state=AgentState.DISCONNECTED, session=None), "is offered, but disconnected",
    ),
    "connected on a machine that is down": (
        lambda one: replace(one, plan=one.plan.with_down([("node", "")])), "connected, but its machine is down",
    ),
    "a form of offers of another host": (
        lambda one: replace(node(one).offer_form, hostname="other"), "offer_form is not made",
    ),
    "a form of offers of other maintenance": (
        lambda one: node(one).offer_form.ClearField("unavailability"), "offer_form is not made",
    ),
    "a kill of no task": (
        lambda one: node(one).kills.update({("f", "t"): next(iter(node(one).kills.values()))}), "kills has tasks",
    ),
    "too many acknowledged": (
        lambda one: node(one).acknowledged.update({("f", f"t{n}"): b"" for n in range(ACKNOWLEDGED_MAX)}),
        "acknowledged has",
    ),
    "a version of no framework": (lambda one: node(one).sent_versions.update(f=0), "sent_versions has version 0"),
    "a version that is to come": (
        lambda one: node(one).sent_versions.update({only(one).id: 7}), "sent_versions has version 7",
    ),
    "an answer of no framework": (
        lambda one: node(one).inverse_statuses.update(f=InverseOfferStatus()), "inverse_statuses has",
    ),
    # of frameworks
    "a framework under another id": (lambda one: one.frameworks.update(f=only(one)), "frameworks is wrong"),
    "a framework without its number": (lambda one: one.frameworks_by_number.clear(), "frameworks_by_number is wrong"),
    "a number of no framework": (
        lambda one: one.frameworks_by_number.update({99: only(one)}), "frameworks_by_number is wrong",
    ),
    "a framework without its stream": (lambda one: one.frameworks_by_stream.clear(), "frameworks_by_stream is wrong"),
    "a stream of no framework": (
        lambda one: one.frameworks_by_stream.update(s=only(one)), "frameworks_by_stream is wrong",
    ),
    "a completed one under another id": (lambda one: one.completed.update(f=ended(one)), "completed is wrong"),
    "alive and completed": (lambda one: one.completed.update({only(one).id: only(one)}), "completed has live"),
    "a role of nobody": (lambda one: one.roles.update(web=1), "roles is wrong"),
    "a role that is missing": (lambda one: one.roles.clear(), "roles is wrong"),
    "completed and listed": (lambda one: replace(only(one), state=FrameworkState.COMPLETED), "completed, but still"),
    "a stream that is not connected": (
        lambda one: replace(only(one), state=FrameworkState.DISCONNECTED), "is disconnected, but its stream",
    ),
    "offers without a stream": (
        lambda one: replace(only(one), state=FrameworkState.DISCONNECTED, stream_id=None), "has offers, but no stream",
    ),
    "roles of another description": (lambda one: replace(only(one), roles=("web",)), "roles is ('web',)"),
    "a capability that it lacks": (lambda one: replace(only(one), multi_role=True), "multi_role is True"),
    "a capability that is missed": (lambda one: replace(only(one), partition_aware=False), "partition_aware is False"),
    "a form that it does not read": (lambda one: replace(only(one), form=Form.REFINED), "form is True"),
    "a role suppressed that it lacks": (lambda one: only(one).suppressed.add("web"), "suppressed has roles"),
    "an agent that runs nothing of it": (lambda one: only(one).agents.update(S9=1), "agents is wrong"),
    "an agent too few": (lambda one: only(one).agents.clear(), "agents is wrong"),
    "a task counted in another state": (
        lambda one: only(one).counts.tasks.__setitem__(mesos.TASK_STARTING, 7), "counts.tasks is wrong",
    ),
    "a completed one that is connected": (
        lambda one: replace(ended(one), state=FrameworkState.CONNECTED), "completed framework",
    ),
    "a completed one that runs something": (
        lambda one: ended(one).tasks.update(only(one).tasks), "completed framework",
    ),
    "a completed one with a stream": (lambda one: replace(ended(one), stream_id="s"), "has stream_id"),
    # of tasks and executors
    "a task under another id": (lambda one: only(one).tasks.update(t9=only(one).tasks["t1"]), "as t9"),
    "a task that its framework lacks": (lambda one: only(one).tasks.pop("t1"), "the tasks of agents are not"),
    "a task that its agent lacks": (lambda one: node(one).tasks.pop((only(one).id, "t1")), "is not among the tasks"),
    "a task of an agent of before": (lambda one: one.agents.pop(node(one).id), "is not among the tasks"),
    "a launch that was reported": (lambda one: replace(only(one).tasks["t3"], reported=True), "to be launched, but"),
    "a task that waits for nothing": (
        lambda one: replace(only(one).tasks["t3"], state=mesos.TASK_KILLED, statuses=[mesos.TaskStatus()]),
        "nothing is left to wait for",
    ),
    "a task here and out of reach": (
        lambda one: only(one).unreachable.update(t1=only(one).tasks["t1"]), "both listed and unreachable",
    ),
    "a completed task that runs": (
        lambda one: replace(only(one).completed[0], state=mesos.TASK_RUNNING), "completed task",
    ),
    "an executor under another id": (
        lambda one: only(one).executors.update({(node(one).id, "e9"): executor(one)}), "as e9",
    ),
    "an executor that its framework lacks": (lambda one: only(one).executors.clear(), "the executors of agents"),
    "an executor that its agent lacks": (lambda one: node(one).executors.clear(), "is not among the executors"),
    "an unreachable task forgotten by its framework": (
        lambda one: only(one).unreachable.clear(), "unreachable_tasks is wrong",
    ),
    "an unreachable task without its agent": (lambda one: one.unreachable_tasks.clear(), "unreachable_tasks is wrong"),
    "an agent out of reach without tasks": (
        lambda one: one.unreachable_tasks.update(S9={}), "unreachable_tasks is wrong",
    ),
    "an unreachable task that runs": (
        lambda one: replace(only(one).unreachable["t2"], state=mesos.TASK_RUNNING), "unreachable task",
    ),
    # of sums
    "a state without its tasks": (
        lambda one: one.task_states.update({mesos.TASK_STARTING: 1}), "task_states is wrong",
    ),
    "tasks without their state": (lambda one: one.task_states.clear(), "task_states is wrong"),
    "used too much": (lambda one: one.used.add("*", parse("cpus:1")), "used is"),
    "used in another role": (lambda one: move_sum(one), "used is"),
    "offered too little": (lambda one: one.offered.add("*", parse("cpus:1"), -1), "offered is"),
    # of offers
    "an offer of nothing": (lambda one: replace(first_offer(one), resources=Resources.EMPTY), "offers nothing"),
    "an offer for another role": (lambda one: replace(first_offer(one), role="web"), "for a role that"),
    "an offer under another id": (lambda one: one.offers.update({"x-O0": first_offer(one)}), "as x-O0"),
    "an offer that its agent lacks": (lambda one: node(one).offers.popitem(), "the offers of agents is wrong"),
    "an offer that its framework lacks": (lambda one: only(one).offers.popitem(), "the offers of frameworks is wrong"),
    "an offer that is missing": (lambda one: one.offers.popitem(), "the offers of agents is wrong"),
    "an offer out of order": (lambda one: replace(first_offer(one), made_at=2 * START), "offers are not in the order"),
    "an offer that never times out": (lambda one: replace(one, offer_timer_runs=False), "offers are out, but no timer"),
    "an id that comes again": (lambda one: replace(one, next_offer=0), "next_offer is 0"),
    "an inverse offer that its agent lacks": (lambda one: node(one).inverse_offers.clear(), "is not among those of"),
    "an inverse offer that its framework lacks": (lambda one: only(one).inverse_offers.clear(), "is not among"),
    "an inverse offer that is missing": (lambda one: one.inverse_offers.clear(), "are not those that are out"),
    "an inverse offer about another time": (
        lambda one: replace(first_inverse_offer(one), unavailability=mesos.Unavailability()), "about another time",
    ),
    "an inverse offer that cannot be answered": (
        lambda one: replace(only(one), state=FrameworkState.DISCONNECTED), "out, but cannot be answered",
    ),
    "an inverse offer out of order": (
        lambda one: one.inverse_offers.update({"x-O0": InverseOffer("x-O0", *whom(one), mesos.Unavailability(), 0.0)}),
        "inverse offers are not in the order",
    ),
    "an inverse offer that never times out": (
        lambda one: replace(one, inverse_offer_timer_runs=False), "inverse offers are out, but no timer",
    ),
    # of what is configured
    "a machine down that is not scheduled": (
        lambda one: replace(one, pending_plan=Plan(down=[("other", "")])), "pending_plan: of the machines",
    ),
    "a quota that says nothing": (lambda one: one.configuration.quotas.update(web=Quota()), "configuration: role web"),
    "guarantees beyond those above": (
        lambda one: one.pending_configuration.quotas.update({"web/a": Quota(guarantees=Quantities({"cpus": 1}))}),
        "pending_configuration: role web",
    ),
    "a weight of nothing": (lambda one: one.configuration.weights.update(web=0.0), "role web has a weight of 0.0"),
    # of observers
    "a snapshot for nobody": (lambda one: one.pending_snapshots.update({9: {}}), "pending_snapshots has no observers"),
    "a snapshot with a forgotten task": (
        lambda one: one.pending_snapshots.update({-1: {forgotten(one): None}}), "tasks that are forgotten",
    ),
}  # fmt: skip


def executor(state: ClusterState) -> Executor:
    return next(iter(only(state).executors.values()))


def first_offer(state: ClusterState) -> Offer:
    return next(iter(state.offers.values()))


def first_inverse_offer(state: ClusterState) -> InverseOffer:
    return next(iter(state.inverse_offers.values()))


def whom(state: ClusterState) -> tuple[Framework, Agent]:
    return only(state), node(state)


def move_sum(state: ClusterState) -> None:
    state.used.nonrevocable["web"] = state.used.nonrevocable.pop("*")


def forgotten(state: ClusterState) -> Task:
    state.observers.add(-1)
    return Task("t9", *whom(state), mesos.TaskInfo(), Resources.EMPTY, "*", "")


@pytest.mark.parametrize("what", SPOILED)
def test_index_that_is_wrong_is_found_and_named(what: str) -> None:
    cluster = busy()
    spoil, words = SPOILED[what]
    spoil(cluster.registry.state)
    with pytest.raises(InvariantViolation) as raised:
        cluster.registry.validate()
    assert any(words in line for line in str(raised.value).splitlines()), str(raised.value)


CHECKED = {
    ClusterState: (
        "agents agents_by_number agents_by_session agents_by_pid unreachable unreachable_tasks gone recovered "
        "frameworks frameworks_by_number frameworks_by_stream completed roles configuration pending_configuration "
        "task_states used offered offers offer_timer_runs inverse_offers inverse_offer_timer_runs plan pending_plan "
        "observers pending_snapshots next_offer next_number"
    ),
    Agent: (
        "number info total state available session pid registered_at tasks executors offers sent_versions kills "
        "acknowledged inverse_offers inverse_statuses offer_form"
    ),
    Framework: (
        "number info state roles partition_aware multi_role form stream_id info_version suppressed tasks unreachable "
        "completed executors offers inverse_offers agents counts"
    ),
    Task: "id framework agent resources role state statuses pending launch reported",
    Executor: "info framework agent resources role",
    Offer: "id framework agent role resources made_at",
    InverseOffer: "id framework agent unavailability made_at",
}
REPEATS_NOTHING = {
    ClusterState: (
        "story whitelist offer_ages allocator_connected allocator_flags allocator_cycle next_agent next_framework "
        "removals removal_permit_at"
    ),
    Agent: "last_seen_at version mezzo_version capabilities reregistered_at was_unreachable removal_scheduled",
    Framework: ("client_address revived_without_launch constraints registered_at reregistered_at unregistered_at"),
    Task: "announced source executor_id",
    Executor: "",
    Offer: "message",
    InverseOffer: "",
}


@pytest.mark.parametrize("kind", CHECKED)
def test_of_each_field_it_is_known_whether_it_repeats_another(kind: type) -> None:
    """A field that is new is either checked, with a test above that spoils it, or repeats nothing."""
    names = vars(ClusterState()) if kind is ClusterState else [field.name for field in fields(kind)]
    assert sorted(names) == sorted((CHECKED[kind] + " " + REPEATS_NOTHING[kind]).split())


def test_error_names_all_that_is_wrong_up_to_a_number() -> None:
    cluster = busy()
    cluster.registry.state.roles["web"] = 1
    cluster.registry.state.recovered.add("S9")
    with pytest.raises(InvariantViolation) as raised:
        cluster.registry.validate()
    first, *problems = str(raised.value).splitlines()
    assert first == "the cluster state contradicts itself"
    assert len(problems) == 2
    for number in range(2 * PROBLEMS_MAX):
        cluster.registry.state.configuration.weights[f"web{number}"] = -1.0
    with pytest.raises(InvariantViolation) as raised:
        cluster.registry.validate()
    assert len(str(raised.value).splitlines()) == 1 + PROBLEMS_MAX


def test_registry_that_has_handled_nothing_is_sound() -> None:
    Registry(Identity(registry_id="r", master_info=mesos.MasterInfo())).validate()
