"""Answers of servers that do not end, or are larger than they say."""

import gzip
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from mesos.v1.master import master_pb2 as master
from mezzo import answers, errors
from mezzo.operator import MasterOperator

pytestmark = pytest.mark.timeout(30)

Serve = Callable[..., Awaitable[str]]


def endless(status: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * (1 << 16))

    return handle


async def bomb(_: web.Request) -> web.StreamResponse:
    return web.Response(body=gzip.compress(bytes(2_000_000)), headers={"Content-Encoding": "gzip"})


async def test_an_answer_without_an_end_is_given_up_at_a_size(serve_http: Serve) -> None:
    url = await serve_http(endless(200))
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v1") as response:
        with pytest.raises(errors.LimitExceeded, match="answers with more than 1000000 bytes"):
            await answers.read_answer(response, 1_000_000)


async def test_an_answer_counts_as_it_is_unpacked(serve_http: Serve) -> None:
    url = await serve_http(bomb)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v1") as response:
        with pytest.raises(errors.LimitExceeded, match="answers with more than 1000000 bytes"):
            await answers.read_answer(response, 1_000_000)


async def test_of_a_refusal_without_an_end_the_beginning_is_told(serve_http: Serve) -> None:
    async with MasterOperator(await serve_http(endless(400))) as operator:
        with pytest.raises(errors.InvalidRequest) as raised:
            await operator.get(master.Call.GET_HEALTH)
    assert str(raised.value) == "x" * answers.REFUSAL_BYTES_MAX
