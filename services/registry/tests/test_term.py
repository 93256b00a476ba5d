"""A term by itself: who is refused after a defect and for how long, timers that are put off, and causes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import InternalError, NotLeading, Unavailable
from mezzo.resources import parse
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import kind_of
from mezzo_chassis.quarantine import Quarantine
from mezzo_registry.core import Identity, Registry, Settings, events, records
from mezzo_registry.core.agents import removal
from mezzo_registry.core.failures import InvariantViolation
from mezzo_registry.core.records import TABLES, Write
from mezzo_registry.metrics import EVENT_KINDS, RegistryMetrics
from mezzo_registry.ports import Tables
from mezzo_registry.shell import suspects
from mezzo_registry.shell.streams import (
    AGENT_MESSAGES_MAX,
    ALLOCATOR_MESSAGES_MAX,
    FRAMEWORK_EVENTS_MAX,
    EventStream,
    Stream,
)
from mezzo_registry.shell.term import Term
from mezzo_registry.testing import PATIENCE_SECONDS

NOW = 1_800_000_000.0


class Store:
    """Writes at once."""

    async def open_term(self) -> Tables:
        return {table: {} for table in TABLES}

    async def write(self, _groups: Sequence[Sequence[Write]]) -> None:
        """Durable."""

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass
class Terms:
    """One term after another, in a process whose clock a test turns."""

    now: float = NOW
    quarantine: Quarantine = field(default_factory=suspects.new_quarantine)
    terms: list[tuple[Term, "asyncio.Task[None]"]] = field(default_factory=list)

    def begin(self) -> Term:
        name = f"term-{len(self.terms) + 1}"
        identity = Identity(
            registry_id=name,
            master_info=mesos.MasterInfo(id=name, ip=1, port=1),
            started_at=NOW,
            elected_at=self.now,
        )
        term = Term(
            Registry(identity, Settings()),
            Store(),
            RegistryMetrics("test"),
            name=name,
            quarantine=self.quarantine,
            now=lambda: self.now,
        )
        self.terms.append((term, asyncio.create_task(term.run())))
        term.post(records.elected({table: {} for table in TABLES}))
        return term

    async def close(self) -> None:
        for term, running in self.terms:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            term.end(NotLeading())


@pytest.fixture
async def terms() -> AsyncIterator[Terms]:
    terms = Terms()
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield terms
    await terms.close()


class Agent:
    """One session of an agent."""

    def __init__(self, term: Term) -> None:
        self.term = term
        self.session = term.number()
        self.stream = Stream[agent_session.RegistryMessage]("agent", AGENT_MESSAGES_MAX, self.session)
        self.messages = aiter(self.stream.outbox)
        self.waiting: list[agent_session.RegistryMessage] = []

    def register(self, cause: str = "") -> None:
        register = agent_session.Register(version="0.1.0", pid="slave(1)@127.0.0.1:5051")
        register.agent_info.hostname = "node"
        register.total_resources.extend(parse("cpus:4;mem:1024").messages())
        register.agent_info.resources.extend(register.total_resources)
        self.term.open_agent(self.session, self.stream, register)
        self.term.post(events.AgentRegistering(self.session, register), cause)

    async def receive(self, kind: str) -> agent_session.RegistryMessage:
        while True:
            while self.waiting:
                message = self.waiting.pop(0)
                if message.WhichOneof("message") == kind:
                    return message
            self.waiting += await anext(self.messages)


class Framework:
    """One stream of a framework."""

    def __init__(self, term: Term, name: str = "f") -> None:
        self.term = term
        self.name = name
        self.stream_id = f"stream-{term.number()}"
        self.stream = EventStream("framework", FRAMEWORK_EVENTS_MAX, 1)
        self.id = ""

    async def subscribe(self, cause: str = "") -> None:
        call = scheduler.Call(type=scheduler.Call.SUBSCRIBE)
        call.subscribe.framework_info.MergeFrom(mesos.FrameworkInfo(user="root", name=self.name))
        self.term.open_framework(self.stream_id, self.stream, call)
        await self.term.admit(
            events.FrameworkSubscribing(self.term.number(), self.stream_id, call, correlation_id=cause)
        )
        self.id = self.term.core.state.frameworks_by_stream[self.stream_id].id

    async def call(self, call: scheduler.Call, cause: str = "") -> None:
        call.framework_id.value = self.id
        await self.term.admit(events.FrameworkCalled(self.term.number(), self.stream_id, call, cause))

    async def received(self) -> list[tuple[str, str]]:
        """The kinds of the events that wait, and their causes."""
        return [
            (scheduler.Event.Type.Name(event.type), cause) for event, cause in await anext(aiter(self.stream.outbox))
        ]


def poison(monkeypatch: pytest.MonkeyPatch, bad: Any) -> None:
    """Make every core raise at certain events, once it has changed its state."""
    handle = Registry.handle

    def poisoned(core: Registry, event: events.Event, *, now: float) -> Any:
        ordered = handle(core, event, now=now)
        if bad(event):
            raise KeyError("nobody thought of this")
        return ordered

    monkeypatch.setattr(Registry, "handle", poisoned)


def is_request(event: events.Event) -> bool:
    return isinstance(event, events.FrameworkCalled) and event.call.type == scheduler.Call.REQUEST


# --- defects ----------------------------------------------------------------------------------------------------------


async def test_a_framework_is_let_in_again_after_a_time_that_grows_and_is_bounded(
    terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, is_request)
    refused_for = []
    for _ in range(6):
        framework = Framework(terms.begin())
        await framework.subscribe()
        with pytest.raises(NotLeading):
            await framework.call(scheduler.Call(type=scheduler.Call.REQUEST))
        refused_for.append(terms.quarantine.until - terms.now)
        terms.now = terms.quarantine.until - 0.001
        with pytest.raises(InternalError, match=r"its framework_called REQUEST led to a defect"):
            await Framework(terms.begin()).subscribe()
        terms.now = terms.quarantine.until
    assert refused_for == [60, 120, 240, 480, 900, 900]


async def test_a_framework_of_another_name_is_let_in(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, is_request)
    framework = Framework(terms.begin())
    await framework.subscribe()
    with pytest.raises(NotLeading):
        await framework.call(scheduler.Call(type=scheduler.Call.REQUEST))
    another = Framework(terms.begin(), name="g")
    await another.subscribe()
    await another.call(scheduler.Call(type=scheduler.Call.REVIVE))


async def test_a_call_on_a_stream_that_nobody_has_is_refused_by_its_words_alone(
    terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes it may write any framework's id: that framework must not suffer for it."""
    poison(monkeypatch, is_request)
    before = terms.begin()
    victim = Framework(before)
    await victim.subscribe()
    stray = Framework(before)
    stray.id = victim.id
    with pytest.raises(NotLeading):
        await stray.call(scheduler.Call(type=scheduler.Call.REQUEST))
    after = terms.begin()
    await Framework(after).subscribe()
    stray.term = after
    with pytest.raises(InternalError, match=r"^call [0-9a-f]{16} is refused until "):
        await stray.call(scheduler.Call(type=scheduler.Call.REQUEST))


