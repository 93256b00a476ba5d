"""How a session of an agent ends: whatever comes together with what, the term hears of it, once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.errors import InvalidRequest
from mezzo_registry.core import events
from mezzo_registry.rpc.agent_sessions import AgentSessions
from mezzo_registry.shell.current_term import CurrentTerm

SESSION = 7


class HeardTerm:
    """The part of a term that sessions know, which writes down what it is told."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.closed: list[str] = []
        self.registered: list[events.AgentRegistering] = []
        self.fails: Exception | None = None

    def get(self) -> "HeardTerm":
        return self

    def number(self) -> int:
        return SESSION

    def open_agent(self, session: int, *_stream_and_register: object) -> None:
        self.open.add(session)

    def close_agent(self, session: int, reason: str) -> None:
        self.open.remove(session)
        self.closed.append(reason)

    def post(self, event: events.Event, _cause: str) -> None:
        if isinstance(event, events.AgentRegistering):
            self.registered.append(event)
        if self.fails is not None:
            raise self.fails


class Agent:
    """An agent that registers, and says nothing more until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def requests(self) -> AsyncIterator[agent_session.ConnectRequest]:
        message = agent_session.AgentMessage(register=agent_session.Register())
        yield agent_session.ConnectRequest(messages=[message])
        await self.left.wait()


class Forger(Agent):
    """One that says in the same session that it is another agent."""

    async def requests(self) -> AsyncIterator[agent_session.ConnectRequest]:
        for name in ("its-own", "another"):
            message = agent_session.AgentMessage(register=agent_session.Register())
            message.register.agent_info.id.value = name
            yield agent_session.ConnectRequest(messages=[message])
        await self.left.wait()


async def serve(term: HeardTerm, agent: Agent) -> None:
    async for _ in AgentSessions(cast("CurrentTerm", term)).Connect(agent.requests(), None):
        pass


async def loop_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_session_is_of_one_agent() -> None:
    term = HeardTerm()
    with pytest.raises(InvalidRequest, match="must not be repeated"):
        await serve(term, Forger())
    assert [event.register.agent_info.id.value for event in term.registered] == ["its-own"]
    assert not term.open


@pytest.mark.parametrize("turns", range(12))
async def test_an_agent_that_dies_is_disconnected_whenever_its_stream_is_cancelled(turns: int) -> None:
    term, agent = HeardTerm(), Agent()
    session = asyncio.create_task(serve(term, agent))
    await loop_turns(10)
    assert term.open == {SESSION}

    agent.left.set()
    await loop_turns(turns)
    session.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await session

    assert not term.open
    assert len(term.closed) == 1


async def test_a_session_that_fails_is_ended() -> None:
    term, agent = HeardTerm(), Agent()
    term.fails = RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        await asyncio.wait_for(serve(term, agent), timeout=60)

    assert term.closed == ["RuntimeError('a mistake')"]
