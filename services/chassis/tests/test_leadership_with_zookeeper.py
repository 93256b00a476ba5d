"""Election and detection on a real ZooKeeper."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from mezzo_chassis.leadership import Contender, Detector, LeaderInfo, Leadership, Session, ZooKeeperUrl
from mezzo_chassis.leadership.payload import address_json
from mezzo_chassis.leadership.watcher import Watcher
from mezzo_chassis.testing import Wire, ZooKeeperServer

TIMEOUT_SECONDS = 2.0
# Longer than any connection is away in a test that does not want its session to end.
LONG_TIMEOUT_SECONDS = 40.0
# Shorter than any hang in a test that wants a session to survive it.
SHORT_TIMEOUT_SECONDS = 6.0
SOON_SECONDS = 60


@asynccontextmanager
async def contender(
    server: ZooKeeperServer,
    address: str,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    credential: str = "",
    wire: Wire | None = None,
) -> AsyncIterator[Contender]:
    hosts = f"127.0.0.1:{wire.port}" if wire else server.hosts
    url = ZooKeeperUrl.parse(f"zk://{credential}{hosts}/mezzo")
    candidate = Contender(url, address_json(address), session_timeout_seconds=timeout_seconds)
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


async def test_candidates_lead_one_after_the_other_in_the_order_in_which_they_came(zookeeper: ZooKeeperServer) -> None:
    async with (
        contender(zookeeper, "a:1") as first,
        detector(zookeeper) as watching,
    ):
        await until(first, lambda state: state.leading)
        async with contender(zookeeper, "b:2") as second:
            await until_node_count(first, 2)
            async with contender(zookeeper, "c:3") as third:
                await until_node_count(first, 3)
                await first.close()
                await until(second, lambda state: state.leading)
                await until_leader(watching, "b:2")
                assert not third.leadership.leading
                await second.close()
                await until(third, lambda state: state.leading)
                await until_leader(watching, "c:3")


async def test_a_leader_goes_on_while_zookeeper_hangs_for_less_than_its_session(zookeeper: ZooKeeperServer) -> None:
    async with (
        contender(zookeeper, "a:1", timeout_seconds=6) as candidate,
        detector(zookeeper) as watching,
    ):
        leading = await until(candidate, lambda state: state.leading)
        await until_leader(watching, "a:1")
        zookeeper.pause()
        suspended = await until(candidate, lambda state: state.session is Session.SUSPENDED)
        assert suspended.epoch == leading.epoch
        assert not suspended.may_write
        assert watching.leader is not None
        zookeeper.resume()
        assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading


async def test_a_leader_survives_a_broken_connection_under_the_same_epoch(zookeeper: ZooKeeperServer) -> None:
    async with (
        Wire(zookeeper.port) as wire,
        contender(zookeeper, "a:1", timeout_seconds=LONG_TIMEOUT_SECONDS, wire=wire) as candidate,
    ):
        leading = await until(candidate, lambda state: state.leading)
        wire.cut()
        suspended = await until(candidate, lambda state: state.session is Session.SUSPENDED)
        assert suspended == Leadership(Session.SUSPENDED, leading.epoch, standing=True)
        wire.mend()
        assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading


async def test_a_leader_that_is_cut_off_for_too_long_writes_nothing_steps_down_and_stands_behind(
    zookeeper: ZooKeeperServer,
) -> None:
    async with (
        Wire(zookeeper.port) as wire,
        contender(zookeeper, "a:1", wire=wire) as old,
        detector(zookeeper) as watching,
    ):
        before = await until(old, lambda state: state.leading)
        async with contender(zookeeper, "b:2", timeout_seconds=LONG_TIMEOUT_SECONDS) as new:
            wire.cut()
            after = await until(new, lambda state: state.leading)
            await until_leader(watching, "b:2")
            # Nobody has told it, nor can; it does know that it may not write.
            assert old.leadership == Leadership(Session.SUSPENDED, before.epoch, standing=True)
            wire.mend()
            await until(old, lambda state: not state.leading)
            await until_node_count(new, 2)
            assert not old.leadership.leading
            assert new.leadership == after


async def test_a_killed_leader_is_followed_when_its_session_ends(zookeeper: ZooKeeperServer) -> None:
    async with other_process(zookeeper) as leader, detector(zookeeper) as watching:
        await until_says(leader, "connected leading")
        await until_leader(watching, "other:1")
        async with contender(zookeeper, "b:2", timeout_seconds=LONG_TIMEOUT_SECONDS) as candidate:
            await until_node_count(candidate, 2)
            assert not candidate.leadership.leading
            leader.kill()
            await until(candidate, lambda state: state.leading)
            await until_leader(watching, "b:2")


async def test_a_leader_that_slept_past_its_session_wakes_up_and_steps_down(zookeeper: ZooKeeperServer) -> None:
    async with other_process(zookeeper) as leader:
        await until_says(leader, "connected leading")
        async with contender(zookeeper, "b:2", timeout_seconds=LONG_TIMEOUT_SECONDS) as candidate:
            await until_node_count(candidate, 2)
            leader.send_signal(signal.SIGSTOP)
            await until(candidate, lambda state: state.leading)
            leader.send_signal(signal.SIGCONT)
            await until_says(leader, "lost")
            await until_says(leader, "connected")
            await until_node_count(candidate, 2)
            assert candidate.leadership.leading


async def test_a_restarted_zookeeper_keeps_the_leader(zookeeper: ZooKeeperServer) -> None:
    async with (
        contender(zookeeper, "a:1", timeout_seconds=LONG_TIMEOUT_SECONDS) as candidate,
        detector(zookeeper) as watching,
    ):
        leading = await until(candidate, lambda state: state.leading)
        await until_leader(watching, "a:1")
        zookeeper.kill()
        await until(candidate, lambda state: state.session is Session.SUSPENDED)
        await asyncio.to_thread(zookeeper.start)
        assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading
        # Whoever only looks has a session of his own, and may have lost it meanwhile.
        await until_leader(watching, "a:1")


async def test_a_zookeeper_that_accepts_and_does_not_answer_does_not_cost_the_leader_its_session(
    zookeeper: ZooKeeperServer,
) -> None:
    async with (
        Wire(zookeeper.port) as wire,
        contender(zookeeper, "a:1", timeout_seconds=SHORT_TIMEOUT_SECONDS, wire=wire) as candidate,
    ):
        leading = await until(candidate, lambda state: state.leading)
        wire.cut()
        await until(candidate, lambda state: state.session is Session.SUSPENDED)
        tried = wire.accepted
        # As a server that was started and is not ready yet: this handshake is never answered.
        wire.silence()
        await wire.until_accepted(tried + 1)
        wire.mend()
        assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading


async def test_a_connection_that_falls_silent_is_given_up_while_requests_are_sent_on_it(
    zookeeper: ZooKeeperServer,
) -> None:
    async with (
        Wire(zookeeper.port) as wire,
        contender(zookeeper, "a:1", timeout_seconds=SHORT_TIMEOUT_SECONDS, wire=wire) as candidate,
    ):
        leading = await until(candidate, lambda state: state.leading)

        async def write() -> None:
            while True:
                candidate.client.exists_async("/mezzo")
                await asyncio.sleep(0.1)

        wire.silence()
        wire.mend()
        writing = asyncio.create_task(write())
        await until(candidate, lambda state: state.session is Session.SUSPENDED)
        writing.cancel()
        assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading


@pytest.mark.parametrize("order", [["silent", "well"], ["well", "silent"]])
async def test_a_silent_host_beside_one_that_is_well_costs_neither_the_start_nor_the_session(
    zookeeper: ZooKeeperServer, order: list[str]
) -> None:
    async with Wire(zookeeper.port) as silent, Wire(zookeeper.port) as well:
        silent.silence()
        wires = {"silent": silent, "well": well}
        hosts = ",".join(f"127.0.0.1:{wires[name].port}" for name in order)
        url = ZooKeeperUrl.parse(f"zk://{hosts}/mezzo")
        candidate = Contender(url, address_json("a:1"), session_timeout_seconds=SHORT_TIMEOUT_SECONDS)
        await candidate.start()
        try:
            leading = await until(candidate, lambda state: state.leading)
            tried = silent.accepted
            well.cut()
            await silent.until_accepted(tried + 1)
            well.mend()
            assert await until(candidate, lambda state: state.session is not Session.SUSPENDED) == leading
        finally:
            await candidate.close()


async def test_a_candidate_that_closes_while_zookeeper_hangs_does_not_wait_for_it(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1", timeout_seconds=LONG_TIMEOUT_SECONDS) as candidate:
        await until(candidate, lambda state: state.leading)
        zookeeper.pause()
        # The client itself would wait for a third of its session, or more.
        async with asyncio.timeout(LONG_TIMEOUT_SECONDS / 4):
            await candidate.close()
        assert candidate.leadership == Leadership(Session.NONE, None)
        zookeeper.resume()
    async with contender(zookeeper, "b:2") as following:
        await until(following, lambda state: state.leading)


async def test_with_a_credential_others_can_find_the_leader_but_neither_stand_nor_depose(
    zookeeper: ZooKeeperServer,
) -> None:
    async with contender(zookeeper, "a:1", credential="mezzo:swordfish@") as candidate, detector(zookeeper) as watching:
        leading = await until(candidate, lambda state: state.leading)
        await until_leader(watching, "a:1")
        assert leading.epoch is not None
        stranger = KazooClient(hosts=zookeeper.hosts)
        await asyncio.to_thread(stranger.start)
        try:
            for attempt in (
                lambda: stranger.create("/mezzo/json.info_", b"{}", ephemeral=True, sequence=True),
                lambda: stranger.delete("/mezzo/json.info_0000000000"),
                lambda: stranger.set("/mezzo/json.info_0000000000", b"{}"),
            ):
                with pytest.raises(NoAuthError):
                    await asyncio.to_thread(attempt)
        finally:
            await asyncio.to_thread(stranger.stop)
            await asyncio.to_thread(stranger.close)
        async with contender(zookeeper, "b:2") as refused, contender(zookeeper, "c:3", credential="mezzo:swordfish@"):
            await until_node_count(candidate, 2)
            assert refused.leadership == Leadership(Session.CONNECTED, None)


async def test_a_node_that_was_made_without_an_answer_is_removed(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1") as candidate:
        await until(candidate, lambda state: state.leading)
        make = lambda: candidate.client.create("/mezzo/json.info_", b"{}", ephemeral=True, sequence=True)  # noqa: E731
        forgotten = await asyncio.to_thread(make)
        # It stands again, and puts its own house in order first.
        await asyncio.to_thread(candidate.client.delete, "/mezzo/json.info_0000000000")
        await until(candidate, lambda state: state.epoch is not None and state.epoch.number > 1)
        await until_node_count(candidate, 1)
        assert await asyncio.to_thread(candidate.client.exists, forgotten) is None


async def test_whoever_relies_on_a_watcher_is_told_of_its_defect(zookeeper: ZooKeeperServer) -> None:
    told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def refresh(client: KazooClient) -> None:
        raise RuntimeError("a defect")

    watcher = Watcher(
        "be wrong",
        ZooKeeperUrl.parse(zookeeper.url()),
        TIMEOUT_SECONDS,
        refresh=refresh,
        on_session=lambda session: None,
        failed=told.set_result,
    )
    watcher.start()
    try:
        async with asyncio.timeout(SOON_SECONDS):
            assert str(await told) == "a defect"
    finally:
        await watcher.close()


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


async def test_a_contender_whose_folder_was_removed_stands_again(zookeeper: ZooKeeperServer) -> None:
    async with contender(zookeeper, "a:1") as candidate, detector(zookeeper) as watching:
        before = (await until(candidate, lambda state: state.leading)).epoch
        assert before is not None
        removal = candidate.client.transaction()
        removal.delete(before.path)
        removal.delete("/mezzo")
        assert await asyncio.to_thread(removal.commit) == [True, True]
        # Numbers begin again with the folder, so that the epoch may look the same: that it ended shows in between.
        await until(candidate, lambda state: not state.leading)
        await until(candidate, lambda state: state.leading)
        await until_leader(watching, "a:1")


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


PROGRAM = """
import asyncio, sys
from mezzo_chassis.leadership import Contender, ZooKeeperUrl
from mezzo_chassis.leadership.payload import address_json

