"""What health checks are told of a service that stands for election."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mezzo_chassis.leadership import Epoch, Health, Leadership, Session, StandaloneCandidate
from mezzo_chassis.leadership.latest_value import LatestValue
from mezzo_chassis.rpc import Server, open_channel, start_server

NAME = "mezzo.operator.v1.Operator"
PATIENCE_SECONDS = 20
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Candidate(StandaloneCandidate):
    """One that stands where a test puts it."""

    def put(self, leadership: Leadership) -> None:
        self._latest: LatestValue[Leadership]
        self._latest.set(leadership)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = await start_server("127.0.0.1", 0, [], [NAME], serving=False)
    yield running
    await running.stop(0)


async def test_it_serves_while_it_leads_or_stands_by_and_at_no_other_time(server: Server) -> None:
    candidate, epoch = Candidate(), Epoch("/mezzo/json.info_0000000000", 0)
    following = asyncio.create_task(Health(candidate, server).follow())
    async with asyncio.timeout(PATIENCE_SECONDS), open_channel(f"127.0.0.1:{server.port}") as channel:
        for service in ("", NAME):
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=service))
            heard = aiter(watch)
            assert (await anext(heard)).status == NOT_SERVING
            for leadership, status in (
                (Leadership(Session.CONNECTED, None, standing=True), SERVING),
                (Leadership(Session.SUSPENDED, None, standing=True), NOT_SERVING),
                (Leadership(Session.CONNECTED, epoch, standing=True), SERVING),
                (Leadership(Session.LOST, None), NOT_SERVING),
                (Leadership(Session.NONE, epoch), SERVING),
                (Leadership(Session.CONNECTED, None), NOT_SERVING),  # it may not make its node
            ):
                candidate.put(leadership)
                assert (await anext(heard)).status == status, leadership
            watch.cancel()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_leader_that_is_hindered_does_not_serve_and_one_that_stands_by_does(server: Server) -> None:
    candidate, epoch = Candidate(), Epoch("/mezzo/json.info_0000000000", 0)
    health = Health(candidate, server)
    async with asyncio.timeout(PATIENCE_SECONDS), open_channel(f"127.0.0.1:{server.port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        asked = health_pb2.HealthCheckRequest(service=NAME)
        candidate.put(Leadership(Session.CONNECTED, epoch, standing=True))
        for hindered, status in ((True, NOT_SERVING), (False, SERVING), (True, NOT_SERVING)):
            await health.hinder(hindered)
            assert (await check(asked)).status == status
        following = asyncio.create_task(health.follow())
        watch = health_pb2_grpc.HealthStub(channel).Watch(asked)
        heard = aiter(watch)
        assert (await anext(heard)).status == NOT_SERVING
        candidate.put(Leadership(Session.CONNECTED, None, standing=True))
        assert (await anext(heard)).status == SERVING
        watch.cancel()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
