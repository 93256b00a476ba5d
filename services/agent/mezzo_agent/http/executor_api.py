"""`POST /api/v1/executor`: Mesos' v1 executor API, in JSON and protobuf.

Source: docs/executor-http-api.md of apache/mesos.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from mesos.v1.executor import executor_pb2 as executor_api
from mezzo.errors import Unauthorized
from mezzo_agent.config import EXECUTOR_HEARTBEAT_INTERVAL_SECONDS
from mezzo_agent.core.events import ExecutorCalled, ExecutorDisconnected, ExecutorSubscribed
from mezzo_agent.shell.agent_runtime import AgentRuntime
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.http.exchange import answer_format, read_message
from mezzo_chassis.http.streams import RecordStream
from mezzo_chassis.log import correlation_id, get_logger
from mezzo_chassis.outbox import Outbox, Overflow

log = get_logger(__name__)


class ExecutorApi:
    """One call a request; SUBSCRIBE is answered by a stream of events."""

    def __init__(self, gate: ReadinessGate) -> None:
        self._gate = gate

    async def post(self, request: web.Request) -> web.StreamResponse:
        runtime = self._gate.runtime()
        call = await read_message(request, executor_api.Call)
        token = bearer_token(request.headers.get("Authorization"))
        if call.type == executor_api.Call.SUBSCRIBE:
            return await self._subscribe(runtime, request, call, token)
        await runtime.engine.request(ExecutorCalled(call, token), correlation_id())
        return web.Response(status=202)

    async def _subscribe(
        self, runtime: AgentRuntime, request: web.Request, call: executor_api.Call, token: str | None
    ) -> web.StreamResponse:
        stream = RecordStream(answer_format(request))
        name, outbox = runtime.streams.open()
        heartbeats: asyncio.Task[None] | None = None
        try:
            await runtime.engine.request(ExecutorSubscribed(call, token, name), correlation_id())
            heartbeats = asyncio.create_task(send_heartbeats(outbox))
            await stream.begin(request)
            async for batch in outbox:
                await stream.write(batch)
            await stream.end()
        except Overflow as error:
            log.warning("executor does not read its events", executor_id=call.executor_id.value, error=str(error))
            if request.transport is not None:
                request.transport.abort()
        finally:
            if heartbeats is not None:
                heartbeats.cancel()
            runtime.streams.close(name)
            runtime.engine.post(ExecutorDisconnected(name))
        return stream.response


async def send_heartbeats(outbox: Outbox[executor_api.Event]) -> None:
    """Keep an executor's stream alive, until cancelled."""
    while True:
        await asyncio.sleep(EXECUTOR_HEARTBEAT_INTERVAL_SECONDS)
        outbox.put(executor_api.Event(type=executor_api.Event.HEARTBEAT))


def bearer_token(header: str | None) -> str | None:
    """Read the token of an `Authorization` header; None where there is no header.

    Raises:
        Unauthorized: it has another scheme.
    """
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization: must be 'Bearer <token>'")
    return token.strip()
