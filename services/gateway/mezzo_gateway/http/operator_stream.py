"""The event stream of operators: SUBSCRIBE of the v1 operator API."""

from __future__ import annotations

import asyncio

from aiohttp import web

from mesos.v1.master.master_pb2 import Event
from mezzo.errors import Unavailable
from mezzo_chassis.http.exchange import JSON, Format
from mezzo_chassis.http.middleware import CORRELATION_HEADER
from mezzo_chassis.http.streams import RecordStream
from mezzo_chassis.log import correlation_id, get_logger
from mezzo_chassis.outbox import Outbox, Overflow
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http import operator_events
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.metrics import Metrics
from mezzo_gateway.state import v1, v1_wire
from mezzo_gateway.state.copy import Applied

# Events that may wait for one operator. One that does not keep up is disconnected, and starts again with the state.
EVENTS_WAITING_MAX = 20_000

log = get_logger(__name__)


class OperatorStream:
    """Tells operators of every change, beginning with everything."""

    def __init__(
        self, registry: Registry, reads: Reads, metrics: Metrics, *, heartbeat_seconds: float, subscribers_max: int
    ) -> None:
        self._registry = registry
        self._reads = reads
        self._metrics = metrics
        self._heartbeat_seconds = heartbeat_seconds
        self.subscribers_max = subscribers_max
        self.subscribers = 0

    async def serve(self, request: web.Request, form: Format) -> web.StreamResponse:
        """Answer SUBSCRIBE: until the operator leaves, or what it knows of is replaced by a new copy of the state."""
        if self.subscribers >= self.subscribers_max:
            flag = "--max_operator_event_stream_subscribers"
            raise Unavailable(f"the limit of {self.subscribers_max} operator event streams is reached ({flag})")
        self.subscribers += 1
        try:
            with self._metrics.operator_streams.track_inprogress():
                return await self._serve(request, form)
        finally:
            self.subscribers -= 1

    async def _serve(self, request: web.Request, form: Format) -> web.StreamResponse:
        await self._reads.render(v1.rendering if form.content_type == JSON else v1_wire.rendering)
        # From here to the observer nothing is awaited: no change falls between the state and the first event.
        greeting = self._greeting(form)
        waiting: Outbox[Event] = Outbox(EVENTS_WAITING_MAX, peer="operator")
        waiting.put(operator_events.heartbeat())
        end = self._registry.observe(lambda applied: self._send(waiting, applied))
        try:
            stream = RecordStream(form, {CORRELATION_HEADER: correlation_id()})
            await stream.begin(request)
            await stream.write_records((greeting,))
            heartbeat = asyncio.create_task(self._beat(waiting))
            try:
                async for events in waiting:
                    await stream.write(events)
            except Overflow as error:
                log.warning("operator event stream ended: the client reads too slowly", error=str(error))
            finally:
                heartbeat.cancel()
                await asyncio.gather(heartbeat, return_exceptions=True)
            await stream.end()
            return stream.response
        finally:
            end()

    def _greeting(self, form: Format) -> bytes:
        subscribed = v1.subscribed_json if form.content_type == JSON else v1_wire.subscribed
        return subscribed(self._reads.cluster(), self._heartbeat_seconds)

    def _send(self, waiting: Outbox[Event], applied: Applied) -> None:
        if applied.replaced:
            waiting.close()
            return
        cluster = self._reads.cluster()
        waiting.put_all([operator_events.event_of(cluster, fact) for fact in applied.facts])

    async def _beat(self, waiting: Outbox[Event]) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            waiting.put(operator_events.heartbeat())
