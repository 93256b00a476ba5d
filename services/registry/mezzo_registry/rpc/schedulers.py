"""mezzo.scheduler.v1.Scheduler: the streams and calls of frameworks."""

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from mezzo.errors import LimitExceeded, MezzoError, shorten
from mezzo.scheduler.v1 import scheduler_pb2 as service
from mezzo.scheduler.v1 import scheduler_pb2_grpc
from mezzo_chassis import trace
from mezzo_chassis.errors import grpc_status
from mezzo_chassis.log import accepted_cause, correlation_id
from mezzo_registry.core import events
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.streams import FRAMEWORK_EVENTS_MAX, EventStream, Overflow

CALLS_PER_TURN_MAX = 512


class Schedulers(scheduler_pb2_grpc.SchedulerServicer):
    """Frameworks, whether they come themselves or through a gateway."""

    def __init__(self, current_term: CurrentTerm) -> None:
        self._current_term = current_term

    async def Subscribe(  # noqa: N802
        self, request: service.SubscribeRequest, context: Any
    ) -> AsyncIterator[service.SubscribeResponse]:
        """The event stream of one framework."""
        term = self._current_term.get()
        stream_id = str(uuid.uuid4())
        number = term.number()
        stream = EventStream("framework", FRAMEWORK_EVENTS_MAX, number)
        term.open_framework(stream_id, stream, request.call)
        address = request.client_address or context.peer().partition(":")[2]
        try:
            await term.admit(events.FrameworkSubscribing(number, stream_id, request.call, address, correlation_id()))
            first = stream_id
            async for batch in stream.outbox:
                happened, causes = zip(*batch, strict=True)
                yield service.SubscribeResponse(stream_id=first, events=happened, causes=causes)
                first = ""
            stream.check()
        except Overflow as error:
            raise LimitExceeded(str(error)) from error
        finally:
            term.close_framework(stream_id)

    async def Call(  # noqa: N802
        self, request: service.CallRequest, _context: Any
    ) -> service.CallResponse:
        """One call."""
        term = self._current_term.get()
        number = term.number()
        await term.admit(events.FrameworkCalled(number, request.stream_id, request.call, correlation_id()))
        return service.CallResponse()

    async def CallStream(  # noqa: N802
        self, request_iterator: AsyncIterator[service.CallStreamRequest], _context: Any
    ) -> AsyncIterator[service.CallStreamResponse]:
        """Many calls, in order; the results of one request come in one response, or in a few when it is large."""
        async for request in request_iterator:
            for start in range(0, len(request.calls), CALLS_PER_TURN_MAX):
                yield await self._calls(request.calls[start : start + CALLS_PER_TURN_MAX])

    async def _calls(self, calls: Sequence[service.NumberedCall]) -> service.CallStreamResponse:
        term = self._current_term.get()
        called = [
            events.FrameworkCalled(
                term.number(), each.call.stream_id, each.call.call, accepted_cause(each.correlation_id)
            )
            for each in calls
        ]
        for event in called:
            trace.hop("call received", event.call)
        refused = await term.admit_all(called)
        response = service.CallStreamResponse()
        for numbered, event in zip(calls, called, strict=True):
            result = response.results.add(number=numbered.number)
            error = refused.get(event.request)
            if error is not None:
                _fill(result, error)
        return response


def _fill(result: service.CallResult, error: MezzoError) -> None:
    result.code = grpc_status(error).value[0]
    result.message = shorten(str(error))
