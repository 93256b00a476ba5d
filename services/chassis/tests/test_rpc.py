"""gRPC servers: health, reflection, errors as statuses, metrics, and ports that are in use."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry, generate_latest
from structlog.contextvars import get_contextvars

from mezzo.errors import InvalidRequest, LimitExceeded, MezzoError, NotFound, NotLeading
from mezzo.operator.v1 import operator_pb2, operator_pb2_grpc
from mezzo_chassis import rpc
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.metrics import RpcMetrics
from mezzo_chassis.rpc import Server, error_of, open_channel, start_server

PATIENCE_SECONDS = 60
NAME = "mezzo.operator.v1.Operator"


class Failing(operator_pb2_grpc.OperatorServicer):
    """Fails in the way that the test wants."""

    error: Exception | None = None
    waits = False
    correlation_id = ""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def KillTask(self, request: operator_pb2.KillTaskRequest, context: object) -> operator_pb2.KillTaskResponse:
        self.correlation_id = get_contextvars()["correlation_id"]
        if self.error is not None:
            raise self.error
        return operator_pb2.KillTaskResponse()

    async def Call(self, request: operator_pb2.CallRequest, context: object) -> operator_pb2.CallResponse:
        raise NotImplementedError

    async def Watch(
        self, request: operator_pb2.WatchRequest, context: object
    ) -> AsyncIterator[operator_pb2.WatchResponse]:
        yield operator_pb2.WatchResponse()
        try:
            if self.waits:
                await asyncio.Event().wait()
        finally:
            self.left.set()
        if self.error is not None:
            raise self.error


@pytest.fixture
def servicer() -> Failing:
    return Failing()  # type: ignore[abstract]  # what it lacks is never called


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def server(servicer: Failing, metrics: CollectorRegistry) -> AsyncIterator[Server]:
    add = operator_pb2_grpc.add_OperatorServicer_to_server
    running = await start_server("127.0.0.1", 0, [(add, servicer)], [NAME], RpcMetrics(metrics, "test"))
    yield running
    await running.stop(0)


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


async def kill(channel: grpc.aio.Channel) -> None:
    request = operator_pb2.KillTaskRequest()
    request.framework_id.value = request.task_id.value = "x"
    await operator_pb2_grpc.OperatorStub(channel).KillTask(request)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("task_id", "is required"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("no such task"), grpc.StatusCode.NOT_FOUND),
        (NotLeading("10.0.0.1:5060"), grpc.StatusCode.FAILED_PRECONDITION),
        (RuntimeError("a defect"), grpc.StatusCode.INTERNAL),
    ],
)
async def test_an_error_becomes_its_status_and_the_same_error_again(
    servicer: Failing, channel: grpc.aio.Channel, error: Exception, code: grpc.StatusCode
) -> None:
    servicer.error = error
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await kill(channel)
    assert failed.value.code() is code
    if isinstance(error, MezzoError):
        again = error_of(failed.value)
        assert type(again) is type(error)
        assert str(again) == str(error)


async def test_a_stream_that_fails_ends_with_its_status(servicer: Failing, channel: grpc.aio.Channel) -> None:
    servicer.error = NotLeading("10.0.0.1:5060")
    stream = operator_pb2_grpc.OperatorStub(channel).Watch(operator_pb2.WatchRequest())
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        async for _ in stream:
            pass
    assert isinstance(error_of(failed.value), NotLeading)


async def test_health_is_told_for_the_process_and_for_each_service(server: Server, channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", NAME):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await server.set_serving(False)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_can_be_watched(server: Server, channel: grpc.aio.Channel) -> None:
    watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
    await server.set_serving(False)
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watched.cancel()


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    async def ask() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(ask())
    names = [each.name async for answer in answers for each in answer.list_services_response.service]
    assert NAME in names


async def test_calls_are_counted_by_their_outcome(
    servicer: Failing, channel: grpc.aio.Channel, metrics: CollectorRegistry
) -> None:
    await kill(channel)
    servicer.error = NotFound("no such task")
    with pytest.raises(grpc.aio.AioRpcError):
        await kill(channel)
    for code in ("OK", "NOT_FOUND"):
        labels = {"rpc_service": NAME, "method": "KillTask", "code": code}
        assert metrics.get_sample_value("mezzo_test_rpc_handled_total", labels) == 1
    labels = {"rpc_service": NAME, "method": "KillTask"}
    assert metrics.get_sample_value("mezzo_test_rpc_duration_seconds_count", labels) == 2
    assert metrics.get_sample_value("mezzo_test_rpc_active", labels) == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x" * 1_000_000), grpc.StatusCode.NOT_FOUND),
        (NotFound("ü" * 5000), grpc.StatusCode.NOT_FOUND),
        (NotFound("𝄞" * 2000), grpc.StatusCode.NOT_FOUND),
        (NotFound("no text \ud800" * 1000), grpc.StatusCode.NOT_FOUND),
        (RuntimeError("x" * 5000), grpc.StatusCode.INTERNAL),
    ],
)
async def test_an_error_with_a_long_message_keeps_its_status(
    servicer: Failing, channel: grpc.aio.Channel, error: Exception, code: grpc.StatusCode
) -> None:
    servicer.error = error
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await kill(channel)
    assert failed.value.code() is code
    assert (failed.value.details() or "").endswith((" characters left out)", "…"))


async def test_whatever_a_call_logs_carries_the_callers_correlation_id(
    servicer: Failing, channel: grpc.aio.Channel
) -> None:
    request = operator_pb2.KillTaskRequest()
    request.framework_id.value = request.task_id.value = "x"
    for given, bound in (("abc", "abc"), (None, None), ("x" * 200, None)):
        metadata = ((rpc.CORRELATION_KEY, given),) if given else None
        await operator_pb2_grpc.OperatorStub(channel).KillTask(request, metadata=metadata)
        assert servicer.correlation_id == bound or (bound is None and len(servicer.correlation_id) == 32)


async def test_a_stream_that_its_client_leaves_is_counted_as_cancelled(
    servicer: Failing, channel: grpc.aio.Channel, metrics: CollectorRegistry
) -> None:
    servicer.waits = True
    stream = operator_pb2_grpc.OperatorStub(channel).Watch(operator_pb2.WatchRequest())
    await stream.read()
    labels = {"rpc_service": NAME, "method": "Watch"}
    assert metrics.get_sample_value("mezzo_test_rpc_active", labels) == 1
    stream.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        # A server that idles may see that the client is gone only when something else wakes it; and it lets go of the
        # call a turn or two after its method has.
        while not servicer.left.is_set() or metrics.get_sample_value("mezzo_test_rpc_active", labels):
            await kill(channel)
    assert metrics.get_sample_value("mezzo_test_rpc_handled_total", {**labels, "code": "CANCELLED"}) == 1


async def test_a_method_that_is_none_leaves_no_trace_in_the_metrics(
    channel: grpc.aio.Channel, metrics: CollectorRegistry
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/mezzo.Frob/Frob")
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(b"")
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert b"Frob" not in generate_latest(metrics)


async def test_a_message_that_cannot_be_parsed_is_the_callers_mistake(
    channel: grpc.aio.Channel, metrics: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    kill_task: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{NAME}/KillTask")
    watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{NAME}/Watch")
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
    reflect: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    for call in (kill_task(b"\xff"), watch(b"\xff").read(), check(b"\xff"), reflect(iter([b"\xff"])).read()):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "cannot be parsed" in (failed.value.details() or "")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    labels = {"rpc_service": NAME, "method": "KillTask", "code": "INVALID_ARGUMENT"}
    async with asyncio.timeout(PATIENCE_SECONDS):
        # A call is counted a turn or two after its client has the answer.
        while not metrics.get_sample_value("mezzo_test_rpc_handled_total", labels):
            await kill(channel)
    assert metrics.get_sample_value("mezzo_test_rpc_handled_total", labels) == 1


async def test_messages_of_many_megabytes_pass_and_larger_ones_are_refused(channel: grpc.aio.Channel) -> None:
    request = operator_pb2.KillTaskRequest()
    request.framework_id.value = "x" * (8 * 2**20)
    request.task_id.value = "x"
    await operator_pb2_grpc.OperatorStub(channel).KillTask(request)
    request.framework_id.value = "x" * rpc.MESSAGE_BYTES_MAX
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await operator_pb2_grpc.OperatorStub(channel).KillTask(request)
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(error_of(failed.value), LimitExceeded)


async def test_a_server_may_take_smaller_requests_than_others() -> None:
    server = await start_server("127.0.0.1", 0, [], [], request_bytes_max=1000)
    try:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert await health.Check(health_pb2.HealthCheckRequest())
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await health.Check(health_pb2.HealthCheckRequest(service="x" * 1000))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await server.stop(0)


async def test_more_open_calls_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch, servicer: Failing) -> None:
    monkeypatch.setattr(rpc, "STREAMS_MAX", 1)
    servicer.waits = True
    server = await start_server("127.0.0.1", 0, [(operator_pb2_grpc.add_OperatorServicer_to_server, servicer)], [NAME])
    try:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            stream = operator_pb2_grpc.OperatorStub(channel).Watch(operator_pb2.WatchRequest())
            await stream.read()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await kill(channel)
            assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            stream.cancel()
    finally:
        await server.stop(0)


async def test_the_end_of_a_server_is_told_to_whoever_watches_its_health(
    server: Server, channel: grpc.aio.Channel
) -> None:
    watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.ensure_future(server.stop())
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watched.cancel()
    await stopping


@pytest.mark.parametrize("host", ["192.0.2.1", "host.invalid"])
async def test_an_address_that_is_not_ones_own_is_a_wrong_configuration(host: str) -> None:
    with pytest.raises(StartupError, match=f"cannot listen on {host}:5060") as refused:
        await start_server(host, 5060, [], [])
    assert refused.value.code is Exit.BAD_CONFIGURATION


async def test_a_port_in_use_is_named_with_its_holder(server: Server) -> None:
    with pytest.raises(StartupError, match=rf"127.0.0.1:{server.port} is in use by \S+ \(process \d+\)") as refused:
        await start_server("127.0.0.1", server.port, [], [])
    assert refused.value.code is Exit.PORT_IN_USE
