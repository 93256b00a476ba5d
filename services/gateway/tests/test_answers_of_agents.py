"""What an agent answers that is none of ours, or has been taken over: it costs the gateway little, and is an error."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from mesos.v1.agent.agent_pb2 import Call
from mezzo.errors import MezzoError, NotFound, Unavailable
from mezzo_gateway.adapters import agents as adapter
from mezzo_gateway.adapters.agents import LOG_END_HEADER, LOG_POSITION_HEADER, Agents

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def agents() -> AsyncIterator[Agents]:
    async with Agents(timeout_seconds=10) as agents:
        yield agents


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Starts an agent that answers everything in one way; its address."""
    runners = []

    async def serve(handler: Handler) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


def endless(status: int = 200, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status, headers={name.replace("_", "-"): headers[name] for name in headers})
        await answer.prepare(request)
        while True:
            await answer.write(bytes(1 << 16))

    return handle


def once(status: int = 200, body: bytes = b"", **headers: str) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        told = {name.replace("_", "-"): headers[name] for name in headers}
        return web.Response(status=status, body=body, headers=told)

    return handle


async def broken(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100", LOG_POSITION_HEADER: "0", LOG_END_HEADER: "100"})
    await answer.prepare(request)
    await answer.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return answer


@pytest.mark.parametrize(
    ("handler", "error", "complaint"),
    [
        (endless(), Unavailable, "answered with more than 1000000 bytes"),
        (endless(400), Unavailable, "answered with more than 1000000 bytes"),
        (once(body=b"\xff"), Unavailable, "answered with something else than protobuf"),
        (once(404, b"x" * 100_000), NotFound, "^x{1000}$"),
        (broken, Unavailable, "closed the connection"),
    ],
    ids=["without an end", "a refusal without an end", "not protobuf", "a long refusal", "broken off"],
)
async def test_a_call_is_answered_within_limits(
    agents: Agents,
    serve: Callable[[Handler], Awaitable[str]],
    monkeypatch: pytest.MonkeyPatch,
    handler: Handler,
    error: type[MezzoError],
    complaint: str,
) -> None:
    monkeypatch.setattr(adapter, "ANSWER_BYTES_MAX", 1_000_000)
    with pytest.raises(error, match=complaint):
        await agents.call(await serve(handler), Call(type=Call.LIST_FILES))


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (endless(Mezzo_Log_Position="0", Mezzo_Log_End="5"), "answered with more than 10 bytes"),
        (once(body=b"x" * 11, Mezzo_Log_Position="0", Mezzo_Log_End="5"), "answered with more than 10 bytes"),
        (once(Mezzo_Log_Position="0"), "answered 200 for a part"),
        (once(Mezzo_Log_Position="0", Mezzo_Log_End="-1"), "answered 200 for a part"),
        (once(Mezzo_Log_Position="9" * 5000, Mezzo_Log_End="1"), "answered 200 for a part"),
        (broken, "closed the connection"),
    ],
    ids=["without an end", "more than asked", "no end told", "a negative end", "a long number", "broken off"],
)
async def test_a_part_of_a_log_is_no_more_than_was_asked_for(
    agents: Agents, serve: Callable[[Handler], Awaitable[str]], handler: Handler, complaint: str
) -> None:
    with pytest.raises(Unavailable, match=complaint):
        await agents.read_log(await serve(handler), "/stdout", 0, 10)
