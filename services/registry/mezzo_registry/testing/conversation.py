"""A cluster as a registry's core sees it, for tests: plays every peer, and keeps the effects."""

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import Resources, parse
from mezzo_registry.core import Identity, Registry, Settings, effects, events
from mezzo_registry.testing.replica import Replica

START = 1_800_000_000.0
OBSERVER = -1
"""The observer that every cluster has, and no test sees: what it is sent must be true at the end."""
REGISTRY_ID = "0f2e6a1c-3f5a-4d6e-9a57-5d8f3f6f0a10"
Call = scheduler.Call
Status = mesos.TaskStatus


@dataclass
class FakeAgent:
    """What a test knows of an agent that it plays."""

    session: int
    id: str
    register: agent_session.Register


@dataclass
class FakeFramework:
    """What a test knows of a framework that it plays."""

    id: str
    stream_id: str
    info: mesos.FrameworkInfo
    inbox: list[scheduler.Event] = field(default_factory=list)


class Cluster:
    """Plays every peer of one registry. `effects` is all that it emitted in the last exchange."""

    def __init__(
        self,
        settings: Settings | None = None,
        elected: events.Elected | None = None,
        domain: mesos.DomainInfo | None = None,
    ) -> None:
        master_info = mesos.MasterInfo(id=REGISTRY_ID, ip=16777343, port=5050, hostname="127.0.0.1", domain=domain)
        self.identity = Identity(registry_id=REGISTRY_ID, master_info=master_info, started_at=START, elected_at=START)
        self.registry = Registry(self.identity, settings)
        self.now = START
        self.effects: list[effects.Effect] = []
        self.timers: dict[events.Timer, float] = {}
        self.store: dict[tuple[str, str], bytes] = {}
        self.held_back: list[events.Event] | None = None
        self.listener: Callable[[effects.Effect], None] | None = None
        """Is shown every effect as it is emitted."""
        self._sessions = itertools.count(1)
        self._streams = itertools.count(1)
        self._requests = itertools.count(1)
        self._replica = Replica()
        self.handle(elected or events.Elected())
        self.handle(events.ObserverJoined(OBSERVER))
        self.effects = []

    # --- exchanges ----------------------------------------------------------------------------------------------------

    def handle(self, event: events.Event) -> list[effects.Effect]:
        """Have the registry handle an event, and run the effects on timers and store. Returns all effects."""
        self.effects = []
        self._handle(event)
        return self.effects

    def _handle(self, event: events.Event) -> None:
        emitted = self._unobserved(self.registry.handle(event, now=self.now))
        self.effects.extend(emitted)
        for effect in emitted:
            if self.listener is not None:
                self.listener(effect)
            if isinstance(effect, effects.StartTimer):
                self.timers[effect.timer] = self.now + effect.after_seconds
            elif isinstance(effect, effects.CancelTimer):
                self.timers.pop(effect.timer, None)
            elif isinstance(effect, effects.Persist):
                self._persist(effect)

    def _unobserved(self, emitted: list[effects.Effect]) -> list[effects.Effect]:
        """What was emitted, without what is for the observer that no test sees."""
        watched = self.registry.state.observers - {OBSERVER}
        seen: list[effects.Effect] = []
        for effect in emitted:
            if isinstance(effect, effects.PublishSnapshot) and effect.observer == OBSERVER:
                self._replica.apply(effect.changes)
                continue
            if isinstance(effect, effects.Publish):
                self._replica.apply([effect.change])
                if not watched:
                    continue
            seen.append(effect)
        return seen

    def validate(self) -> None:
        """What the registry holds is sound, and observers have been sent the same."""
        self.registry.validate()
        for event in (events.ObserverReady(OBSERVER), events.ObserverLeft(OBSERVER)):
            for effect in self.registry.handle(event, now=self.now):
                if isinstance(effect, effects.PublishSnapshot):
                    self._replica.apply(effect.changes)
        sent, self._replica = self._replica, Replica()
        while not self._replica.complete:
            comes = events.ObserverReady(OBSERVER) if self._replica.facts else events.ObserverJoined(OBSERVER)
            self._unobserved(self.registry.handle(comes, now=self.now))
        differences = sent.differences(self._replica)
        assert not differences, "\n\n".join(differences)

    def _persist(self, effect: effects.Persist) -> None:
        for write in effect.writes:
            if write.value is None:
                self.store.pop((write.table, write.key), None)
            else:
                self.store[write.table, write.key] = write.value
        if effect.then is None:
            return
        if self.held_back is not None:
            self.held_back.append(effect.then)
        else:
            self._handle(effect.then)

    def hold_store(self) -> None:
        """From now on writes are not durable until `release_store`; those that wait already go on waiting."""
        if self.held_back is None:
            self.held_back = []

    def release_store(self) -> list[effects.Effect]:
        """Everything written is durable now."""
        waiting, self.held_back = self.held_back or [], None
        self.effects = []
        for event in waiting:
            self._handle(event)
        return self.effects

    def advance(self, seconds: float) -> list[effects.Effect]:
        """Let time pass; timers fire on the way. Returns all effects."""
        self.effects = []
        until = self.now + seconds
        while self.timers:
            timer = min(self.timers, key=lambda one: self.timers[one])
            if self.timers[timer] > until:
                break
            self.now = max(self.now, self.timers.pop(timer))
            self._handle(events.TimerFired(timer))
        self.now = until
        return self.effects

    # --- what was emitted ---------------------------------------------------------------------------------------------

    def to_agent(self, agent: FakeAgent) -> list[agent_session.RegistryMessage]:
        """What the agent was sent in the last exchange."""
        return [
            one.message for one in self.effects if isinstance(one, effects.SendToAgent) and one.session == agent.session
        ]

    def to_framework(self, framework: FakeFramework) -> list[scheduler.Event]:
        """What the framework was sent in the last exchange."""
        return self.on_stream(framework.stream_id)

    def on_stream(self, stream_id: str) -> list[scheduler.Event]:
        """What was sent on a stream in the last exchange."""
        return [
            one.event for one in self.effects if isinstance(one, effects.SendToFramework) and one.stream_id == stream_id
        ]

    def statuses(self, framework: FakeFramework) -> list[mesos.TaskStatus]:
        """The updates that the framework was sent in the last exchange."""
        return [event.update.status for event in self.to_framework(framework) if event.type == scheduler.Event.UPDATE]

    def states(self, framework: FakeFramework) -> list[tuple[str, str]]:
        """Task id and state of those updates."""
        return [(one.task_id.value, mesos.TaskState.Name(one.state)) for one in self.statuses(framework)]

    def to_allocator(self) -> list[allocator.RegistryMessage]:
        """What the allocator was sent in the last exchange."""
        return [one.message for one in self.effects if isinstance(one, effects.SendToAllocator)]

    def recovered(self) -> list[str]:
        """What the allocator got back in the last exchange, as text."""
        return [
            str(Resources.of(one.recovered.resources))
            for one in self.to_allocator()
            if one.WhichOneof("message") == "recovered"
        ]

    def roles_to_allocator(self) -> dict[str, allocator.RoleUpdate]:
        """What the allocator was sent of roles in the last exchange."""
        sent = [one.role_update for one in self.to_allocator() if one.HasField("role_update")]
        return {one.role: one for one in sent}

    def published(self, kind: str) -> list[Any]:
        """The changes of one kind that observers were sent in the last exchange."""
        changes = [one.change for one in self.of(effects.Publish)]
        for one in self.of(effects.PublishSnapshot):
            changes.extend(one.changes)
        return [getattr(one, kind) for one in changes if one.WhichOneof("change") == kind]

    def of(self, kind: type[Any]) -> list[Any]:
        """The effects of one kind in the last exchange."""
        return [one for one in self.effects if isinstance(one, kind)]

    def refusal(self) -> str:
        """Why the last call was refused."""
        (refused,) = self.of(effects.Refuse)
        return f"{type(refused.error).__name__}: {refused.error}"

    # --- peers --------------------------------------------------------------------------------------------------------

    def register_message(
        self, resources: str = "cpus:4;mem:4096;disk:10000;ports:[31000-32000]", **changes: Any
    ) -> agent_session.Register:
        """What a new agent says."""
        message = agent_session.Register(version="0.1.0", mesos_version="1.11.0", pid=changes.pop("pid", ""))
        message.agent_info.hostname = changes.pop("hostname", "node")
        message.agent_info.port = 5051
        message.agent_info.id.value = changes.pop("id", "")
        if "domain" in changes:
            message.agent_info.domain.CopyFrom(changes.pop("domain"))
        messages = parse(resources).messages()
        message.agent_info.resources.extend(messages)
        message.total_resources.extend(messages)
        for name, values in changes.items():
            getattr(message, name).extend(values)
        return message

    def connect(self, register: agent_session.Register) -> int:
        """An agent opens a session. Returns its number."""
        session = next(self._sessions)
        self.handle(events.AgentRegistering(session, register))
        return session

    def agent(self, resources: str = "cpus:4;mem:4096;disk:10000;ports:[31000-32000]", **changes: Any) -> FakeAgent:
        """A new agent that is admitted."""
        register = self.register_message(resources, **changes)
        session = self.connect(register)
        agent = FakeAgent(session, "", register)
        agent.id = self.to_agent(agent)[0].registered.agent_id.value
        register.agent_info.id.value = agent.id
        return agent

    def come_back(self, agent: FakeAgent, **changes: Any) -> list[effects.Effect]:
        """An agent opens another session, with the tasks, executors and frameworks given."""
        for name in ("tasks", "executors", "frameworks"):
            del getattr(agent.register, name)[:]
            getattr(agent.register, name).extend(changes.get(name, ()))
        agent.session = self.connect(agent.register)
        return self.effects

    def disconnect(self, agent: FakeAgent) -> list[effects.Effect]:
        """An agent's stream breaks."""
        return self.handle(events.AgentDisconnected(agent.session, "connection reset"))

    def framework_info(self, *capabilities: str, **fields: Any) -> mesos.FrameworkInfo:
        """A framework's description."""
        info = mesos.FrameworkInfo(user="root", name="test", **fields)
        for name in capabilities:
            info.capabilities.add(type=mesos.FrameworkInfo.Capability.Type.Value(name))
        return info

    def subscribe(self, info: mesos.FrameworkInfo, **fields: Any) -> str:
        """A framework subscribes. Returns the id of its stream."""
        call = Call(type=Call.SUBSCRIBE)
        call.subscribe.framework_info.CopyFrom(info)
        call.subscribe.suppressed_roles.extend(fields.get("suppressed_roles", ()))
        if "offer_constraints" in fields:
            call.subscribe.offer_constraints.CopyFrom(fields["offer_constraints"])
        if info.id.value:
            call.framework_id.CopyFrom(info.id)
        stream_id = f"stream-{next(self._streams)}"
        self.handle(events.FrameworkSubscribing(next(self._requests), stream_id, call, "10.0.0.1:4000"))
        return stream_id

    def framework(self, *capabilities: str, **fields: Any) -> FakeFramework:
        """A framework that is subscribed."""
        info = self.framework_info(*capabilities, **fields)
        stream_id = self.subscribe(info)
        framework_id = self.on_stream(stream_id)[0].subscribed.framework_id
        info.id.CopyFrom(framework_id)
        return FakeFramework(framework_id.value, stream_id, info)

    def resubscribe(self, framework: FakeFramework) -> list[effects.Effect]:
        """The framework subscribes again, under its id."""
        framework.stream_id = self.subscribe(framework.info)
        return self.effects

    def close(self, framework: FakeFramework) -> list[effects.Effect]:
        """The framework's stream breaks."""
        return self.handle(events.FrameworkStreamClosed(framework.stream_id))

    def allocator(self) -> list[effects.Effect]:
        """An allocator comes."""
        return self.handle(events.AllocatorConnected())

    def number_of(self, framework: FakeFramework) -> int:
        """The framework's name on the allocator's session."""
        return self.registry.state.frameworks[framework.id].number

    def allocate(
        self, framework: FakeFramework, agent: FakeAgent, resources: str = "cpus:2;mem:1024", role: str = "*"
    ) -> list[effects.Effect]:
        """The allocator advises one offer."""
        state = self.registry.state
        allocation = allocator.Allocation(
            framework=state.frameworks[framework.id].number,
            agent=state.agents[agent.id].number,
            role=role,
        )
        allocation.resources.extend(parse(resources).messages())
        return self.handle(events.AllocationsMade(allocator.Allocations(allocations=[allocation])))

    def offer(
        self, framework: FakeFramework, agent: FakeAgent, resources: str = "cpus:2;mem:1024", role: str = "*"
    ) -> mesos.Offer:
        """The offer that the framework is made of one allocation."""
        self.allocate(framework, agent, resources, role)
        (event,) = [one for one in self.to_framework(framework) if one.type == scheduler.Event.OFFERS]
        (offer,) = event.offers.offers
        return offer

    def call(
        self, framework: FakeFramework, call: scheduler.Call, stream_id: str | None = None
    ) -> list[effects.Effect]:
        """The framework makes a call."""
        if not call.HasField("framework_id"):
            call.framework_id.value = framework.id
        stream = framework.stream_id if stream_id is None else stream_id
        return self.handle(events.FrameworkCalled(next(self._requests), stream, call))

    def task_info(self, offer_or_agent: Any, name: str = "t1", resources: str = "cpus:1;mem:128") -> mesos.TaskInfo:
        """A plain command task."""
        info = mesos.TaskInfo(name=name)
        info.task_id.value = name
        info.agent_id.value = (
            offer_or_agent.id if isinstance(offer_or_agent, FakeAgent) else offer_or_agent.agent_id.value
        )
        info.command.value = "true"
        info.resources.extend(parse(resources).messages() if resources else [])
        return info

    def accept(
        self, framework: FakeFramework, offers: list[mesos.Offer], *tasks: mesos.TaskInfo, refuse: float | None = None
    ) -> list[effects.Effect]:
        """The framework launches tasks on offers."""
        call = Call(type=Call.ACCEPT)
        call.accept.offer_ids.extend(offer.id for offer in offers)
        operation = call.accept.operations.add(type=mesos.Offer.Operation.LAUNCH)
        operation.launch.task_infos.extend(tasks)
        if refuse is not None:
            call.accept.filters.refuse_seconds = refuse
        return self.call(framework, call)

    def launched(
        self, framework: FakeFramework, agent: FakeAgent, name: str = "t1", resources: str = "cpus:1;mem:128"
    ) -> mesos.TaskInfo:
        """A task that is on its way to its agent."""
        offer = self.offer(framework, agent)
        self.accept(framework, [offer], self.task_info(offer, name, resources))
        sent = [one for one in self.to_agent(agent) if one.WhichOneof("message") == "run_task"]
        return sent[0].run_task.task

    def update(
        self, framework: FakeFramework, agent: FakeAgent, name: str, state: str, **fields: Any
    ) -> tuple[bytes, list[effects.Effect]]:
        """The agent sends an update. Returns its uuid, and the effects."""
        update = agent_session.TaskUpdate()
        update.framework_id.value = framework.id
        status = update.status
        status.task_id.value = name
        status.agent_id.value = agent.id
        status.state = mesos.TaskState.Value(state)
        status.source = Status.SOURCE_EXECUTOR
        status.timestamp = self.now
        status.uuid = uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {state} {self.now}").bytes
        latest = fields.pop("latest", None)
        if latest:
            update.latest.CopyFrom(status)
            update.latest.state = mesos.TaskState.Value(latest)
        for key, value in fields.items():
            setattr(status, key, value)
        return status.uuid, self.handle(events.TaskUpdated(agent.session, update))

    def acknowledge(
        self, framework: FakeFramework, agent: FakeAgent, name: str, identifier: bytes
    ) -> list[effects.Effect]:
        """The framework acknowledges an update."""
        call = Call(type=Call.ACKNOWLEDGE)
        call.acknowledge.agent_id.value = agent.id
        call.acknowledge.task_id.value = name
        call.acknowledge.uuid = identifier
        return self.call(framework, call)

    def running(self, framework: FakeFramework, agent: FakeAgent, name: str = "t1") -> mesos.TaskInfo:
        """A task that runs, as its framework has acknowledged."""
        info = self.launched(framework, agent, name)
        identifier, _ = self.update(framework, agent, name, "TASK_RUNNING")
        self.acknowledge(framework, agent, name, identifier)
        return info

    def snapshot_task(
        self, framework: FakeFramework, agent: FakeAgent, info: mesos.TaskInfo, state: str = "TASK_RUNNING"
    ) -> mesos.Task:
        """A task as an agent reports it when it registers."""
        task = mesos.Task(name=info.name, state=mesos.TaskState.Value(state))
        task.task_id.CopyFrom(info.task_id)
        task.framework_id.value = framework.id
        task.agent_id.value = agent.id
        task.resources.extend(info.resources)
        return task

    def operate(self, call: master.Call) -> list[effects.Effect]:
        """An operator makes a call."""
        return self.handle(events.OperatorCalled(next(self._requests), call))

    def reconcile(self, framework: FakeFramework, *task_ids: str, agent_id: str = "") -> list[tuple[str, str]]:
        """The framework reconciles. Returns the answers: task id and state."""
        call = Call(type=Call.RECONCILE)
        call.reconcile.SetInParent()
        for task_id in task_ids:
            one = call.reconcile.tasks.add()
            one.task_id.value = task_id
            if agent_id:
                one.agent_id.value = agent_id
        self.call(framework, call)
        return self.states(framework)
