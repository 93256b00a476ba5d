"""The v1 scheduler API: `POST /api/v1/scheduler`, as frameworks written for Mesos speak it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from mesos.v1.scheduler.scheduler_pb2 import Call, Event
from mezzo.errors import Conflict, InvalidRequest, MezzoError, NotFound, NotLeading
from mezzo.scheduler.v1.scheduler_pb2 import CallRequest, SubscribeRequest, SubscribeResponse
from mezzo_chassis import trace
from mezzo_chassis.http.exchange import Format, answer_format, read_message
from mezzo_chassis.http.middleware import CORRELATION_HEADER
from mezzo_chassis.http.principals import principal_name
from mezzo_chassis.http.streams import RecordStream
from mezzo_chassis.log import accepted_cause, correlation_id, get_logger
from mezzo_gateway.adapters.calls import CallLost
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.http.files import cut_off
from mezzo_gateway.metrics import Metrics

STREAM_ID_HEADER = "Mesos-Stream-Id"

# How long a framework that subscribes waits for somebody to lead before it is told that nobody does.
LEADER_PATIENCE_SECONDS = 2.0

log = get_logger(__name__)
_stdlib_log = logging.getLogger(__name__)


class SchedulerApi:
    """Carries calls to the leading registry and its events back."""

    def __init__(self, registry: Registry, metrics: Metrics, is_own: Callable[[str], bool]) -> None:
        """`is_own` says whether an address ("host:port") is this gateway's own."""
        self._is_own = is_own
        self._registry = registry
        self._metrics = metrics

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        call = await read_message(request, Call)
        trace.hop("call parsed", call)
        if call.type == Call.UNKNOWN:
            raise InvalidRequest("type", "missing or unknown")
        stream_id = request.headers.get(STREAM_ID_HEADER)
        if call.type == Call.SUBSCRIBE:
            form = answer_format(request)
            if stream_id is not None:
                raise InvalidRequest("", f"Subscribe calls should not include the '{STREAM_ID_HEADER}' header")
            await self._wait_for_a_leader()
            return await self._subscribe(request, call, form)
        if not call.HasField("framework_id"):
            raise InvalidRequest("framework_id", "is required")
        if stream_id is None:
            raise InvalidRequest("", f"All non-subscribe calls should include the '{STREAM_ID_HEADER}' header")
        return await self._call(request, CallRequest(stream_id=stream_id, call=call, principal=principal_name()))

    async def _wait_for_a_leader(self) -> None:
        """For a while: there are clients that ask again at once, and as fast as they can."""
        try:
            async with asyncio.timeout(LEADER_PATIENCE_SECONDS):
                await self._registry.wait_until(lambda registry: registry.connected)
        except TimeoutError:
            log.info("no leading registry; SUBSCRIBE refused", waited_seconds=LEADER_PATIENCE_SECONDS)

    async def _call(self, request: web.Request, call: CallRequest) -> web.Response:
        try:
            await self._registry.scheduler_call(call)
        except (CallLost, NotLeading) as error:
            if isinstance(error, NotLeading) and error.leader is not None and not self._is_own(error.leader):
                raise  # the client is sent there
            # The leader that the framework's stream belonged to is gone, and the stream with it. As of a master that
            # has died the connection breaks: clients come back from that, and give up when a call is answered with 503.
            cut_off(request, error)
            return web.Response(status=503)
        except (NotFound, Conflict) as error:
            # Mesos knows no 404 and no 409 here: a framework or a stream that is not there is a wrong call.
            raise InvalidRequest("", str(error)) from None
        trace.hop("call admitted", call.call)
        # As Mesos answers: what a call brings about comes as events, save for this one, which is applied by now.
        return web.Response(status=200 if call.call.type == Call.UPDATE_FRAMEWORK else 202)

    async def _subscribe(self, request: web.Request, call: Call, form: Format) -> web.StreamResponse:
        peer = request.transport and request.transport.get_extra_info("peername")
        address = f"{peer[0]}:{peer[1]}" if peer else ""
        subscribe = SubscribeRequest(call=call, client_address=address, principal=principal_name())
        responses = self._registry.subscribe(subscribe)
        try:
            try:
                first = await anext(responses)
            except (NotFound, Conflict) as error:
                raise InvalidRequest("", str(error)) from None
            stream = RecordStream(
                form, headers={STREAM_ID_HEADER: first.stream_id, CORRELATION_HEADER: correlation_id()}
            )
            await stream.begin(request)
            with self._metrics.framework_streams.track_inprogress():
                await self._proxy(stream, first, responses)
            return stream.response
        finally:
            await responses.aclose()

    async def _proxy(
        self, stream: RecordStream, first: SubscribeResponse, responses: AsyncIterator[SubscribeResponse]
    ) -> None:
        """Pass events on until the registry or the framework ends the stream."""
        await self._write(stream, first)
        try:
            async for response in responses:
                await self._write(stream, response)
        except MezzoError as error:
            # The head of the answer is out: all that is left to say is that the stream has ended.
            log.info("framework stream ended by an error", error=str(error))
        await stream.end()

    async def _write(self, stream: RecordStream, response: SubscribeResponse) -> None:
        shown = _stdlib_log.isEnabledFor(logging.DEBUG)
        for number, event in enumerate(response.events):
            trace.hop("event received", event)
            if shown:
                cause = accepted_cause(response.causes[number]) if number < len(response.causes) else ""
                log.debug("event passed on", event_type=Event.Type.Name(event.type), cause=cause)
            # A chunk of its own for each, as Mesos does: there are clients that take a chunk for a record.
            await stream.write((event,))
            trace.hop("event written", event)
        self._metrics.events.inc(len(response.events))
