"""Servers that take a connection and say nothing: whoever waits for a first answer waits for a limited time."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import grpc
import pytest

from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo import errors, http, rpc
from mezzo.cli import api, members
from mezzo.operator import RegistryOperator
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo.operator.v1 import operator_pb2_grpc as operator_grpc
from mezzo.scheduler import GrpcTransport
from mezzo.scheduler.v1 import scheduler_pb2 as wire
from mezzo.scheduler.v1 import scheduler_pb2_grpc as wire_grpc

pytestmark = pytest.mark.timeout(30)

Serve = Callable[..., Awaitable[str]]


async def hang() -> None:
    await asyncio.Event().wait()


class SilentScheduler(wire_grpc.SchedulerServicer):
    """Takes calls, and answers none."""

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        await hang()
        return wire.CallResponse()

    async def Subscribe(self, request: wire.SubscribeRequest, context: Any) -> AsyncIterator[wire.SubscribeResponse]:
        await hang()
        yield wire.SubscribeResponse()

    async def CallStream(
        self, requests: AsyncIterator[wire.CallStreamRequest], context: Any
    ) -> AsyncIterator[wire.CallStreamResponse]:
        await hang()
        yield wire.CallStreamResponse()


class SilentOperator(operator_grpc.OperatorServicer):
    """Takes calls, and answers none."""

    async def Call(self, request: operator.CallRequest, context: Any) -> operator.CallResponse:
        await hang()
        return operator.CallResponse()

    async def Watch(self, request: operator.WatchRequest, context: Any) -> AsyncIterator[operator.WatchResponse]:
        await hang()
        yield operator.WatchResponse()

    async def KillTask(self, request: operator.KillTaskRequest, context: Any) -> operator.KillTaskResponse:
        await hang()
        return operator.KillTaskResponse()

    async def Explain(self, request: operator.ExplainRequest, context: Any) -> operator.ExplainResponse:
        await hang()
        return operator.ExplainResponse()

    async def Members(self, request: operator.MembersRequest, context: Any) -> operator.MembersResponse:
        await hang()
        return operator.MembersResponse()


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CALL_SECONDS_MAX", 0.05)
    monkeypatch.setattr(api, "TIMEOUT_SECONDS", 0.05)


@pytest.mark.parametrize("call_type", [v1.Call.REVIVE, v1.Call.RECONCILE_OPERATIONS])
async def test_a_schedulers_call_over_grpc(serve_grpc: Serve, call_type: v1.Call.Type.ValueType) -> None:
    address = await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, SilentScheduler())
    transport = GrpcTransport(address)
    with pytest.raises(errors.Unavailable):
        await transport.call(v1.Call(type=call_type))
    await transport.close()


async def test_an_operators_calls_over_grpc(serve_grpc: Serve) -> None:
    address = await serve_grpc(operator_grpc.add_OperatorServicer_to_server, SilentOperator())
    async with RegistryOperator(address) as client:
        for call in (
            client.call(master.Call(type=master.Call.GET_HEALTH)),
            client.kill_task("F", "T"),
            client.explain(),
            client.members(),
        ):
            with pytest.raises(errors.Unavailable):
                await call


async def test_a_port_of_grpc_is_told_as_one_that_does_not_speak_http(serve_grpc: Serve) -> None:
    address = await serve_grpc(wire_grpc.add_SchedulerServicer_to_server, SilentScheduler())
    async with aiohttp.ClientSession() as session:
        endpoint = http.Endpoint(session, [f"http://{address}/api/v1/scheduler"])
        with pytest.raises(errors.Unavailable, match=r"^http://\S+ does not speak HTTP; it may be a port of gRPC$"):
            await endpoint.call(v1.Call(), v1.Event)


async def test_the_head_of_a_stream_that_the_command_follows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TimeoutError):
                await anext(api.Api(session, [f"http://{host}:{port}"]).stream("/mezzo/v1/tasks/t/logs"))


def test_a_server_that_hangs_is_told_in_our_words() -> None:
    failure = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "Stream removed (ping timeout)"
    )
    assert str(rpc.error_of(failure)) == "the server accepts connections, but does not answer: it hangs"


async def test_members_that_a_hanging_registry_does_not_tell_are_not_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_api: api.Api) -> dict[str, Any]:
        raise TimeoutError

    monkeypatch.setattr(members, "asked", hangs)
    async with aiohttp.ClientSession() as session:
        assert await members.asked_if_known(api.Api(session, ["http://127.0.0.1:1"])) == []
    assert "no registry answers in time: who stands by is not known" in capsys.readouterr().err
