"""The connection to the leading registry: finds it, follows its state, carries calls to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from mesos.v1.master.master_pb2 import Call as OperatorCall
from mesos.v1.master.master_pb2 import Response
from mezzo import addresses
from mezzo.backoff import Backoff
from mezzo.errors import NotLeading, Unavailable
from mezzo.operator.v1.operator_pb2 import CallRequest as OperatorCallRequest
from mezzo.operator.v1.operator_pb2 import (
    ExplainRequest,
    ExplainResponse,
    KillTaskRequest,
    MembersRequest,
    MembersResponse,
    WatchRequest,
    WatchResponse,
)
from mezzo.operator.v1.operator_pb2_grpc import OperatorStub
from mezzo.scheduler.v1.scheduler_pb2 import CallRequest, SubscribeRequest, SubscribeResponse
from mezzo.scheduler.v1.scheduler_pb2_grpc import SchedulerStub
from mezzo_chassis.http.principals import principal_name
from mezzo_chassis.leadership import LeaderInfo
from mezzo_chassis.log import get_logger
from mezzo_chassis.log_throttle import LogThrottle
from mezzo_chassis.rpc import error_of, open_channel
from mezzo_gateway.adapters.calls import CallPipeline
from mezzo_gateway.correlation import metadata
from mezzo_gateway.metrics import Metrics
from mezzo_gateway.state.copy import Applied, StateCopy

if TYPE_CHECKING:  # the generated stubs for type checkers alone
    from mezzo.operator.v1.operator_pb2_grpc import OperatorAsyncStub
    from mezzo.scheduler.v1.scheduler_pb2_grpc import SchedulerAsyncStub

# Pauses between attempts to reach a registry: doubled from the first to the last, and each shortened by chance.
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0
# For a registry to answer a call of an operator. Some are stored first, which waits while ZooKeeper is away; a registry
# whose process has stopped is given up sooner, by gRPC's keepalive or the next election.
CALL_SECONDS_MAX = 60.0
# For a registry to begin to describe the cluster.
SNAPSHOT_SECONDS_MAX = 30.0

log = get_logger(__name__)

ERROR_CHARACTERS_MAX = 1000
NANOSECONDS = 1e9

Observer = Callable[[Applied], None]


class _Connection:
    """One channel to one registry, with what is carried over it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = open_channel(address)
        self.operator: OperatorAsyncStub = OperatorStub(self.channel)
        self.scheduler: SchedulerAsyncStub = SchedulerStub(self.channel)
        self.calls = CallPipeline(self.scheduler.CallStream)

    async def close(self) -> None:
        try:
            await self.calls.close()
        finally:
            await self.channel.close()


