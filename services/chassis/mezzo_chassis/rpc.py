"""gRPC as all services use it: limits on both ends, health, reflection, errors, correlation ids and metrics."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mezzo.errors import InvalidRequest, MezzoError, NotLeading, shorten
from mezzo_chassis import errors
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.log import bind_correlation_id, get_logger
from mezzo_chassis.metrics import RpcMetrics
from mezzo_chassis.ports import check_port_is_free

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
KEEPALIVE_MS = 20_000
KEEPALIVE_TIMEOUT_MS = 10_000
# Open calls of one server, streams among them.
STREAMS_MAX = 100_000
# Of a status. It travels in a header, percent-encoded: clients refuse headers beyond 8 KiB, and tell that instead.
DETAILS_BYTES_MAX = 2000
STOP_GRACE_SECONDS = 1.0
CORRELATION_KEY = "x-correlation-id"
LEADER_KEY = "mezzo-leader"
# With a session that a leader opens: the number of its term. Later terms have higher ones.
EPOCH_KEY = "mezzo-epoch"
# With a session that a registry opens: the "host:port" under which agents and gateways reach its gRPC server.
REGISTRY_KEY = "mezzo-registry"

_SHARED_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
)
_SERVER_OPTIONS = (
    *_SHARED_OPTIONS,
    # Otherwise a second server binds the same port, and takes half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", STREAMS_MAX),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
)
_CHANNEL_OPTIONS = (
    *_SHARED_OPTIONS,
    ("grpc.keepalive_permit_without_calls", 1),
    # A leader may be back, or another be elected, within milliseconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
)

log = get_logger(__name__)

AddServicer = Callable[[Any, grpc.aio.Server], None]


def open_channel(address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel to `host:port` with the limits that every server here has."""
    return grpc.aio.insecure_channel(address, options=[*_CHANNEL_OPTIONS, *options])


class Server:
    """A running gRPC server; made by `start_server`."""

    def __init__(self, server: grpc.aio.Server, health_servicer: health.aio.HealthServicer, names: list[str]) -> None:
        self._server = server
        self._health = health_servicer
        self._names = names
        self.port = 0

    async def set_serving(self, serving: bool, *names: str) -> None:
        """What health checks are told: of the process ("") and each of its services, or of those named alone."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in names or ("", *self._names):
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Take no more calls, and end those that are left after a moment."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


async def start_server(
    host: str,
    port: int,
    servicers: Iterable[tuple[AddServicer, Any]],
    names: Sequence[str],
    metrics: RpcMetrics | None = None,
    *,
    serving: bool = True,
    request_bytes_max: int = MESSAGE_BYTES_MAX,
) -> Server:
    """Serve on `host:port` (0: any free port, then told by `Server.port`).

    `servicers` pairs each generated `add_…_to_server` with its servicer; `names` are the services' full names, for
    health and reflection; whether they serve yet, `serving` says. A larger request than `request_bytes_max` is answered
    with RESOURCE_EXHAUSTED before it is read. A servicer raises `MezzoError`s; they become
    statuses. Raises `StartupError` naming the port that is in use, and by whom.
    """
    check_port_is_free(host, port)
    options = tuple((dict(_SERVER_OPTIONS) | {"grpc.max_receive_message_length": request_bytes_max}).items())
    server = grpc.aio.server(options=options, interceptors=[_Around(metrics)], maximum_concurrent_rpcs=STREAMS_MAX)
    for add, servicer in servicers:
        add(servicer, server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    running = Server(server, health_servicer, list(names))
    try:
        running.port = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise StartupError(Exit.PORT_IN_USE, f"cannot listen on {host}:{port}: {error}") from None
    await running.set_serving(serving)
    await server.start()
    return running


class _Around(grpc.aio.ServerInterceptor):
    """Puts the same around every handler: a correlation id, metrics, and errors turned into statuses."""

    def __init__(self, metrics: RpcMetrics | None) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        _, service, method = handler_call_details.method.split("/")
        given = dict(handler_call_details.invocation_metadata or ()).get(CORRELATION_KEY)
        around = _Call(
            self._metrics, service, method, given, parsed=_all_parsed if handler.request_streaming else _parsed
        )
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        behaviour: Any = handler.stream_stream or handler.stream_unary or handler.unary_stream or handler.unary_unary
        # A handler of a stream may also be a coroutine that writes to its context, as that of health is.
        answer: Any = around.stream if inspect.isasyncgenfunction(behaviour) else around.unary
        return make(
            answer(behaviour),
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


@dataclass(frozen=True, slots=True)
class _Unparsable:
    """What stands for a message that could not be parsed."""

    reason: str


def _tolerant(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """A deserializer that raises nothing: gRPC would answer INTERNAL, and log a traceback for a client's mistake."""
    if deserializer is None:
        return None

    def deserialize(data: bytes) -> Any:
        try:
            return deserializer(data)
        except (DecodeError, ValueError) as error:
            return _Unparsable(str(error))

    return deserialize