async def main():
    url = ZooKeeperUrl.parse(sys.argv[1])
    candidate = Contender(url, address_json("other:1"), session_timeout_seconds=float(sys.argv[2]))
    await candidate.start()
    async for state in candidate.changes():
        print(state.session.value, "leading" if state.leading else "", flush=True)

asyncio.run(main())
"""


@asynccontextmanager
async def other_process(server: ZooKeeperServer) -> AsyncIterator[Process]:
    """A contender, `other:1`, in a process of its own that says each change."""
    program = ["-c", PROGRAM, server.url(), str(TIMEOUT_SECONDS)]
    process = await asyncio.create_subprocess_exec(sys.executable, *program, stdout=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_says(process: Process, what: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(SOON_SECONDS):
        while line := await process.stdout.readline():
            if line.decode().strip() == what:
                return
    raise AssertionError(f"it ended without saying {what}")


def expire(server: ZooKeeperServer, candidate: Contender) -> None:
    """End the contender's session from outside: ZooKeeper ends a session that another connection takes and closes."""
    thief = KazooClient(hosts=server.hosts, client_id=candidate.client.client_id)
    thief.start()
    thief.stop()
    thief.close()


async def until_node_count(of: Contender | KazooClient, count: int) -> None:
    if isinstance(of, Contender):
        # A client that was never connected answers nothing.
        await until(of, lambda state: state.session is Session.CONNECTED)
    client = of.client if isinstance(of, Contender) else of
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            watch = lambda _: loop.call_soon_threadsafe(changed.set)  # noqa: E731
            if len(await asyncio.to_thread(client.get_children, "/mezzo", watch)) == count:
                return
            await changed.wait()
            changed.clear()