class Registry:
    """The leading registry, as far as it can be reached."""

    def __init__(self, copy: StateCopy, metrics: Metrics, version: str = "") -> None:
        self.copy = copy
        # By which clients reach this gateway, "host:port", once it listens: registries show it to operators.
        self.own_address = ""
        self._version = version
        self.leader: LeaderInfo | None = None
        self._metrics = metrics
        self._connection: _Connection | None = None
        self._observers: set[Observer] = set()
        self._drop_throttle = LogThrottle()
        self._changed = asyncio.Event()

    # --------------------------------------------------------------------------------------------------- reading

    @property
    def connected(self) -> bool:
        """Whether calls can be made and the copy follows."""
        return self._connection is not None

    def advertised_hosts(self) -> list[str]:
        """The host names by which clients that ask who leads are told to come here."""
        known = [] if self.leader is None else self.leader.hostnames
        if self.copy.cluster is not None:
            info = self.copy.cluster.begin.master_info
            known = [*known, info.hostname, info.address.hostname]
        return [name for name in known if name]

    @property
    def http_address(self) -> str | None:
        """The address ("host:port") that answers HTTP for the leader; None while nobody leads or it is not known."""
        if self.leader is None:
            return None
        if self.leader.http_address is None and self.copy.cluster is not None and self.connected:
            # Found by its gRPC address alone: the registry itself says which HTTP address it advertises.
            info = self.copy.cluster.begin.master_info
            address = addresses.of(info.address.hostname or info.address.ip or info.hostname, info.port)
            return None if address is None else str(address)
        return self.leader.http_address

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Have `observer` called with what each batch of changes did; returns what ends that."""
        self._observers.add(observer)
        return lambda: self._observers.discard(observer)

    async def wait_until(self, condition: Callable[[Registry], bool]) -> None:
        """Wait until `condition` holds of who leads, of the connection, and of the copy."""
        while not condition(self):
            await self._changed.wait()

    # --------------------------------------------------------------------------------------------------- calling

    async def scheduler_call(self, request: CallRequest) -> None:
        """A call, in order with all others that are made this way."""
        await self._live().calls.call(request)

    async def subscribe(self, request: SubscribeRequest) -> AsyncGenerator[SubscribeResponse, None]:
        """A framework's stream. Closing the iterator ends it."""
        stream = self._live().scheduler.Subscribe(request, metadata=metadata())
        try:
            with _refusals():
                async for response in stream:
                    yield response
        finally:
            stream.cancel()

    async def operator_call(self, call: OperatorCall) -> Response:
        """A call of the v1 operator API that the registry answers; an empty response where Mesos' has no body."""
        request = OperatorCallRequest(call=call, principal=principal_name())
        with _refusals():
            answer = await self._live().operator.Call(request, metadata=metadata(), timeout=CALL_SECONDS_MAX)
        return answer.response

    async def explain(self, framework_id: str, role: str, agent_id: str) -> ExplainResponse:
        """Why frameworks are offered what they are; each argument narrows it, unless it is empty."""
        request = ExplainRequest(framework_id=framework_id, role=role, agent_id=agent_id, principal=principal_name())
        with _refusals():
            return await self._live().operator.Explain(request, metadata=metadata(), timeout=CALL_SECONDS_MAX)

    async def kill_task(self, framework_id: str, task_id: str, grace_period_seconds: float | None = None) -> None:
        """Kill a task of any framework; without a grace period, with that of the task."""
        request = KillTaskRequest(principal=principal_name())
        request.framework_id.value, request.task_id.value = framework_id, task_id
        if grace_period_seconds is not None:
            request.kill_policy.grace_period.nanoseconds = round(grace_period_seconds * NANOSECONDS)
        with _refusals():
            await self._live().operator.KillTask(request, metadata=metadata(), timeout=CALL_SECONDS_MAX)

    async def members(self) -> MembersResponse:
        """The registries, allocators and gateways that the leading registry knows of."""
        request = MembersRequest(principal=principal_name())
        with _refusals():
            return await self._live().operator.Members(request, metadata=metadata(), timeout=CALL_SECONDS_MAX)

    def _live(self) -> _Connection:
        """The connection. Raises NotLeading with the address that answers HTTP for the leader, where that is known."""
        if self._connection is None:
            raise NotLeading(self.http_address)
        return self._connection

    # ------------------------------------------------------------------------------------------------- following

    async def follow(self, leaders: AsyncIterator[LeaderInfo | None]) -> None:
        """Follow whoever leads, until cancelled."""
        following: asyncio.Task[None] | None = None
        superseded: str | None = None
        try:
            async for leader in leaders:
                if following is not None:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                    following = None
                if self.leader is not None:
                    superseded = self.leader.grpc_address
                self.leader = leader
                self._notify()
                log.info(
                    "leader detected",
                    address=leader and leader.grpc_address,
                    http_address=leader and leader.http_address,
                )
                if leader is not None:
                    following = asyncio.create_task(self._follow(leader.grpc_address, superseded))
            if following is not None:
                await following
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, address: str, superseded: str | None) -> None:
        """Keep a stream from the registry at `address`, or from the one that it points to.

        Not from the one that led before, which it points to until it knows better: reaching a host that is gone takes
        as long as the look-up of its name.
        """
        backoff, throttle = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX), LogThrottle()
        target = address
        while True:
            version, sound = self.copy.version, True
            reason = "the registry ended the stream"
            try:
                await self._watch(target)
            except grpc.aio.AioRpcError as error:
                cause = error_of(error)
                reason = str(cause)
                # A registry that does not lead may know who does; one that cannot be reached is asked again itself.
                hint = cause.leader if isinstance(cause, NotLeading) else None
                target = hint if hint and hint != superseded else address
            except TimeoutError:
                reason, target = f"the registry has sent nothing for {SNAPSHOT_SECONDS_MAX:g} seconds", address
            except Exception as error:
                # A mistake of ours must not end the following unseen: another stream begins with another snapshot.
                sound, reason = False, repr(error)
                log.exception("watching the registry failed", address=target)
            if sound and self.copy.version != version:
                backoff.reset()
                throttle.reset()
            seconds = next(backoff)
            if throttle.due(f"{target} {reason}"):
                log.info("no state from a leading registry", address=target, reason=reason, retry_seconds=seconds)
            await asyncio.sleep(seconds)

    async def _watch(self, address: str) -> None:
        connection = _Connection(address)
        try:
            request = WatchRequest(http_address=self.own_address, version=self._version)
            stream = connection.operator.Watch(request)
            response: WatchResponse
            async with asyncio.timeout(SNAPSHOT_SECONDS_MAX) as first:
                async for response in stream:
                    if self._connection is None:
                        first.reschedule(None)
                        self._connection = connection
                        log.info("connected to the registry", address=address)
                    self._apply(response)
        finally:
            if self._connection is connection:
                self._connection = None
                self.copy.disconnected(time.time())
                self._metrics.connected.set(0)
                self._notify()
            await connection.close()

    def _apply(self, response: WatchResponse) -> None:
        applied = self.copy.apply(response.changes)
        self._metrics.changes.inc(len(response.changes) - len(applied.dropped))
        for kind, error in applied.dropped:
            self._metrics.dropped.labels(kind).inc()
            if self._drop_throttle.due(f"{kind} {error!r}"):
                log.warning("state change dropped", change=kind, error=repr(error)[:ERROR_CHARACTERS_MAX])
        if applied.replaced:
            self._metrics.connected.set(1)
        for observer in list(self._observers):
            try:
                observer(applied)
            except Exception:
                # Of one who follows: the others, and the copy, are none the worse for it.
                log.exception("operator event stream failed to follow a change")
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what a registry says against a call, or that it is gone, into the error that it stands for."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        cause = error_of(error)
        # One that no longer leads is only away: its successor is found by following.
        raise (Unavailable(str(cause)) if isinstance(cause, NotLeading) else cause) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled this task: the channel was closed under the call.
        raise Unavailable("the connection to the registry ended") from None