async def test_a_timer_that_is_poison_is_put_off_and_fires_when_its_time_is_over(
    terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings = events.TimerFired(events.Timer(removal.PINGS))
    poison(monkeypatch, lambda event: event == pings)
    first = terms.begin()
    first.post(pings)
    assert isinstance(await first.ended, Defect)
    started: list[tuple[events.Timer, float]] = []
    second = terms.begin()
    await second._engine.drain()
    monkeypatch.setattr(second._engine, "start_timer", lambda timer, seconds: started.append((timer, seconds)))
    terms.now += 20
    second.post(pings)
    await second._engine.drain()
    assert started == [(pings.timer, 40.0)]
    terms.now += 40
    second.post(pings)
    assert isinstance(await second.ended, Defect), "it is tried again, and ends this term, too"


async def test_a_defect_in_an_effect_is_that_of_its_event(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_stream: EventStream, _event: scheduler.Event, _cause: str) -> None:
        raise KeyError("nobody thought of this")

    term = terms.begin()
    framework = Framework(term)
    monkeypatch.setattr(EventStream, "send_event", fails)
    with pytest.raises(NotLeading):
        await framework.subscribe("call-7")
    defect = await term.ended
    assert isinstance(defect, Defect)
    assert defect.doing == "effect SendToFramework"
    assert defect.cause == "call-7"
    assert [each.peer for each in defect.suspects] == ["framework term-1-0000"]


async def test_every_stream_ends_with_a_defect(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, is_request)
    term = terms.begin()
    agent, framework, bystander = Agent(term), Framework(term), Framework(term, name="g")
    agent.register()
    await framework.subscribe()
    await bystander.subscribe()
    with pytest.raises(NotLeading):
        await framework.call(scheduler.Call(type=scheduler.Call.REQUEST))
    for stream in (agent.stream, framework.stream, bystander.stream):
        assert stream.outbox.closed
        with pytest.raises(NotLeading):
            stream.check()


async def test_the_state_is_checked_at_step_down(terms: Terms) -> None:
    term = terms.begin()
    framework = Framework(term)
    await framework.subscribe()
    term.core.state.frameworks_by_stream.clear()  # a mistake that nothing has met yet
    with capture_logs() as logs:
        term.end(NotLeading())
    [line] = [each for each in logs if each["event"] == "defect ends the incarnation"]
    assert line["doing"] == "validate"
    assert isinstance(line["exc_info"], InvariantViolation)


async def test_the_state_is_checked_every_few_turns_where_the_environment_says_so(
    terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZO_VALIDATE_EVERY", "1")
    term = terms.begin()
    framework = Framework(term)
    await framework.subscribe()
    term.core.state.frameworks_by_stream.clear()
    term.post(events.AgentHeartbeatReceived(1))
    defect = await term.ended
    assert isinstance(defect, Defect)
    assert defect.doing == "validate"


def test_all_is_refused_that_comes_from_outside_and_nothing_that_a_term_cannot_do_without() -> None:
    kinds = {kind_of(event.__name__) for event in get_args(events.Event)}
    assert set(EVENT_KINDS) == kinds
    assert kinds - suspects._REFUSED == {
        # Of the registry itself.
        "elected",
        "agent_stored",
        "agent_marked_unreachable",
        "roles_stored",
        "maintenance_stored",
        # Of those who were let in.
        "agent_heartbeat_received",
        "agent_disconnected",
        "agent_leaving",
        "task_updated",
        "executor_exited",
        "executor_message_received",
        "framework_stream_closed",
        "allocator_disconnected",
        "allocator_ready",
        "allocations_made",
        "observer_ready",
        "observer_left",
    }


# --- causes -----------------------------------------------------------------------------------------------------------


async def test_what_a_call_leads_to_carries_its_correlation_id(terms: Terms) -> None:
    term = terms.begin()
    agent, framework = Agent(term), Framework(term)
    agent.register("agent-start")
    assert (await agent.receive("registered")).cause == "agent-start", "across what is stored in between"
    await framework.subscribe("http-1")
    assert await framework.received() == [("SUBSCRIBED", "http-1"), ("HEARTBEAT", "http-1")]
    kill = scheduler.Call(type=scheduler.Call.KILL)
    kill.kill.task_id.value = "nobody's"
    await framework.call(kill, "http-2")
    assert await framework.received() == [("UPDATE", "http-2")]


async def test_what_nobody_asked_for_has_a_cause_of_the_term_s_own(terms: Terms) -> None:
    term = terms.begin()
    agent = Agent(term)
    agent.register()
    assert (await agent.receive("registered")).cause.startswith("term-1/agent_registering/")


async def test_an_operator_s_call_is_the_cause_of_what_is_stored_and_sent_for_it(terms: Terms) -> None:
    term = terms.begin()
    stream = Stream[allocator.RegistryMessage]("allocator", ALLOCATOR_MESSAGES_MAX)
    term.open_allocator(stream, nobody_explains)
    call = master.Call(type=master.Call.UPDATE_WEIGHTS)
    call.update_weights.weight_infos.add(role="web", weight=2)
    await term.request(events.OperatorCalled(term.number(), call, "http-3"))
    messages = await anext(aiter(stream.outbox))
    assert [each.cause for each in messages if each.HasField("role_update")] == ["http-3"]
    assert messages[0].cause.startswith("term-1/allocator_connected/")


async def nobody_explains(_request: allocator.ExplainRequest) -> allocator.ExplainResponse:
    raise Unavailable("nobody is asked")
