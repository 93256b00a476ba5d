"""Election and detection on a real ZooKeeper."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kazoo.client import KazooClient

from mezzo_chassis.leadership import Contender, Detector, LeaderInfo, Leadership, Session, ZooKeeperUrl
from mezzo_chassis.leadership.payload import address_json
from mezzo_chassis.testing import ZooKeeperServer

TIMEOUT_SECONDS = 2.0
SOON_SECONDS = 30


@asynccontextmanager
async def contender(server: ZooKeeperServer, address: str) -> AsyncIterator[Contender]:
    url = ZooKeeperUrl.parse(server.url())
    candidate = Contender(url, address_json(address), session_timeout_seconds=TIMEOUT_SECONDS)
    await candidate.start()
    try:
        yield candidate
    finally:
        await candidate.close()


@asynccontextmanager
async def detector(server: ZooKeeperServer) -> AsyncIterator[Detector]:
    watching = Detector(ZooKeeperUrl.parse(server.url()), session_timeout_seconds=TIMEOUT_SECONDS)
    await watching.start()
    try:
        yield watching
    finally:
        await watching.close()


async def until(candidate: Contender, condition: Callable[[Leadership], bool]) -> Leadership:
    async with asyncio.timeout(SOON_SECONDS):
        async for leadership in candidate.changes():
            if condition(leadership):
                return leadership
    raise AssertionError("the changes ended")


async def until_leader(watching: Detector, address: str | None) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        async for leader in watching.changes():
            if (leader.grpc_address if leader else None) == address:
                return


async def test_the_first_leads_and_the_next_takes_over_when_it_closes(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1") as first:
        await until(first, lambda state: state.leading)
        async with contender(zookeeper, "b:2") as second, detector(zookeeper) as watching:
            await until(second, lambda state: state.session is Session.CONNECTED)
            assert not second.leadership.leading
            await until_leader(watching, "a:1")
            await first.close()
            after = await until(second, lambda state: state.leading)
            assert first.leadership == Leadership(Session.NONE, None)
            assert after.epoch is not None
            await until_leader(watching, "b:2")


async def test_a_leader_goes_on_while_zookeeper_is_away_for_less_than_its_session(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1") as candidate:
        leading = await until(candidate, lambda state: state.leading)
        zookeeper.pause()
        suspended = await until(candidate, lambda state: state.session is Session.SUSPENDED)
        assert suspended.leading
        assert not suspended.may_write
        zookeeper.resume()
        resumed = await until(candidate, lambda state: state.session is not Session.SUSPENDED)
        if resumed.session is Session.CONNECTED:
            assert resumed.epoch == leading.epoch


async def test_a_leader_whose_session_ended_steps_down_and_leads_again_under_another_node(
    zookeeper: ZooKeeperServer,
) -> None:
    async with contender(zookeeper, "a:1") as candidate:
        before = (await until(candidate, lambda state: state.leading)).epoch
        await asyncio.to_thread(expire, zookeeper, candidate)
        await until(candidate, lambda state: not state.leading)
        after = (await until(candidate, lambda state: state.leading)).epoch
        assert before is not None
        assert after is not None
        assert after.number > before.number


async def test_a_node_of_an_ended_session_is_not_taken_for_ones_own(zookeeper: ZooKeeperServer) -> None:
    other = KazooClient(hosts=zookeeper.hosts)
    await asyncio.to_thread(other.start)
    try:
        # Byte for byte what the contender would write, in a session that is not its own.
        make = ("/mezzo/json.info_", address_json("a:1"))
        await asyncio.to_thread(lambda: other.create(*make, ephemeral=True, sequence=True, makepath=True))
        async with contender(zookeeper, "a:1") as candidate:
            await until(candidate, lambda state: state.session is Session.CONNECTED)
            await until_node_count(other, 2)
            assert not candidate.leadership.leading
            await asyncio.to_thread(other.delete, "/mezzo/json.info_0000000000")
            await until(candidate, lambda state: state.leading)
    finally:
        await asyncio.to_thread(other.stop)
        await asyncio.to_thread(other.close)


async def test_a_contender_whose_node_was_removed_stands_again(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1") as candidate:
        before = (await until(candidate, lambda state: state.leading)).epoch
        assert before is not None
        await asyncio.to_thread(candidate.client.delete, before.path)
        after = await until(candidate, lambda state: state.leading and state.epoch != before)
        assert after.epoch is not None
        assert after.epoch.number > before.number


async def test_a_detector_follows_elections_from_before_the_first_to_after_the_last(zookeeper: ZooKeeperServer) -> None:
    async with detector(zookeeper) as watching:
        await until_leader(watching, None)
        async with contender(zookeeper, "a:1"):
            await until_leader(watching, "a:1")
        await until_leader(watching, None)


async def test_both_find_zookeeper_when_it_starts_after_them(zookeeper: ZooKeeperServer) -> None:
    zookeeper.kill()
    async with contender(zookeeper, "a:1") as candidate, detector(zookeeper) as watching:
        assert candidate.leadership == Leadership(Session.NONE, None)
        await asyncio.to_thread(zookeeper.start)
        await until(candidate, lambda state: state.leading)
        await until_leader(watching, "a:1")


def test_a_leaders_node_is_the_json_that_clients_of_mesos_read() -> None:
    from mesos.v1 import mesos_pb2 as mesos
    from mezzo_chassis.leadership import master_info_json

    info = mesos.MasterInfo(id="m", ip=16777343, port=5050, hostname="host", pid="master@127.0.0.1:5050")
    info.address.hostname, info.address.ip, info.address.port = "host", "127.0.0.1", 5050
    payload = master_info_json(info, "127.0.0.1:5060")
    read = json.loads(payload)
    assert read["pid"] == "master@127.0.0.1:5050"
    assert read["address"] == {"hostname": "host", "ip": "127.0.0.1", "port": 5050}
    leader = LeaderInfo.parse(payload)
    assert leader is not None
    assert (leader.grpc_address, leader.http_address) == ("127.0.0.1:5060", "host:5050")


def expire(server: ZooKeeperServer, candidate: Contender) -> None:
    """End the contender's session from outside: ZooKeeper ends a session that another connection takes and closes."""
    thief = KazooClient(hosts=server.hosts, client_id=candidate.client.client_id)
    thief.start()
    thief.stop()
    thief.close()


async def until_node_count(client: KazooClient, count: int) -> None:
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            watch = lambda _: loop.call_soon_threadsafe(changed.set)  # noqa: E731
            if len(await asyncio.to_thread(client.get_children, "/mezzo", watch)) == count:
                return
            await changed.wait()
            changed.clear()