async def _all_parsed(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _parsed(request)


def _parsed(request: Any) -> Any:
    if isinstance(request, _Unparsable):
        raise InvalidRequest("", f"the message cannot be parsed: {request.reason}")
    return request


class _Call:
    """One call, seen from outside its handler."""

    def __init__(
        self,
        metrics: RpcMetrics | None,
        service: str,
        method: str,
        correlation_id: Any,
        *,
        parsed: Callable[[Any], Any],
    ) -> None:
        """`parsed` makes of the request what the handler gets."""
        self._parsed = parsed
        self._metrics = metrics
        self._labels = (service, method)
        self._correlation_id = correlation_id if isinstance(correlation_id, str) else None
        self._started = 0.0

    def unary(self, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self._begin()
            try:
                response = await behaviour(self._parsed(request), context)
            except BaseException as error:
                await self._fail(error, context)
                raise
            self._end(grpc.StatusCode.OK)
            return response

        return answer

    def stream(self, behaviour: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            self._begin()
            try:
                async for response in behaviour(self._parsed(request), context):
                    yield response
            except BaseException as error:
                await self._fail(error, context)
                raise
            self._end(grpc.StatusCode.OK)

        return answer

    def _begin(self) -> None:
        bind_correlation_id(self._correlation_id)
        self._started = time.perf_counter()
        if self._metrics:
            self._metrics.active.labels(*self._labels).inc()

    def _end(self, code: grpc.StatusCode) -> None:
        if self._metrics:
            self._metrics.active.labels(*self._labels).dec()
            self._metrics.handled.labels(*self._labels, code.name).inc()
            self._metrics.duration.labels(*self._labels).observe(time.perf_counter() - self._started)

    async def _fail(self, error: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count the end of a call, and turn the cluster's own errors into statuses; does not return for those."""
        if isinstance(error, MezzoError):
            code = errors.grpc_status(error)
            self._end(code)
            if isinstance(error, NotLeading) and error.leader:
                context.set_trailing_metadata(((LEADER_KEY, error.leader),))
            await context.abort(code, _details(str(error)))
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._end(grpc.StatusCode.CANCELLED)
            return
        if isinstance(error, grpc.aio.AbortError):
            self._end(context.code() or grpc.StatusCode.UNKNOWN)
            return
        self._end(grpc.StatusCode.INTERNAL)
        log.error("call failed", rpc=".".join(self._labels), exc_info=error)
        await context.abort(grpc.StatusCode.INTERNAL, _details(f"{type(error).__name__}: {error}"))


def _details(text: str) -> str:
    encoded = shorten(text).encode(errors="replace")
    rest = "…" if len(encoded) > DETAILS_BYTES_MAX else ""
    return encoded[:DETAILS_BYTES_MAX].decode(errors="ignore") + rest


def error_of(failure: grpc.aio.AioRpcError) -> MezzoError:
    """The error that a failed call to a peer stands for."""
    leader = dict(failure.trailing_metadata() or ()).get(LEADER_KEY)
    text = leader.decode() if isinstance(leader, bytes) else leader
    return errors.from_status(failure.code(), failure.details() or failure.code().name, text)
