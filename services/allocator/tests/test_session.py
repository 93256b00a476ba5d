"""The session, over a real gRPC connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aiohttp
import grpc
import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.allocator.v1.allocator_pb2_grpc import AllocatorStub
from mezzo.resources import Resources, parse
from mezzo_allocator.app import serve
from mezzo_allocator.config import Config
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.shell import session
from mezzo_allocator.shell.session import SERVICE_NAME, SessionServicer
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.rpc import EPOCH_KEY, REGISTRY_KEY, open_channel, start_server
from mezzo_chassis.testing import free_port

SECONDS_MAX = 20.0
FLAGS = {"min_allocatable_resources": "cpus:0.01|mem:32"}

Message = wire.RegistryMessage


class Registry:
    """The registry's end of a session."""

    def __init__(self, call: grpc.aio.StreamStreamCall[wire.SessionRequest, wire.SessionResponse]) -> None:
        self.call = call
        self._waiting: list[wire.AllocatorMessage] = []

    async def say(self, *messages: Message) -> None:
        await self.call.write(wire.SessionRequest(messages=messages))

    async def next(self) -> wire.AllocatorMessage:
        async with asyncio.timeout(SECONDS_MAX):
            while not self._waiting:
                response = await self.call.read()
                assert isinstance(response, wire.SessionResponse), await self.call.details()
                self._waiting.extend(response.messages)
        return self._waiting.pop(0)

    async def allocation(self) -> wire.Allocation:
        """The next allocation; cycles without one are passed over. One at a time is all these tests make."""
        while True:
            message = await self.next()
            if message.allocations.allocations:
                (allocation,) = message.allocations.allocations
                return allocation

    async def inverse_allocation(self) -> wire.InverseAllocation:
        """The next inverse allocation; one at a time is all these tests make."""
        while True:
            message = await self.next()
            if message.allocations.inverse_allocations:
                (inverse,) = message.allocations.inverse_allocations
                return inverse

    async def rest(self) -> AsyncIterator[wire.AllocatorMessage]:
        """Whatever comes until the allocator ends the session."""
        async with asyncio.timeout(SECONDS_MAX):
            while isinstance(response := await self.call.read(), wire.SessionResponse):
                for message in response.messages:
                    yield message

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """How the allocator ended the session, which is known once everything before has been read."""
        async with asyncio.timeout(SECONDS_MAX):
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    continue
            return await self.call.code(), await self.call.details() or ""

    async def begin(self, messages: Iterable[Message] = ()) -> None:
        await self.say(Message(begin=wire.Begin(registry_id="r")), *messages, Message(snapshot_end=wire.SnapshotEnd()))
        self.ready = (await self.next()).ready
        assert self.ready.version
        assert self.ready.flags["min_allocatable_resources"] == "cpus:0.01|mem:32"
        assert "grpc_port" not in self.ready.flags


def framework(number: int, role: str = "*") -> Message:
    info = mesos.FrameworkInfo(user="nobody", name="f", role=role)
    info.id.value = f"r-{number:04d}"
    return Message(framework_update=wire.FrameworkUpdate(framework=number, framework_info=info, active=True))


def agent(number: int, resources: str) -> Message:
    info = mesos.AgentInfo(hostname=f"h{number}")
    total = parse(resources).messages()
    return Message(agent_update=wire.AgentUpdate(agent=number, agent_info=info, total=total, active=True))


def recovered(allocation: wire.Allocation, refuse_seconds: float | None = None) -> Message:
    back = Resources.of(allocation.resources).allocated_to(allocation.role).messages()
    message = wire.Recovered(framework=allocation.framework, agent=allocation.agent, resources=back)
    if refuse_seconds is not None:
        message.filters.refuse_seconds = refuse_seconds
    return Message(recovered=message)


