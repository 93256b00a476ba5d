"""The registry over gRPC: a real server on a free port, a real SQLite store, and peers that the tests play."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.allocator.v1 import allocator_pb2, allocator_pb2_grpc
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo.operator.v1 import operator_pb2_grpc
from mezzo.scheduler.v1 import scheduler_pb2 as service
from mezzo.scheduler.v1 import scheduler_pb2_grpc
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.rpc import open_channel, start_server
from mezzo_chassis.testing import free_port
from mezzo_registry import __version__
from mezzo_registry.app import serve
from mezzo_registry.config import Config
from mezzo_registry.core.tasks import reconciliation
from mezzo_registry.shell.allocator_session import AllocatorSession
from mezzo_registry.testing import PATIENCE_SECONDS, PlayedAgent, PlayedAllocator, PlayedFramework

Call = scheduler.Call


class Service:
    """A registry that serves, its allocator, and a channel to it."""

    def __init__(self, config: Config, played: PlayedAllocator, channel: grpc.aio.Channel) -> None:
        self.config = config
        self.allocator = played
        self.channel = channel
        self.operators = operator_pb2_grpc.OperatorStub(channel)


async def start(config: Config) -> tuple[Lifecycle, "asyncio.Task[None]"]:
    life = Lifecycle()
    return life, asyncio.create_task(serve(config, life))


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Service]:
    """A registry with a SQLite store and an allocator."""
    async with serving(tmp_path) as service:
        yield service


@asynccontextmanager
async def serving(work_dir: Path, **flags: Any) -> AsyncIterator[Service]:
    played = PlayedAllocator()
    allocator_server = await start_server(
        "127.0.0.1",
        0,
        [(allocator_pb2_grpc.add_AllocatorServicer_to_server, played)],
        ["mezzo.allocator.v1.Allocator"],
    )
    config = Config(
        ip="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        allocator=("127.0.0.1", allocator_server.port),
        work_dir=work_dir,
        **flags,
    )
    life, running = await start(config)
    async with open_channel(f"127.0.0.1:{config.grpc_port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
        yield Service(config, played, channel)
    life.stop()
    await running
    await life.close()
    await allocator_server.stop(0)


async def cluster_of_two(registry: Service) -> tuple[PlayedAgent, PlayedFramework, mesos.Offer]:
    agent = PlayedAgent(registry.channel)
    await agent.register()
    registered = await agent.receive("registered")
    agent.id = registered.agent_id.value
    framework = PlayedFramework(registry.channel)
    await framework.subscribed()
    event = await framework.receive("OFFERS")
    return agent, framework, event.offers.offers[0]


async def test_task_goes_from_offer_to_finish(registry: Service) -> None:
    agent, framework, offer = await cluster_of_two(registry)
    assert offer.url.path == "/slave(1)"
    await framework.call(framework.launch(offer, "t1"))
    run = await agent.receive("run_task")
    for state in ("TASK_RUNNING", "TASK_FINISHED"):
        identifier = await agent.update(run, state)
        event = await framework.receive("UPDATE")
        assert mesos.TaskState.Name(event.update.status.state) == state
        await framework.call(framework.acknowledge(event.update.status))
        acknowledged = await agent.receive("acknowledge_update")
        assert acknowledged.uuid == identifier
    assert await agent.end() is grpc.StatusCode.OK
    framework.cancel()


async def test_session_with_the_allocator_that_fails_as_nobody_expected_is_opened_again(
    registry: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, mistakes = AllocatorSession._take, [KeyError("nobody thought of this")]

    def fail_once(session: AllocatorSession, response: allocator_pb2.SessionResponse) -> None:
        if mistakes:
            raise mistakes.pop()
        take(session, response)

    monkeypatch.setattr(AllocatorSession, "_take", fail_once)
    await cluster_of_two(registry)  # with an offer, which only another session brings
    assert registry.allocator.sessions == 2


async def test_first_heartbeat_follows_the_subscription_at_once(registry: Service) -> None:
    framework = PlayedFramework(registry.channel)
    await framework.subscribed()
    await framework.receive("HEARTBEAT")
    assert framework.stream_id
    framework.cancel()


async def test_many_calls_on_one_stream_are_answered_by_number(registry: Service) -> None:
    agent, framework, offer = await cluster_of_two(registry)
    bad = Call(type=Call.KILL)
    results = await framework.call_many([framework.launch(offer, "t1", "t2"), bad, Call(type=Call.REVIVE)])
    assert [(one.number, one.code) for one in results] == [
        (0, 0),
        (1, grpc.StatusCode.INVALID_ARGUMENT.value[0]),
        (2, 0),
    ]
    assert results[1].message.startswith("kill: ")
    assert [(await agent.receive("run_task")).task.task_id.value for _ in range(2)] == ["t1", "t2"]
    await agent.end()
    framework.cancel()


async def test_what_is_noted_of_a_call_carries_the_id_of_its_request_and_of_no_other(registry: Service) -> None:
    framework = PlayedFramework(registry.channel)
    await framework.subscribed()
    unknown = Call(type=Call.SHUTDOWN)
    unknown.shutdown.agent_id.value = "a0"
    unknown.shutdown.executor_id.value = "e0"
    with capture_logs() as logs:
        await asyncio.gather(
            framework.call_many([unknown], correlation_id="one"),
            framework.call_many([unknown, unknown], correlation_id="two"),
            framework.call_many([unknown]),
        )
    ids = [entry.get("correlation_id") for entry in logs if entry["event"] == "SHUTDOWN names an unknown executor"]
    assert sorted(ids, key=str) == [None, "one", "two", "two"]


async def test_call_with_a_wrong_stream_is_an_invalid_argument(registry: Service) -> None:
    framework = PlayedFramework(registry.channel)
    await framework.subscribed()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await framework.call(Call(type=Call.REVIVE), stream_id="another")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.value.details() or "").startswith("The stream ID 'another' included in this request didn't match")
    framework.cancel()


async def test_malformed_subscription_is_an_invalid_argument(registry: Service) -> None:
    stub = scheduler_pb2_grpc.SchedulerStub(registry.channel)
    call = stub.Subscribe(service.SubscribeRequest(call=Call(type=Call.SUBSCRIBE)))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_invalid_role_ends_the_stream_with_an_error_event(registry: Service) -> None:
    framework = PlayedFramework(registry.channel, mesos.FrameworkInfo(user="root", name="x", role="a b"))
    event = await framework.receive("ERROR")
    assert event.error.message.startswith("subscribe.framework_info.role: ")
    assert await framework.ended() is grpc.StatusCode.OK


async def test_session_that_does_not_begin_with_register_is_refused(registry: Service) -> None:
    agent = PlayedAgent(registry.channel)
    agent.send(agent_session.AgentMessage(heartbeat=agent_session.Heartbeat()))
    assert await agent.ended() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Register" in await agent.details()


async def test_agent_that_makes_no_sense_is_refused_with_the_field(registry: Service) -> None:
    agent = PlayedAgent(registry.channel)
    register = agent_session.Register()
    register.agent_info.hostname = ""
    agent.send(agent_session.AgentMessage(register=register))
    assert await agent.ended() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await agent.details()).startswith("register.agent_info.hostname: ")


async def test_second_session_of_an_agent_ends_the_first(registry: Service) -> None:
    first = PlayedAgent(registry.channel)
    await first.register()
    agent_id = (await first.receive("registered")).agent_id.value
    second = PlayedAgent(registry.channel)
    await second.register(agent_id=agent_id)
    assert (await second.receive("registered")).agent_id.value == agent_id
    assert await first.ended() is grpc.StatusCode.ABORTED
    await second.end()


async def watched(changes: Any, until: Callable[[operator.StateChange], bool]) -> list[operator.StateChange]:
    """The changes up to the first that is looked for."""
    seen: list[operator.StateChange] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for response in changes:
            for change in response.changes:
                seen.append(change)
                if until(change):
                    return seen
    raise AssertionError("the stream ended")


async def test_members_are_the_registry_its_allocator_and_the_gateways_that_watch(registry: Service) -> None:
    await cluster_of_two(registry)  # with an offer: there is an allocator
    before = time.time()
    changes = registry.operators.Watch(operator.WatchRequest(http_address="gateway:5050", version="1.2.3"))
    await watched(changes, lambda change: change.HasField("snapshot_end"))
    answer = await registry.operators.Members(operator.MembersRequest())
    leader, allocator, gateway = answer.members
    assert (leader.service, leader.standing) == (operator.SERVICE_REGISTRY, operator.STANDING_LEADING)
    assert (leader.address, leader.version) == (f"127.0.0.1:{registry.config.grpc_port}", __version__)
    assert (allocator.service, allocator.standing) == (operator.SERVICE_ALLOCATOR, operator.STANDING_LEADING)
    assert allocator.address == "{}:{}".format(*registry.config.allocator)
    assert (gateway.service, gateway.standing) == (operator.SERVICE_GATEWAY, operator.STANDING_CONNECTED)
    assert (gateway.address, gateway.version) == ("gateway:5050", "1.2.3")
    assert gateway.peer.startswith("127.0.0.1:")
    assert gateway.since >= before
    assert answer.incomplete == ""


async def test_a_gateway_that_watches_no_longer_is_no_member(registry: Service) -> None:
    changes = registry.operators.Watch(operator.WatchRequest(http_address="gateway:5050"))
    await watched(changes, lambda change: change.HasField("snapshot_end"))
    changes.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(
            member.service == operator.SERVICE_GATEWAY
            for member in (await registry.operators.Members(operator.MembersRequest())).members
        ):
            pass  # the server notices by itself that the stream is gone


async def test_observer_sees_a_snapshot_and_then_each_change(registry: Service) -> None:
    agent, framework, offer = await cluster_of_two(registry)
    changes = registry.operators.Watch(operator.WatchRequest())
    snapshot = await watched(changes, lambda change: change.HasField("snapshot_end"))
    assert [change.WhichOneof("change") for change in snapshot] == [
        "snapshot_begin", "role_changed", "agent_changed", "framework_changed", "offer_added", "snapshot_end",
    ]  # fmt: skip
    assert snapshot[0].snapshot_begin.flags["agent_ping_timeout"] == "15secs"
    assert snapshot[4].offer_added.made_at >= snapshot[0].snapshot_begin.elected_time
    await framework.call(framework.launch(offer, "t1"))
    added = await watched(changes, lambda change: change.HasField("task_added"))
    assert added[-1].task_added.task.task_id.value == "t1"
    run = await agent.receive("run_task")
    await agent.update(run, "TASK_FINISHED")
    await framework.receive("UPDATE")
    updated = await watched(changes, lambda change: change.HasField("task_updated"))
    assert updated[-1].task_updated.latest.state == mesos.TASK_FINISHED
    assert updated[-1].task_updated.unacknowledged
    changes.cancel()
    framework.cancel()
    await agent.end()


async def metrics_of(registry: Service) -> dict[str, float]:
    request = operator.CallRequest()
    request.call.type = master.Call.GET_METRICS
    request.call.get_metrics.SetInParent()
    response = await registry.operators.Call(request, timeout=PATIENCE_SECONDS)
    return {one.name: one.value for one in response.response.get_metrics.metrics}


async def test_each_heartbeat_of_a_framework_is_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, scheduler_heartbeat_interval=0.05) as registry:
        framework = PlayedFramework(registry.channel)
        await framework.subscribed()
        for _ in range(3):  # the first is a part of the subscription
            await framework.receive("HEARTBEAT")
        numbers = await metrics_of(registry)
        assert numbers[f"master/frameworks/test/{framework.id}/events/heartbeat"] >= 3
        framework.cancel()


async def test_metrics_have_the_names_of_mesos(registry: Service) -> None:
    agent, framework, _ = await cluster_of_two(registry)
    numbers = await metrics_of(registry)
    assert numbers["master/slaves_active"] == 1
    assert numbers["master/frameworks_active"] == 1
    assert numbers["master/cpus_total"] == 4
    assert numbers["master/elected"] == 1
    assert numbers["allocator/mesos/allocation_runs"] == 1
    # As recorded from Apache Mesos 1.12, but for those of single frameworks, roles and reasons, and of the machine.
    recorded = (Path(__file__).parent / "data" / "metrics.txt").read_text().split()
    assert set(recorded) - numbers.keys() == set()
    of_framework = {name.split("/", 4)[4]: value for name, value in numbers.items() if "master/frameworks/" in name}
    assert (of_framework["subscribed"], of_framework["offers/sent"], of_framework["calls/subscribe"]) == (1, 1, 1)
    assert of_framework["events/heartbeat"] >= 1
    assert numbers["registrar/registry_size_bytes"] > 0
    framework.cancel()
    await agent.end()


async def test_unimplemented_operator_call_is_named(registry: Service) -> None:
    request = operator.CallRequest()
    request.call.type = master.Call.GROW_VOLUME
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await registry.operators.Call(request, timeout=PATIENCE_SECONDS)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "GROW_VOLUME" in (refused.value.details() or "")


async def test_operator_kills_a_task(registry: Service) -> None:
    agent, framework, offer = await cluster_of_two(registry)
    await framework.call(framework.launch(offer, "t1"))
    request = operator.KillTaskRequest()
    request.framework_id.value, request.task_id.value = framework.id, "t1"
    await registry.operators.KillTask(request, timeout=PATIENCE_SECONDS)
    assert (await agent.receive("kill_task")).task_id.value == "t1"
    request.task_id.value = "t2"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await registry.operators.KillTask(request, timeout=PATIENCE_SECONDS)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    framework.cancel()
    await agent.end()


async def test_reasons_are_the_allocators(registry: Service) -> None:
    agent, framework, _ = await cluster_of_two(registry)
    explanation = registry.allocator.explanations.explanations.add(framework_id=framework.id, role="*", active=True)
    explanation.agents_turned_away["nothing_free"] = 1
    request = operator.ExplainRequest(framework_id=framework.id, role="*", agent_id=agent.id)
    response = await registry.operators.Explain(request, timeout=PATIENCE_SECONDS)
    assert list(response.explanations) == [explanation]
    (asked,) = registry.allocator.explain_requests
    assert (asked.framework_id, asked.role, asked.agent_id) == (framework.id, "*", agent.id)
    framework.cancel()
    await agent.end()


@pytest.mark.parametrize(
    ("replied", "received", "words"),
    [
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.NOT_FOUND, "framework 'x' not found"),
        (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INVALID_ARGUMENT, "framework 'x' not found"),
        # What an allocator says of its leadership is no word on who leads the registries.
        (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE, "is no longer the leader"),
    ],
)
async def test_refusal_of_the_allocator_is_carried_through(
    registry: Service, replied: grpc.StatusCode, received: grpc.StatusCode, words: str
) -> None:
    agent, framework, _ = await cluster_of_two(registry)
    registry.allocator.refuses = (replied, "framework_id: framework 'x' not found")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await registry.operators.Explain(operator.ExplainRequest(framework_id="x"), timeout=PATIENCE_SECONDS)
    assert refused.value.code() is received
    assert words in (refused.value.details() or "")
    framework.cancel()
    await agent.end()


async def test_nothing_is_explained_without_an_allocator(tmp_path: Path) -> None:
    config = Config(
        ip="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        allocator=("127.0.0.1", free_port()),
        work_dir=tmp_path,
    )
    life, running = await start(config)
    async with open_channel(f"127.0.0.1:{config.grpc_port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
        stub = operator_pb2_grpc.OperatorStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Explain(operator.ExplainRequest(), timeout=PATIENCE_SECONDS)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "no allocator" in (refused.value.details() or "")
    life.stop()
    await running
    await life.close()


async def test_restarted_registry_knows_its_agents_and_quotas(tmp_path: Path) -> None:
    config = Config(
        ip="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        allocator=("127.0.0.1", free_port()),
        work_dir=tmp_path,
    )
    life, running = await start(config)
    async with open_channel(f"127.0.0.1:{config.grpc_port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
        agent = PlayedAgent(channel)
        await agent.register()
        agent_id = (await agent.receive("registered")).agent_id.value
        change = operator.CallRequest()
        change.call.type = master.Call.UPDATE_QUOTA
        change.call.update_quota.quota_configs.add(role="web").limits["cpus"].value = 2
        await operator_pb2_grpc.OperatorStub(channel).Call(change, timeout=PATIENCE_SECONDS)
        life.stop()
        await running
        assert await agent.ended() is grpc.StatusCode.FAILED_PRECONDITION
    await life.close()

    life, running = await start(config)
    async with open_channel(f"127.0.0.1:{config.grpc_port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_SECONDS)
        changes = operator_pb2_grpc.OperatorStub(channel).Watch(operator.WatchRequest())
        snapshot = await watched(changes, lambda change: change.HasField("snapshot_end"))
        (known,) = [change.agent_changed for change in snapshot if change.HasField("agent_changed")]
        assert known.recovered
        assert known.agent.agent_info.id.value == agent_id
        (role,) = [change.role_changed for change in snapshot if change.HasField("role_changed")]
        assert (role.role, dict(role.quota_limits), role.configured) == ("web", {"cpus": 2.0}, True)
        changes.cancel()
    life.stop()
    await running
    await life.close()


async def test_logging_is_raised_by_an_operator_in_the_registry_and_its_allocator(registry: Service) -> None:
    usual = logging.getLogger().level
    agent, framework, _ = await cluster_of_two(registry)  # and with that a session with the allocator
    call = master.Call(type=master.Call.SET_LOGGING_LEVEL)
    call.set_logging_level.level = 2
    call.set_logging_level.duration.nanoseconds = 3600 * 10**9
    try:
        assert not (await registry.operators.Call(operator.CallRequest(call=call))).HasField("response")
        assert logging.getLogger().level == logging.DEBUG
        asked = master.Call(type=master.Call.GET_LOGGING_LEVEL)
        answer = await registry.operators.Call(operator.CallRequest(call=asked))
        assert answer.response.get_logging_level.level == 2
        (sent,) = await registry.allocator.logging_level_requests(1)
        assert (sent.level, sent.duration_seconds) == (2, 3600.0)
    finally:
        logging.getLogger().setLevel(usual)
    await agent.end()
    framework.cancel()


async def test_observer_is_told_of_more_tasks_than_fit_one_part(registry: Service) -> None:
    agent = PlayedAgent(registry.channel)
    await agent.register("cpus:1000;mem:1000000")
    await agent.receive("registered")
    framework = PlayedFramework(registry.channel)
    await framework.subscribed()
    event = await framework.receive("OFFERS")
    names = [f"t{number}" for number in range(2500)]
    await framework.call(framework.launch(event.offers.offers[0], *names))
    changes = registry.operators.Watch(operator.WatchRequest())
    snapshot = await watched(changes, lambda change: change.HasField("snapshot_end"))
    added = [change.task_added.task.task_id.value for change in snapshot if change.HasField("task_added")]
    assert added == names
    changes.cancel()
    framework.cancel()
    await agent.end()


async def test_mistake_in_the_core_ends_the_term_and_not_the_process(
    registry: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, framework, _ = await cluster_of_two(registry)

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(reconciliation, "reconcile", fail)
        call = Call(type=Call.RECONCILE)
        call.reconcile.SetInParent()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await framework.call(call)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await framework.ended() is grpc.StatusCode.FAILED_PRECONDITION
    assert await agent.ended() is grpc.StatusCode.FAILED_PRECONDITION
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            again = PlayedAgent(registry.channel)
            await again.register(agent_id=agent.id)
            try:
                assert (await again.receive("registered")).agent_id.value == agent.id
                break
            except ConnectionError:
                continue
    await again.end()
