"""mezzo.agent.v1.AgentSession: the sessions of agents."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.agent.v1 import agent_session_pb2_grpc
from mezzo.errors import InvalidRequest, LimitExceeded
from mezzo_chassis import trace
from mezzo_chassis.log import accepted_cause, get_logger
from mezzo_registry.core import events
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.streams import AGENT_MESSAGES_MAX, Overflow, Stream
from mezzo_registry.shell.term import Term

log = get_logger(__name__)

AgentStream = Stream[agent_session.RegistryMessage]


class AgentSessions(agent_session_pb2_grpc.AgentSessionServicer):
    """Each session: a reader that turns messages into events, and a writer of what the term puts on the stream."""

    def __init__(self, current_term: CurrentTerm) -> None:
        self._current_term = current_term

    async def Connect(  # noqa: N802
        self, request_iterator: AsyncIterator[agent_session.ConnectRequest], _context: Any
    ) -> AsyncIterator[agent_session.ConnectResponse]:
        """One session of one agent, from Register to the end of either side's stream."""
        term = self._current_term.get()
        session = term.number()
        stream = AgentStream("agent", AGENT_MESSAGES_MAX, session)
        reason = ["the stream was cancelled"]
        reader = asyncio.create_task(_read(term, session, stream, request_iterator, reason))
        try:
            async for batch in stream.outbox:
                yield agent_session.ConnectResponse(messages=batch)
            stream.check()
        except Overflow as error:
            reason[0] = str(error)
            raise LimitExceeded(str(error)) from error
        finally:
            reader.cancel()
            # Before anything is awaited: an agent that dies ends its stream and cancels it, and the second may come
            # upon us here.
            term.close_agent(session, reason[0])
            await asyncio.gather(reader, return_exceptions=True)


async def _read(
    term: Term,
    session: int,
    stream: AgentStream,
    requests: AsyncIterator[agent_session.ConnectRequest],
    reason: list[str],
) -> None:
    """Turn what the agent says into events, until its stream ends; then end ours."""
    registered = False
    try:
        async for request in requests:
            for message in request.messages:
                trace.hop("received", message)
                which = message.WhichOneof("message")
                if not registered:
                    if which != "register":
                        raise InvalidRequest("messages[0]", f"a session begins with Register, not {which}")
                    registered = True
                    term.open_agent(session, stream, message.register)
                elif which == "register":
                    raise InvalidRequest("register", "must not be repeated: another session registers again")
                event = _EVENTS[which](session, message) if which else events.AgentHeartbeatReceived(session)
                term.post(event, accepted_cause(message.cause))
        reason[0] = "the agent ended its stream"
        stream.close()
    except InvalidRequest as error:
        reason[0] = str(error)
        stream.close(error)
    except Exception as error:
        # A mistake of ours must not leave a session that nobody reads: the agent comes back with another one.
        reason[0] = repr(error)
        log.exception("agent session failed")
        stream.close(error)


def _register(session: int, message: agent_session.AgentMessage) -> events.Event:
    return events.AgentRegistering(session, message.register)


def _task_update(session: int, message: agent_session.AgentMessage) -> events.Event:
    return events.TaskUpdated(session, message.task_update)


def _executor_exited(session: int, message: agent_session.AgentMessage) -> events.Event:
    return events.ExecutorExited(session, message.executor_exited)


def _executor_message(session: int, message: agent_session.AgentMessage) -> events.Event:
    return events.ExecutorMessageReceived(session, message.executor_message)


def _heartbeat(session: int, _message: agent_session.AgentMessage) -> events.Event:
    return events.AgentHeartbeatReceived(session)


def _leave(session: int, message: agent_session.AgentMessage) -> events.Event:
    return events.AgentLeaving(session, message.leave.reason)


_EVENTS: dict[str, Callable[[int, agent_session.AgentMessage], events.Event]] = {
    "register": _register,
    "task_update": _task_update,
    "executor_exited": _executor_exited,
    "executor_message": _executor_message,
    "heartbeat": _heartbeat,
    "leave": _leave,
}