class Running:
    def __init__(self, port: int, metrics_port: int) -> None:
        self.port = port
        self.metrics_port = metrics_port

    async def metric(self, sample: str) -> float:
        """A sample by its name and labels, without `mezzo_allocator_`."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as response,
        ):
            lines = (await response.text()).splitlines()
        (line,) = [each for each in lines if each.startswith(f"mezzo_allocator_{sample} ")]
        return float(line.rpartition(" ")[2])

    @asynccontextmanager
    async def session(self, epoch: object = None, address: str = "") -> AsyncIterator[Registry]:
        async with open_channel(f"127.0.0.1:{self.port}") as channel:
            metadata = [(EPOCH_KEY, str(epoch))] if epoch is not None else []
            if address:
                metadata.append((REGISTRY_KEY, address))
            call = AllocatorStub(channel).Session(metadata=metadata)
            try:
                yield Registry(call)
            finally:
                call.cancel()


@pytest.fixture
async def allocator() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


@asynccontextmanager
async def served(allocation_interval: float = 1.0) -> AsyncIterator[Running]:
    config = Config(
        ip="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        compile_inner_loop=False,
        allocation_interval=allocation_interval,
    )
    lifecycle = Lifecycle()
    running = asyncio.create_task(serve(config, lifecycle))
    async with open_channel(f"127.0.0.1:{config.grpc_port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), SECONDS_MAX)
    yield Running(config.grpc_port, config.metrics_port)
    lifecycle.stop()
    await asyncio.wait_for(running, SECONDS_MAX)
    await lifecycle.close()


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clocked() -> AsyncIterator[tuple[Running, Clock]]:
    """An allocator whose clock stands still."""
    clock, metrics = Clock(), AllocatorMetrics("test")
    servicer = SessionServicer(Allocator(), metrics, wire.Ready(version="v", flags=FLAGS), LogLevel("info"), clock)
    servicer.lead(leading=True)
    server = await start_server("127.0.0.1", 0, [(SessionServicer.add_to, servicer)], [SERVICE_NAME])
    yield Running(server.port, 0), clock
    servicer.lead(leading=False)
    await server.stop(0)


async def test_a_snapshot_is_answered_and_then_allocated(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(7, "eng"), agent(3, "cpus:2;mem:1024;ports:[31000-31009]")])
        allocation = await registry.allocation()
        assert (allocation.framework, allocation.agent, allocation.role) == (7, 3, "eng")
        expected = parse("cpus:2;mem:1024;ports:[31000-31009]")
        assert Resources.of(allocation.resources) == expected
        assert not any(resource.HasField("allocation_info") for resource in allocation.resources)


async def test_the_last_message_of_a_cycle_measures_it(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        message = await registry.next()
        cycle = message.allocations.cycle
        assert cycle.number == 1
        assert cycle.agents_considered == 1
        assert cycle.duration_seconds > 0


async def test_what_one_framework_declines_is_allocated_to_the_next_at_once(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), framework(2), agent(1, "cpus:2;mem:1024")])
        first = await registry.allocation()
        await registry.say(recovered(first, refuse_seconds=3600.0))
        second = await registry.allocation()
        assert {first.framework, second.framework} == {1, 2}


async def test_changes_that_follow_each_other_are_answered_by_cycles_of_their_own_only_while_they_are_few(
    clocked: tuple[Running, Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CYCLES_AT_ONCE", 2)
    monkeypatch.setattr(session, "CYCLES_PAUSE_SECONDS", 3600.0)
    running, _ = clocked
    async with running.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        for _ in range(2):
            await registry.say(recovered(await registry.allocation()))
        await registry.say(
            recovered(await registry.allocation())
        )  # of the third cycle, after which changes are collected
        await registry.call.done_writing()
        assert [message async for message in registry.rest() if message.allocations.allocations] == []


async def test_a_refusal_ends_on_time_without_any_event(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        first = await registry.allocation()
        loop = asyncio.get_running_loop()
        declined_at = loop.time()
        await registry.say(recovered(first, refuse_seconds=1.0))
        again = await registry.allocation()
        assert again.resources == first.resources
        assert loop.time() - declined_at >= 1.0


async def use_up_limit(registry: Registry) -> int:
    """A role may have one of two agents. It lets the one go that it is offered, and does not want it again."""
    limited = wire.RoleUpdate(role="eng", quota_limits={"cpus": 2.0, "mem": 1024.0})
    agents = [agent(number, "cpus:2;mem:1024") for number in (1, 2)]
    await registry.begin([Message(role_update=limited), framework(1, "eng"), *agents])
    first = await registry.allocation()
    await registry.say(recovered(first, refuse_seconds=3600.0))
    return first.agent


async def test_each_interval_finds_what_changes_elsewhere_made_possible() -> None:
    async with served(allocation_interval=0.1) as running, running.session() as registry:
        first = await use_up_limit(registry)
        assert (await registry.allocation()).agent != first


async def test_allocate_now_finds_it_without_waiting_for_the_interval() -> None:
    async with served(allocation_interval=3600.0) as running, running.session() as registry:
        first = await use_up_limit(registry)
        await registry.say(Message(allocate_now=wire.AllocateNow()))
        assert (await registry.allocation()).agent != first


async def test_quota_that_changes_while_it_runs_counts_at_once() -> None:
    async with served(allocation_interval=3600.0) as running, running.session() as registry:
        first = await use_up_limit(registry)
        raised = wire.RoleUpdate(role="eng", quota_limits={"cpus": 4.0, "mem": 2048.0})
        await registry.say(Message(role_update=raised))
        assert (await registry.allocation()).agent != first


async def test_weights_that_change_while_it_runs_count_at_once() -> None:
    async with served(allocation_interval=3600.0) as running, running.session() as registry:
        held = agent(1, "cpus:4;mem:64")
        for number, role, cpus in ((1, "eng", 3), (2, "ops", 1)):
            resources = parse(f"cpus:{cpus}").allocated_to(role).messages()
            held.agent_update.holdings.add(framework=number, resources=resources)
        await registry.begin([framework(1, "eng"), framework(2, "ops"), held])
        await registry.say(recovered(await registry.allocation(), refuse_seconds=3600.0))
        await registry.say(recovered(await registry.allocation(), refuse_seconds=3600.0))
        heavy = wire.RoleUpdate(role="eng", weight=100.0)
        await registry.say(Message(role_update=heavy), agent(2, "cpus:1;mem:64"))
        assert (await registry.allocation()).role == "eng"


async def test_the_registry_has_it_log_more_and_as_usual_again(allocator: Running) -> None:
    usual = logging.getLogger().level

    async def at(level: int) -> int:
        asked = wire.SetLoggingLevel(level=level, duration_seconds=3600)
        await registry.say(Message(set_logging_level=asked), agent(level, "cpus:1;mem:64"))
        await registry.allocation()  # it has heard all
        return logging.getLogger().level

    try:
        async with allocator.session() as registry:
            await registry.begin([framework(7)])
            assert await at(1) == logging.DEBUG
            assert await at(0) == logging.INFO
    finally:
        logging.getLogger().setLevel(usual)


async def test_a_large_cycle_comes_in_parts(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), *(agent(number, "cpus:2;mem:1024") for number in range(2500))])
        agents: set[int] = set()
        messages = 0
        while len(agents) < 2500:
            message = await registry.next()
            agents |= {allocation.agent for allocation in message.allocations.allocations}
            messages += 1
        assert messages >= 3


async def test_a_new_session_ends_the_one_before_and_starts_from_nothing(allocator: Running) -> None:
    async with allocator.session() as old:
        await old.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        await old.allocation()
        async with allocator.session() as new:
            await new.begin([framework(1), agent(1, "cpus:2;mem:1024")])
            assert (await new.allocation()).agent == 1
            assert await old.end() == (grpc.StatusCode.ABORTED, "another session has begun")


async def test_a_registry_of_an_earlier_term_does_not_take_the_session_from_a_later_one(allocator: Running) -> None:
    async with allocator.session(epoch=8) as leader:
        await leader.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        async with allocator.session(epoch=7) as deposed:
            code, details = await deposed.end()
            assert code is grpc.StatusCode.ABORTED
            assert details == "a registry that was elected later has had a session (epoch 8, not 7)"
        assert (await leader.allocation()).agent == 1
    async with allocator.session(epoch=7) as deposed:
        assert (await deposed.end())[0] is grpc.StatusCode.ABORTED, "nor after it, while the later one comes back"
    async with allocator.session(epoch=8) as leader:
        await leader.begin()
    async with allocator.session(epoch=9) as following:
        await following.begin()


ELSEWHERE = "rack7.example:5060"


@pytest.mark.parametrize("epoch", [None, 8], ids=["without an election", "in one term"])
async def test_a_second_registry_is_refused_by_name_and_the_first_keeps_its_session(
    allocator: Running, epoch: int | None
) -> None:
    async with allocator.session(epoch, "rack1.example:5060") as first:
        await first.begin([framework(1)])
        with capture_logs() as logs:
            for _ in range(2):  # it tries again and again
                async with allocator.session(epoch, ELSEWHERE) as second:
                    code, details = await second.end()
                    assert code is grpc.StatusCode.ALREADY_EXISTS
                    assert details.startswith(
                        "registry rack1.example:5060 (127.0.0.1) has a session with this allocator"
                    )
                    assert f"registry {ELSEWHERE} (127.0.0.1) is refused" in details
        (refused,) = [each for each in logs if each["event"] == "second registry refused"]
        assert (refused["log_level"], refused["registry"]) == ("warning", f"{ELSEWHERE} (127.0.0.1)")
        assert refused["session_with"] == "rack1.example:5060 (127.0.0.1)"
        await first.say(agent(1, "cpus:2;mem:1024"))
        assert (await first.allocation()).agent == 1


async def test_a_registry_that_is_gone_makes_room_for_another(allocator: Running) -> None:
    async with allocator.session(address="rack1.example:5060") as first:
        await first.begin()
    async with asyncio.timeout(SECONDS_MAX):
        while True:  # until the allocator, too, knows that the first has left
            async with allocator.session(address=ELSEWHERE) as second:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await second.say(Message(begin=wire.Begin()), Message(snapshot_end=wire.SnapshotEnd()))
                    if isinstance(await second.call.read(), wire.SessionResponse):
                        break


async def test_a_registry_that_restarted_gets_in_though_its_old_session_was_never_closed(allocator: Running) -> None:
    async with allocator.session(address=ELSEWHERE) as old:
        await old.begin()
        async with allocator.session(address=ELSEWHERE) as restarted:
            await restarted.begin([framework(1), agent(1, "cpus:2;mem:1024")])
            assert (await restarted.allocation()).agent == 1
            assert await old.end() == (grpc.StatusCode.ABORTED, "another session has begun")


async def test_an_epoch_that_is_no_number_is_refused(allocator: Running) -> None:
    async with allocator.session(epoch="newest") as registry:
        assert await registry.end() == (grpc.StatusCode.INVALID_ARGUMENT, f"{EPOCH_KEY}: must be a whole number")


def request(number: int, kind: mesos.Value.Type.ValueType) -> Message:
    """A hint of a framework; of another type than SCALAR it makes no sense."""
    hint = wire.Request(framework=number)
    hint.requests.add().resources.add(name="cpus", type=kind).scalar.value = 1
    return Message(request=hint)


def nonsense(number: int) -> Message:
    """An agent with less than nothing."""
    broken = agent(number, "cpus:1")
    broken.agent_update.total[0].scalar.value = -1.0
    return broken


TEXT = mesos.Resource(name="cpus", type=mesos.Value.TEXT)


@pytest.mark.parametrize(
    ("message", "kind", "reason"),
    [
        (request(1, mesos.Value.TEXT), "request", "invalid"),
        (Message(role_update=wire.RoleUpdate(role="web", weight=-1.0)), "role_update", "invalid"),
        (nonsense(7), "agent_update", "invalid"),
        (Message(recovered=wire.Recovered(framework=1, agent=1, resources=[TEXT])), "recovered", "invalid"),
        (Message(revive=wire.Revive(framework=99)), "revive", "unannounced"),
        (Message(suppress=wire.Suppress(framework=99)), "suppress", "unannounced"),
        (request(99, mesos.Value.SCALAR), "request", "unannounced"),
    ],
)
async def test_a_message_that_cannot_be_applied_is_dropped_and_the_session_goes_on(
    allocator: Running, message: Message, kind: str, reason: str
) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1)])
        await registry.say(message, agent(1, "cpus:2;mem:1024"))
        assert (await registry.allocation()).agent == 1
    assert await allocator.metric(f'messages_dropped_total{{message="{kind}",reason="{reason}"}}') == 1.0


async def test_an_agent_whose_description_was_dropped_is_offered_once_it_is_described_whole(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        await registry.say(recovered(await registry.allocation()))
        changed, partly = nonsense(1), agent(1, "cpus:4;mem:1024")
        partly.agent_update.keeps_holdings = True
        await registry.say(changed, partly, agent(2, "cpus:2;mem:1024"))
        offered = await registry.allocation()
        while offered.agent == 1:  # made before the message was read
            offered = await registry.allocation()
        assert offered.agent == 2
        await registry.say(agent(1, "cpus:4;mem:1024"))
        assert (await registry.allocation()).agent == 1
    assert await allocator.metric('messages_dropped_total{message="agent_update",reason="incomplete"}') == 1.0


async def test_what_is_given_back_counts_although_the_same_message_ended_a_session(allocator: Running) -> None:
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        back = recovered(await registry.allocation())
        await registry.say(back, back)  # the second time nothing is held
        assert (await registry.end())[0] is grpc.StatusCode.ABORTED
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(1, "cpus:2;mem:1024")])
        assert recovered(await registry.allocation()) == back
        await registry.say(back)
        async with asyncio.timeout(SECONDS_MAX):  # cycles without an allocation would come for ever
            assert (await registry.allocation()).agent == 1


async def test_a_framework_that_cannot_be_described_is_inactive_and_what_it_holds_counts(allocator: Running) -> None:
    greedy = framework(2)
    filters = greedy.framework_update.framework_info.offer_filters["*"].min_allocatable_resources
    filters.quantities.add().quantities["cpus"].value = 1e300
    holder = agent(1, "cpus:2;mem:1024")
    held = parse("cpus:1;mem:512").allocated_to("*").messages()
    holder.agent_update.holdings.add(framework=2, resources=held)
    with capture_logs() as logs:
        async with allocator.session() as registry:
            await registry.say(Message(begin=wire.Begin(registry_id="r")), framework(1), greedy)
            assert (await registry.end())[0] is grpc.StatusCode.INVALID_ARGUMENT
    [defect] = [line for line in logs if line["event"] == "defect ends the incarnation"]
    assert "framework r-0002" in str(defect["suspects"])
    async with allocator.session() as registry:
        await registry.begin([framework(1), greedy, holder])
        allocation = await registry.allocation()
    assert (allocation.framework, str(Resources.of(allocation.resources))) == (1, "cpus:1; mem:512")
    assert await allocator.metric('messages_dropped_total{message="framework_update",reason="suspect"}') == 1.0


async def test_what_was_withheld_is_asked_for_again_later_and_later(clocked: tuple[Running, Clock]) -> None:
    allocator, clock = clocked
    greedy = framework(2)
    filters = greedy.framework_update.framework_info.offer_filters["*"].min_allocatable_resources
    filters.quantities.add().quantities["cpus"].value = 1e300
    for refused_for in (600, 1200, 2400, 3600, 3600):
        async with allocator.session() as registry:
            await registry.say(Message(begin=wire.Begin(registry_id="r")), framework(1), greedy)
            assert (await registry.end())[0] is grpc.StatusCode.INVALID_ARGUMENT
        async with allocator.session() as registry:
            await registry.begin([framework(1), greedy])
            clock.now += refused_for - 1
            await registry.say(agent(1, "cpus:2;mem:1024"))
            assert (await registry.allocation()).framework == 1
            clock.now += 1
            await registry.say(agent(2, "cpus:2;mem:1024"))
            assert await registry.end() == (
                grpc.StatusCode.UNAVAILABLE,
                "a snapshot is needed, to try again what was withheld from this session",
            )


@pytest.mark.parametrize("kind", [ev.AgentChanged, ev.CycleStarted, ev.FullPassWanted], ids=lambda kind: kind.__name__)
async def test_a_defect_ends_the_session_and_the_next_is_sound(
    allocator: Running, monkeypatch: pytest.MonkeyPatch, kind: type[ev.Event]
) -> None:
    handle, mistakes = Allocator.handle, [KeyError("nobody thought of this")]

    def fail_once(core: Allocator, event: ev.Event, *, now: float) -> list[ev.Effect]:
        effects = handle(core, event, now=now)
        if isinstance(event, kind) and mistakes:
            raise mistakes.pop()
        return effects

    monkeypatch.setattr(Allocator, "handle", fail_once)
    async with allocator.session() as registry:
        await registry.say(
            Message(begin=wire.Begin(registry_id="r")),
            framework(1),
            agent(1, "cpus:2;mem:1024"),
            Message(snapshot_end=wire.SnapshotEnd()),
        )
        assert (await registry.end())[0] is grpc.StatusCode.INTERNAL
    async with allocator.session() as registry:
        await registry.begin([framework(1), agent(2, "cpus:2;mem:1024")])
        assert (await registry.allocation()).agent == 2
    wire_names = {"AgentChanged": "agent_update", "CycleStarted": "cycle_started", "FullPassWanted": "full_pass_wanted"}
    assert await allocator.metric(f'defects_total{{event="{wire_names[kind.__name__]}"}}') == 1.0


async def test_messages_carry_what_they_follow_from(allocator: Running) -> None:
    async with allocator.session() as registry:
        begin = Message(begin=wire.Begin(registry_id="r"))
        end = Message(snapshot_end=wire.SnapshotEnd(), cause="term-1/allocator_connected/2")
        await registry.say(begin, framework(1), agent(1, "cpus:2;mem:1024"), end)
        ready = await registry.next()
        assert (ready.WhichOneof("message"), ready.cause) == ("ready", "term-1/allocator_connected/2")
        assert (await registry.next()).cause.startswith("session-1/cycle_started/")


async def test_inverse_offers_are_advised_and_answered(allocator: Running) -> None:
    planned = agent(1, "cpus:2;mem:1024")
    planned.agent_update.unavailability.start.nanoseconds = 10**18
    planned.agent_update.unavailability.duration.nanoseconds = 10**12
    held = parse("cpus:2;mem:1024").allocated_to("*").messages()
    planned.agent_update.holdings.add(framework=1, resources=held)
    async with allocator.session() as registry:
        await registry.begin([framework(1), planned])
        advised = await registry.inverse_allocation()
        assert (advised.framework, advised.agent) == (1, 1)
        assert advised.unavailability == planned.agent_update.unavailability
        answer = wire.InverseOfferAnswered(framework=1, agent=1, answer=wire.InverseOfferAnswered.ANSWER_DECLINED)
        answer.filters.refuse_seconds = 1.0
        loop = asyncio.get_running_loop()
        answered_at = loop.time()
        await registry.say(Message(inverse_offer_answered=answer))
        assert await registry.inverse_allocation() == advised
        assert loop.time() - answered_at >= 1.0


async def test_metrics_tell_of_roles_and_never_of_ids(allocator: Running) -> None:
    async with allocator.session() as registry:
        role = wire.RoleUpdate(role="eng", weight=2.0, quota_guarantees={"cpus": 4.0})
        await registry.begin([Message(role_update=role), framework(1, "eng"), agent(1, "cpus:2;mem:1024")])
        first = await registry.allocation()
        await registry.say(recovered(first, refuse_seconds=60.0), agent(2, "cpus:1;mem:512"))
        await registry.allocation()
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{allocator.metrics_port}/metrics") as response,
        ):
            text = await response.text()
    assert 'mezzo_allocator_allocations_total{role="eng"} 2.0' in text
    assert 'mezzo_allocator_filters{role="eng"} 1.0' in text
    assert 'mezzo_allocator_quota_guarantee{resource="cpus",role="eng"} 4.0' in text
    assert 'mezzo_allocator_quota_consumed{resource="cpus",role="eng"} 1.0' in text
    assert "r-0001" not in text


async def test_explanations_are_told_over_grpc(allocator: Running) -> None:
    async with allocator.session() as registry, open_channel(f"127.0.0.1:{allocator.port}") as channel:
        await registry.begin([framework(1, "eng"), agent(1, "cpus:2;mem:1024"), agent(2, "cpus:0.001;disk:1")])
        allocation = await registry.allocation()
        await registry.say(recovered(allocation, refuse_seconds=60.0), agent(3, "cpus:1;mem:512"))
        await registry.allocation()
        stub = AllocatorStub(channel)
        answer = await stub.Explain(wire.ExplainRequest(framework_id="r-0001"))
        (explanation,) = answer.explanations
        assert explanation.active
        assert explanation.role == "eng"
        assert dict(explanation.agents_turned_away) == {"refused": 1, "below_minimum": 1, "nothing_free": 1}
        assert explanation.largest_free["cpus"] == 2.0
        assert 50.0 < explanation.next_refusal_ends_seconds < 61.0
        assert explanation.inactive_reason == wire.INACTIVE_REASON_UNSPECIFIED
        suppress = Message(suppress=wire.Suppress(framework=1))
        request = Message(request=wire.Request(framework=1))
        request.request.requests.add(resources=parse("cpus:4;ports:[1-3]").messages())
        role = wire.RoleUpdate(role="eng", quota_limits={"cpus": 1.0}, quota_guarantees={"mem": 1e6})
        await registry.say(suppress, request, Message(role_update=role), Message(allocate_now=wire.AllocateNow()))
        async with asyncio.timeout(SECONDS_MAX):
            while not explanation.binding_quotas:
                (explanation,) = (await stub.Explain(wire.ExplainRequest(framework_id="r-0001"))).explanations
        assert explanation.inactive_reason == wire.INACTIVE_REASON_SUPPRESSED
        assert explanation.inactive_because == "the framework suppressed offers in the role"
        assert [dict(each.amounts) for each in explanation.requested] == [{"cpus": 4.0, "ports": 3.0}]
        (binding,) = explanation.binding_quotas
        assert [(each.framework_id, each.amount) for each in binding.consumers] == [("r-0001", 1.0)]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Explain(wire.ExplainRequest(framework_id="nobody"))
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_there_is_nothing_to_explain_without_a_session(allocator: Running) -> None:
    async with open_channel(f"127.0.0.1:{allocator.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await AllocatorStub(channel).Explain(wire.ExplainRequest())
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
