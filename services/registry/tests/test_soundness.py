"""Whatever happens, in whatever order: the state stays sound, and nothing that a peer says can make the core raise."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_registry.core import RateLimit, Settings, effects, events
from mezzo_registry.core.views import observers
from mezzo_registry.testing import Cluster, FakeAgent, FakeFramework

STATES = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST"]
any_index = st.integers(min_value=0, max_value=7)
any_address = st.integers(min_value=0, max_value=3)


def pid_of(address: int) -> str:
    """Where an agent is reached. Addresses change hands."""
    return f"slave(1)@10.0.0.{address}:5051"


class ClusterMachine(RuleBasedStateMachine):
    """Plays a small cluster at random: tasks run, streams break, peers come back with less or more than they had."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(
            Settings(agent_removal_rate_limit=RateLimit(1, 30.0), max_completed_frameworks=2, offer_timeout=20.0)
        )
        self.agents: list[FakeAgent] = []
        self.frameworks: list[FakeFramework] = []
        self.offers: list[tuple[FakeFramework, mesos.Offer]] = []
        self.updates: list[tuple[FakeFramework, FakeAgent, str, bytes]] = []
        self.names = 0
        self.seen: dict[tuple[str, str], int] | None = None
        """What an observer knows of active tasks, once its snapshot is complete."""
        self._copy: dict[tuple[str, str], int] = {}
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(observers, "TASKS_PER_PART", 1)
        self.cluster.listener = self.observe

    def teardown(self) -> None:
        self._patch.undo()

    def agent_at(self, index: int) -> FakeAgent:
        return self.agents[index % len(self.agents)]

    def framework_at(self, index: int) -> FakeFramework:
        return self.frameworks[index % len(self.frameworks)]

    @initialize(aware=st.booleans())
    def begin(self, aware: bool) -> None:
        self.cluster.allocator()
        self.agents.append(self.cluster.agent())
        capabilities = ["PARTITION_AWARE"] if aware else []
        self.frameworks.append(self.cluster.framework(*capabilities, failover_timeout=100.0))

    @precondition(lambda self: self.cluster.held_back is None)
    @rule(address=any_address)
    def agent_comes(self, address: int) -> None:
        down = self.cluster.registry.state.plan.is_down("node", pid_of(address))
        if len(self.agents) < 5 and not down:
            self.agents.append(self.cluster.agent(pid=pid_of(address)))

    @rule(multi_role=st.booleans())
    def framework_comes(self, multi_role: bool) -> None:
        if len(self.frameworks) < 4:
            made = self.cluster.framework("MULTI_ROLE", roles=["*", "web"]) if multi_role else self.cluster.framework()
            self.frameworks.append(made)

    @rule(role=st.sampled_from(["*", "web", "web/a"]), weight=st.sampled_from([0.5, 1.0, 3.0]))
    def weight_changes(self, role: str, weight: float) -> None:
        call = master.Call(type=master.Call.UPDATE_WEIGHTS)
        call.update_weights.weight_infos.add(role=role, weight=weight)
        self.cluster.operate(call)

    @rule(
        role=st.sampled_from(["*", "web", "web/a"]),
        guarantee=st.sampled_from([0.0, 1.0, 2.0]),
        limit=st.sampled_from([None, 1.0, 2.5]),
        force=st.booleans(),
    )
    def quota_changes(self, role: str, guarantee: float, limit: float | None, force: bool) -> None:
        call = master.Call(type=master.Call.UPDATE_QUOTA)
        call.update_quota.force = force
        config = call.update_quota.quota_configs.add(role=role)
        if guarantee:
            config.guarantees["cpus"].value = guarantee
        if limit is not None:
            config.limits["cpus"].value = limit
        self.cluster.operate(call)

    @rule(addresses=st.sets(st.integers(0, 3)), start_seconds=st.sampled_from([1, 2]))
    def maintenance_is_planned(self, addresses: set[int], start_seconds: int) -> None:
        call = master.Call(type=master.Call.UPDATE_MAINTENANCE_SCHEDULE)
        schedule = call.update_maintenance_schedule.schedule
        schedule.SetInParent()
        for address in sorted(addresses):
            window = schedule.windows.add(machine_ids=[mesos.MachineID(ip=f"10.0.0.{address}")])
            window.unavailability.start.nanoseconds = start_seconds * 10**9
        self.cluster.operate(call)

    @rule(address=st.integers(0, 3), up=st.booleans())
    def machine_goes_down_or_up(self, address: int, up: bool) -> None:
        call = master.Call(type=master.Call.STOP_MAINTENANCE if up else master.Call.START_MAINTENANCE)
        machines = call.stop_maintenance.machines if up else call.start_maintenance.machines
        machines.add(ip=f"10.0.0.{address}")
        self.cluster.operate(call)

    @rule(framework=any_index, agent=any_index, start_seconds=st.sampled_from([1, 2]))
    def inverse_allocation(self, framework: int, agent: int, start_seconds: int) -> None:
        cluster_state = self.cluster.registry.state
        known, on = (
            cluster_state.frameworks.get(self.framework_at(framework).id),
            cluster_state.agents.get(self.agent_at(agent).id),
        )
        allocations = allocator.Allocations()
        one = allocations.inverse_allocations.add(framework=known.number if known else 0, agent=on.number if on else 0)
        one.unavailability.start.nanoseconds = start_seconds * 10**9
        self.cluster.handle(events.AllocationsMade(allocations))

    @rule(framework=any_index, accepts=st.booleans())
    def inverse_offer_is_answered(self, framework: int, accepts: bool) -> None:
        played = self.framework_at(framework)
        kind = scheduler.Call.ACCEPT_INVERSE_OFFERS if accepts else scheduler.Call.DECLINE_INVERSE_OFFERS
        call = scheduler.Call(type=kind)
        reply = call.accept_inverse_offers if accepts else call.decline_inverse_offers
        reply.SetInParent()
        for offer_id in self.cluster.registry.state.inverse_offers:
            reply.inverse_offer_ids.add(value=offer_id)
        self.cluster.call(played, call)

    @rule(framework=any_index, agent=any_index)
    def allocation(self, framework: int, agent: int) -> None:
        played, cluster_state = self.framework_at(framework), self.cluster.registry.state
        if played.id not in cluster_state.frameworks or self.agent_at(agent).id not in cluster_state.agents:
            return
        self.cluster.allocate(played, self.agent_at(agent), "cpus:1;mem:256")
        for event in self.cluster.to_framework(played):
            self.offers.extend((played, offer) for offer in event.offers.offers)

    @precondition(lambda self: self.offers)
    @rule(index=any_index, with_executor=st.booleans())
    def accept(self, index: int, with_executor: bool) -> None:
        framework, offer = self.offers[index % len(self.offers)]
        self.names += 1
        task = self.cluster.task_info(offer, f"t{self.names}", "cpus:0.5;mem:64")
        if with_executor:
            task.ClearField("command")
            task.executor.executor_id.value = "e1"
            task.executor.command.value = "run"
        self.cluster.accept(framework, [offer], task)

    @precondition(lambda self: self.offers)
    @rule(index=any_index)
    def decline(self, index: int) -> None:
        framework, offer = self.offers.pop(index % len(self.offers))
        call = scheduler.Call(type=scheduler.Call.DECLINE)
        call.decline.offer_ids.append(offer.id)
        self.cluster.call(framework, call)

    @rule(framework=any_index, agent=any_index, name=st.integers(1, 8), state=st.sampled_from(STATES))
    def update(self, framework: int, agent: int, name: int, state: str) -> None:
        played, sender = self.framework_at(framework), self.agent_at(agent)
        identifier, _ = self.cluster.update(played, sender, f"t{name}", state)
        self.updates.append((played, sender, f"t{name}", identifier))

    @precondition(lambda self: self.updates)
    @rule(index=any_index)
    def acknowledge(self, index: int) -> None:
        self.cluster.acknowledge(*self.updates.pop(index % len(self.updates)))

    @rule(framework=any_index, name=st.integers(1, 8))
    def kill(self, framework: int, name: int) -> None:
        call = scheduler.Call(type=scheduler.Call.KILL)
        call.kill.task_id.value = f"t{name}"
        self.cluster.call(self.framework_at(framework), call)

    @rule(framework=any_index)
    def reconcile(self, framework: int) -> None:
        self.cluster.reconcile(self.framework_at(framework))

    @rule(agent=any_index)
    def agent_stream_breaks(self, agent: int) -> None:
        self.cluster.disconnect(self.agent_at(agent))

    @rule(
        agent=any_index,
        kept=st.integers(0, 3),
        terminal=st.booleans(),
        renamed=st.booleans(),
        address=st.none() | any_address,
    )
    def agent_returns(self, agent: int, kept: int, terminal: bool, renamed: bool, address: int | None) -> None:
        played, cluster_state = self.agent_at(agent), self.cluster.registry.state
        known = cluster_state.agents.get(played.id)
        state = "TASK_FAILED" if terminal else "TASK_RUNNING"
        tasks, executors, frameworks = [], {}, {}
        for task in list(known.tasks.values())[:kept] if known else []:
            made = mesos.Task(name=task.id, state=mesos.TaskState.Value(state))
            made.task_id.value, made.framework_id.value, made.agent_id.value = task.id, task.framework.id, played.id
            made.resources.extend(task.resources.allocated_to(task.role).messages())
            tasks.append(made)
            frameworks[task.framework.id] = task.framework.info
            for key, executor in known.executors.items() if known else []:
                executors[key] = executor.info
                frameworks[executor.framework.id] = executor.framework.info
        if renamed:
            played.register.agent_info.hostname += "x"
        if address is not None:
            played.register.pid = pid_of(address)
        self.cluster.come_back(played, tasks=tasks, executors=executors.values(), frameworks=frameworks.values())

    @rule(agent=any_index)
    def agent_leaves(self, agent: int) -> None:
        self.cluster.handle(events.AgentLeaving(self.agent_at(agent).session, "bye"))

    @rule(framework=any_index)
    def framework_stream_breaks(self, framework: int) -> None:
        self.cluster.close(self.framework_at(framework))

    @rule(framework=any_index)
    def framework_returns(self, framework: int) -> None:
        self.cluster.resubscribe(self.framework_at(framework))

    @rule(framework=any_index)
    def framework_tears_itself_down(self, framework: int) -> None:
        self.cluster.call(self.framework_at(framework), scheduler.Call(type=scheduler.Call.TEARDOWN))

    @rule(seconds=st.sampled_from([1.0, 20.0, 120.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.advance(seconds)

    @rule()
    def store_is_slow(self) -> None:
        self.cluster.hold_store()

    @precondition(lambda self: self.cluster.held_back is not None)
    @rule()
    def store_is_done(self) -> None:
        self.cluster.release_store()

    @rule(here=st.booleans())
    def allocator_comes_or_goes(self, here: bool) -> None:
        self.cluster.handle(events.AllocatorConnected() if here else events.AllocatorDisconnected())

    @rule()
    def observer_comes(self) -> None:
        self.seen = None
        self.cluster.handle(events.ObserverJoined(1))

    @rule()
    def observer_wants_more(self) -> None:
        self.cluster.handle(events.ObserverReady(1))

    def observe(self, effect: effects.Effect) -> None:
        """Apply what the observer is told to its copy."""
        if isinstance(effect, effects.Publish):
            self.apply(effect.change)
        elif isinstance(effect, effects.PublishSnapshot):
            for change in effect.changes:
                self.apply(change)

    def apply(self, change: operator.StateChange) -> None:
        if change.HasField("snapshot_begin"):
            self._copy = {}
        elif change.HasField("snapshot_end"):
            self.seen = self._copy
        elif change.HasField("task_added"):
            added = change.task_added
            key = (added.task.framework_id.value, added.task.task_id.value)
            if added.list == operator.TASK_LIST_ACTIVE:
                self._copy[key] = added.task.state
        elif change.HasField("task_updated"):
            updated = change.task_updated
            key = (updated.framework_id.value, updated.status.task_id.value)
            if updated.list == operator.TASK_LIST_ACTIVE:
                assert key in self._copy, "an observer is told of a change of what it does not know"
                self._copy[key] = updated.latest.state
            else:
                self._copy.pop(key, None)

    @invariant()
    def books_are_sound(self) -> None:
        self.cluster.registry.validate()

    @invariant()
    def observers_copy_is_true(self) -> None:
        if self.seen is not None:
            frameworks = self.cluster.registry.state.frameworks.values()
            truth = {(one.id, task.id): task.state for one in frameworks for task in one.tasks.values()}
            assert self.seen == truth


ClusterMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCluster = ClusterMachine.TestCase


def garbage_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Messages that parse, whatever they mean: random bytes where fields used to be, and fields left out."""

    def spoil(data: tuple[bytes, int, int]) -> Any:
        noise, start, length = data
        good = _examples()[kind].SerializePartialToString()
        cut = good[:start] + noise + good[start + length :]
        message = kind()
        try:
            message.ParseFromString(cut)
        except DecodeError:  # not a message at all: the transport would have refused it
            return _examples()[kind]
        return message

    return st.tuples(st.binary(max_size=6), st.integers(0, 200), st.integers(0, 30)).map(spoil)


def _examples() -> dict[type[Any], Any]:
    cluster = Cluster()
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    accept = scheduler.Call(type=scheduler.Call.ACCEPT)
    accept.framework_id.value = framework.id
    accept.accept.offer_ids.append(offer.id)
    task = cluster.task_info(offer)
    task.executor.executor_id.value = "e"
    task.executor.command.value = "c"
    task.ClearField("command")
    accept.accept.operations.add(type=mesos.Offer.Operation.LAUNCH).launch.task_infos.append(task)
    register = cluster.register_message(id=agent.id, tasks=[cluster.snapshot_task(framework, agent, task)])
    register.frameworks.append(framework.info)
    update = agent_session.TaskUpdate()
    update.framework_id.value, update.status.task_id.value = framework.id, "t1"
    update.status.state, update.status.uuid = mesos.TASK_RUNNING, b"u" * 16
    allocation = allocator.Allocation(framework=2, agent=1, role="*", resources=task.resources)
    teardown = master.Call(type=master.Call.TEARDOWN)
    teardown.teardown.framework_id.value = framework.id
    subscribe = scheduler.Call(type=scheduler.Call.SUBSCRIBE)
    subscribe.subscribe.framework_info.CopyFrom(framework.info)
    subscribe.framework_id.CopyFrom(framework.info.id)
    return {
        scheduler.Call: accept,
        scheduler.Call.Subscribe: subscribe,
        agent_session.Register: register,
        agent_session.TaskUpdate: update,
        allocator.Allocations: allocator.Allocations(allocations=[allocation]),
        master.Call: teardown,
    }


@settings(max_examples=300, deadline=None)
@given(
    call=garbage_of(scheduler.Call),
    register=garbage_of(agent_session.Register),
    update=garbage_of(agent_session.TaskUpdate),
    allocations=garbage_of(allocator.Allocations),
    operator_call=garbage_of(master.Call),
)
def test_no_message_of_a_peer_makes_the_core_raise(
    call: Any, register: Any, update: Any, allocations: Any, operator_call: Any
) -> None:
    cluster = Cluster()
    cluster.allocator()
    cluster.handle(events.ObserverJoined(1))
    agent, framework = cluster.agent(), cluster.framework()
    cluster.offer(framework, agent)
    cluster.handle(events.FrameworkCalled(1, framework.stream_id, call))
    cluster.handle(events.FrameworkSubscribing(2, "other", call))
    cluster.handle(events.AllocationsMade(allocations))
    cluster.handle(events.TaskUpdated(agent.session, update))
    cluster.connect(register)
    cluster.handle(events.OperatorCalled(3, operator_call))
    for effect in cluster.effects:
        message = getattr(effect, "message", None) or getattr(effect, "event", None)
        assert not isinstance(message, Message) or message.IsInitialized()
    cluster.registry.validate()
