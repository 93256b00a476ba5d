"""mezzo.operator.v1.Operator: observers of the state, and the calls of operators."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from mesos.v1.master import master_pb2 as master
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.errors import InvalidRequest, Unavailable
from mezzo.operator.v1 import operator_pb2 as service
from mezzo.operator.v1 import operator_pb2_grpc
from mezzo_chassis.log import correlation_id, get_logger
from mezzo_chassis.log_level import LogLevel
from mezzo_chassis.pace import Pace
from mezzo_registry.adapters.candidates import Candidates
from mezzo_registry.core import events
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.streams import Overflow, Watcher
from mezzo_registry.shell.term import Term

NANOSECONDS = 1e9
CHANGES_AT_ONCE = 20
CHANGES_PER_SECOND = 20
CHANGES_PAUSE_SECONDS = 0.02
"""An observer is told each change in a message of its own while these are few. When there are more at once, and more a
second, they are collected for so long: they cost the registry and each gateway a third as much."""
METRICS_PER_SLICE = 1000
"""Metrics written into an answer without a break: some milliseconds."""

log = get_logger(__name__)


class Operators(operator_pb2_grpc.OperatorServicer):
    """Operators and gateways."""

    def __init__(self, current_term: CurrentTerm, log_level: LogLevel, candidates: Candidates, version: str) -> None:
        self._current_term = current_term
        self._log_level = log_level
        self._candidates = candidates
        self._version = version
        self._gateways: dict[int, service.Member] = {}
        """By the number of the observer."""

    async def Watch(  # noqa: N802
        self, request: service.WatchRequest, context: Any
    ) -> AsyncIterator[service.WatchResponse]:
        """The state, and its changes, for one observer. One that does not keep up gets a new snapshot."""
        term = self._current_term.get()
        observer, watcher = term.number(), Watcher()
        pace = Pace(burst=CHANGES_AT_ONCE, per_second=CHANGES_PER_SECOND, pause_seconds=CHANGES_PAUSE_SECONDS)
        term.open_watcher(observer, watcher)
        if request.http_address:
            self._gateways[observer] = _gateway(request, context.peer())
        try:
            while True:
                await term.handled(events.ObserverJoined(observer))
                try:
                    async for batch in watcher.outbox:
                        yield service.WatchResponse(changes=batch)
                        if watcher.wants_more and watcher.idle:
                            watcher.wants_more = False
                            term.post(events.ObserverReady(observer))
                        elif pause := pace.pause():
                            await asyncio.sleep(pause)
                except Overflow as error:
                    log.warning("observer too slow; sending it a new snapshot", peer=context.peer(), error=str(error))
                else:
                    watcher.check()
                    return
        finally:
            self._gateways.pop(observer, None)
            term.close_watcher(observer)

    async def Call(  # noqa: N802
        self, request: service.CallRequest, _context: Any
    ) -> service.CallResponse:
        """One call of Mesos' operator API."""
        term = self._current_term.get()
        if request.call.type == master.Call.GET_LOGGING_LEVEL:
            return service.CallResponse(response=self._logging_level())
        if request.call.type == master.Call.SET_LOGGING_LEVEL:
            self._set_logging_level(request.call, term)
            return service.CallResponse()
        number = term.number()
        response = await term.request(events.OperatorCalled(number, request.call, correlation_id()))
        if response is None:
            return service.CallResponse()
        if response.type == master.Response.GET_METRICS:
            response = await _all_metrics(term.measure(in_full=True))
        return service.CallResponse(response=response)

    def _logging_level(self) -> master.Response:
        level = master.Response.GetLoggingLevel(level=self._log_level.level)
        return master.Response(type=master.Response.GET_LOGGING_LEVEL, get_logging_level=level)

    def _set_logging_level(self, call: master.Call, term: Term) -> None:
        if not call.HasField("set_logging_level"):
            raise InvalidRequest("set_logging_level", "is required")
        level, seconds = call.set_logging_level.level, call.set_logging_level.duration.nanoseconds / NANOSECONDS
        self._log_level.raise_to(level, seconds)
        term.raise_allocators_log_level(level, seconds)

    async def KillTask(  # noqa: N802
        self, request: service.KillTaskRequest, _context: Any
    ) -> service.KillTaskResponse:
        """Kill one task of any framework."""
        term = self._current_term.get()
        number = term.number()
        framework_id, task_id = request.framework_id.value, request.task_id.value
        policy = request.kill_policy if request.HasField("kill_policy") else None
        await term.request(events.OperatorKilledTask(number, framework_id, task_id, correlation_id(), policy))
        return service.KillTaskResponse()

    async def Explain(  # noqa: N802
        self, request: service.ExplainRequest, _context: Any
    ) -> service.ExplainResponse:
        """Why frameworks are offered what they are, as the leading allocator says."""
        question = allocator.ExplainRequest(
            framework_id=request.framework_id, role=request.role, agent_id=request.agent_id
        )
        answer = await self._current_term.get().explain(question)
        return service.ExplainResponse(explanations=answer.explanations)

    async def Members(  # noqa: N802
        self, _request: service.MembersRequest, _context: Any
    ) -> service.MembersResponse:
        """The registries and allocators that stand for election, and the gateways that watch."""
        term = self._current_term.get()
        response = service.MembersResponse()
        try:
            response.members.extend(await self._candidates.list())
        except Unavailable as error:
            response.incomplete = str(error)
        for member in response.members:
            if member.standing == service.STANDING_LEADING:
                self._complete(member, term)
        response.members.extend(self._gateways.values())
        return response

    def _complete(self, leader: service.Member, term: Term) -> None:
        """Add what this registry knows of itself, and of the allocator that it has a session with."""
        if leader.service == service.SERVICE_REGISTRY:
            leader.version, leader.since = self._version, term.core.identity.elected_at
        elif not term.has_allocator:
            leader.standing = service.STANDING_UNREACHABLE


def _gateway(request: service.WatchRequest, peer: str) -> service.Member:
    """The member that an observer is."""
    return service.Member(
        service=service.SERVICE_GATEWAY,
        address=request.http_address,
        standing=service.STANDING_CONNECTED,
        since=time.time(),
        version=request.version,
        peer=peer.partition(":")[2],
    )


async def _all_metrics(numbers: dict[str, float]) -> master.Response:
    """What the core measures, and what the loop around it does; made in slices, since there may be thousands."""
    response = master.Response(type=master.Response.GET_METRICS)
    response.get_metrics.SetInParent()
    for position, (name, value) in enumerate(numbers.items(), 1):
        response.get_metrics.metrics.add(name=name, value=value)
        if position % METRICS_PER_SLICE == 0:
            await asyncio.sleep(0)
    return response
