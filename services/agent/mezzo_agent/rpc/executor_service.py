"""The executor API over gRPC: the same calls and events as over HTTP, the token in the metadata."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from mesos.v1.executor import executor_pb2 as executor_api
from mezzo.errors import InvalidRequest, LimitExceeded
from mezzo.executor.v1 import executor_pb2 as messages
from mezzo.executor.v1 import executor_pb2_grpc as service
from mezzo_agent.core.events import ExecutorCalled, ExecutorDisconnected, ExecutorSubscribed
from mezzo_agent.http.executor_api import bearer_token, send_heartbeats
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.log import correlation_id
from mezzo_chassis.outbox import Overflow

SERVICE = "mezzo.executor.v1.Executor"


class ExecutorService(service.ExecutorServicer):
    """Serves executors."""

    def __init__(self, gate: ReadinessGate) -> None:
        self._gate = gate

    async def Subscribe(  # noqa: N802  the service's name for it
        self,
        request: messages.SubscribeRequest,
        context: grpc.aio.ServicerContext[messages.SubscribeRequest, messages.SubscribeResponse],
    ) -> AsyncIterator[messages.SubscribeResponse]:
        if request.call.type != executor_api.Call.SUBSCRIBE:
            raise InvalidRequest("call.type", "must be SUBSCRIBE")
        runtime = self._gate.runtime()
        name, outbox = runtime.streams.open()
        heartbeats: asyncio.Task[None] | None = None
        try:
            await runtime.engine.request(ExecutorSubscribed(request.call, _token(context), name), correlation_id())
            heartbeats = asyncio.create_task(send_heartbeats(outbox))
            async for batch in outbox:
                yield messages.SubscribeResponse(events=batch)
        except Overflow as error:
            raise LimitExceeded(str(error)) from None
        finally:
            if heartbeats is not None:
                heartbeats.cancel()
            runtime.streams.close(name)
            runtime.engine.post(ExecutorDisconnected(name))

    async def Call(  # noqa: N802  the service's name for it
        self,
        request: messages.CallRequest,
        context: grpc.aio.ServicerContext[messages.CallRequest, messages.CallResponse],
    ) -> messages.CallResponse:
        if request.call.type == executor_api.Call.SUBSCRIBE:
            raise InvalidRequest("call.type", "SUBSCRIBE is not allowed here: use the method Subscribe")
        await self._gate.runtime().engine.request(ExecutorCalled(request.call, _token(context)), correlation_id())
        return messages.CallResponse()


def _token(context: grpc.aio.ServicerContext[Any, Any]) -> str | None:
    metadata = dict(context.invocation_metadata() or ())
    value = metadata.get("authorization")
    return bearer_token(value.decode() if isinstance(value, bytes) else value)
