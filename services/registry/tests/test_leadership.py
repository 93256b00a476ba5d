"""Several registries on a real ZooKeeper: who leads, who takes over, what goes on while ZooKeeper does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from kazoo.client import KazooClient

from mesos.v1.master import master_pb2 as master
from mezzo.errors import NotLeading
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo.operator.v1 import operator_pb2_grpc
from mezzo_chassis.leadership import ZooKeeperUrl
from mezzo_chassis.lifecycle import Lifecycle
from mezzo_chassis.rpc import error_of, open_channel
from mezzo_chassis.testing import ZooKeeperServer, free_port, zookeeper_missing
from mezzo_registry.app import serve
from mezzo_registry.config import Config
from mezzo_registry.testing import PATIENCE_SECONDS, PlayedAgent, PlayedFramework

pytestmark = pytest.mark.skipif(zookeeper_missing() is not None, reason=zookeeper_missing() or "")

SESSION_SECONDS = 2.0


@asynccontextmanager
async def registry(zookeeper: ZooKeeperServer) -> AsyncIterator[tuple[str, Lifecycle]]:
    """A registry that stands for election. Gives its address."""
    config = Config(
        ip="127.0.0.1",
        grpc_port=free_port(),
        metrics_port=free_port(),
        zk=ZooKeeperUrl.parse(zookeeper.url()),
        zk_session_timeout=SESSION_SECONDS,
    )
    life = Lifecycle()
    running = asyncio.create_task(serve(config, life))
    try:
        yield f"127.0.0.1:{config.grpc_port}", life
    finally:
        life.stop()
        await running
        await life.close()


async def first_change(channel: grpc.aio.Channel) -> tuple[str, str]:
    """The id of the term that runs at the other end, or none; and the leader that is named instead."""
    changes = operator_pb2_grpc.OperatorStub(channel).Watch(operator.WatchRequest(), wait_for_ready=True)
    try:
        async for response in changes:
            return response.changes[0].snapshot_begin.master_info.id, ""
    except grpc.aio.AioRpcError as error:
        refused = error_of(error)
        if not isinstance(refused, NotLeading):
            raise
        return "", refused.leader or ""
    finally:
        changes.cancel()
    raise AssertionError("the stream ended without a word")


async def term_at(channel: grpc.aio.Channel, other_than: str = "") -> str:
    """Ask until a term runs at the other end, another than one. Returns its id."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            term, _ = await first_change(channel)
            if term and term != other_than:
                return term


async def test_standby_names_the_leader(zookeeper: ZooKeeperServer) -> None:
    async with registry(zookeeper) as (first, _), open_channel(first) as leading:
        await term_at(leading)
        async with registry(zookeeper) as (second, _), open_channel(second) as standing_by:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await first_change(standing_by) != ("", first):
                    pass


async def test_standby_takes_over_and_knows_agents_and_weights(zookeeper: ZooKeeperServer) -> None:
    async with registry(zookeeper) as (first, life), open_channel(first) as channel:
        await term_at(channel)
        async with registry(zookeeper) as (second, _), open_channel(second) as other:
            agent = PlayedAgent(channel)
            await agent.register()
            agent_id = (await agent.receive("registered")).agent_id.value
            change = operator.CallRequest()
            change.call.type = master.Call.UPDATE_WEIGHTS
            change.call.update_weights.weight_infos.add(role="web", weight=2.0)
            await operator_pb2_grpc.OperatorStub(channel).Call(change, timeout=PATIENCE_SECONDS)
            life.stop()
            assert await agent.ended() is grpc.StatusCode.FAILED_PRECONDITION
            await term_at(other)
            read = operator.CallRequest()
            read.call.type = master.Call.GET_WEIGHTS
            answer = await operator_pb2_grpc.OperatorStub(other).Call(read, timeout=PATIENCE_SECONDS)
            assert [(one.role, one.weight) for one in answer.response.get_weights.weight_infos] == [("web", 2.0)]
            again = PlayedAgent(other)
            await again.register(agent_id=agent_id)
            assert (await again.receive("registered")).agent_id.value == agent_id
            await again.end()


async def test_work_goes_on_while_zookeeper_does_not_answer_and_admissions_wait(zookeeper: ZooKeeperServer) -> None:
    async with registry(zookeeper) as (address, _), open_channel(address) as channel:
        await term_at(channel)
        zookeeper.pause()
        agent = PlayedAgent(channel)
        await agent.register()
        framework = PlayedFramework(channel)
        await framework.subscribed()
        zookeeper.resume()
        assert (await agent.receive("registered")).agent_id.value
        framework.cancel()
        await agent.end()


async def test_registry_whose_node_is_gone_steps_down_and_leads_again_without_ending(
    zookeeper: ZooKeeperServer,
) -> None:
    async with registry(zookeeper) as (address, _), open_channel(address) as channel:
        before = await term_at(channel)
        framework = PlayedFramework(channel)
        await framework.subscribed()
        await asyncio.to_thread(remove_leader, zookeeper)
        assert await framework.ended() is grpc.StatusCode.FAILED_PRECONDITION
        after = await term_at(channel, other_than=before)
        assert after != before
        assert await asyncio.to_thread(named_in_node, zookeeper) == after


def named_in_node(zookeeper: ZooKeeperServer) -> str:
    """The term's id as the leader's node has it."""
    client = KazooClient(hosts=zookeeper.hosts)
    client.start()
    (node,) = [child for child in client.get_children("/mezzo") if child.startswith("json.info_")]
    content, _ = client.get(f"/mezzo/{node}")
    client.stop()
    client.close()
    named: str = json.loads(content)["id"]
    return named


def remove_leader(zookeeper: ZooKeeperServer) -> None:
    """Remove the leader's node, as the end of its session would."""
    client = KazooClient(hosts=zookeeper.hosts)
    client.start()
    (node,) = [child for child in client.get_children("/mezzo") if child.startswith("json.info_")]
    client.delete(f"/mezzo/{node}")
    client.stop()
    client.close()
