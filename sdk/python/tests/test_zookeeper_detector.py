"""Who leads, as a real ZooKeeper has it, and what contenders' nodes say."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient

from mezzo import errors
from mezzo.scheduler import ZooKeeperDetector
from mezzo.zookeeper import address_of
from mezzo_chassis.testing import ZooKeeperServer

pytestmark = pytest.mark.timeout(60)


def node_of(host: str) -> bytes:
    address = {"hostname": host, "ip": "10.0.0.1", "port": 5050}
    return json.dumps({"address": address, "grpc_address": f"{host}:5060"}).encode()


@pytest.fixture
def contenders(zookeeper: ZooKeeperServer) -> Iterator[KazooClient]:
    client = KazooClient(hosts=zookeeper.hosts)
    client.start()
    yield client
    client.stop()
    client.close()


async def stand(contenders: KazooClient, host: str) -> str:
    path = "/mezzo/json.info_"
    return str(await asyncio.to_thread(contenders.create, path, node_of(host), sequence=True, makepath=True))


async def test_the_lowest_contender_leads_and_the_next_succeeds_it(
    zookeeper: ZooKeeperServer, contenders: KazooClient
) -> None:
    async with ZooKeeperDetector(zookeeper.url()) as detector:
        leader = asyncio.create_task(detector.leader())
        first = await stand(contenders, "one")
        assert await leader == "one:5060"
        succeeding = asyncio.create_task(detector.successor("one:5060"))
        await stand(contenders, "two")
        await asyncio.to_thread(contenders.create, "/mezzo/log_replicas")  # of others, and no contender
        assert await detector.leader() == "one:5060"
        await asyncio.to_thread(contenders.delete, first)
        assert await succeeding == "two:5060"
        assert await detector.leader() == "two:5060"


async def test_the_http_api_of_the_leader_is_told_where_it_is_asked_for(
    zookeeper: ZooKeeperServer, contenders: KazooClient
) -> None:
    await stand(contenders, "one")
    async with ZooKeeperDetector(zookeeper.url(), http=True) as detector:
        assert await detector.leader() == "http://one:5050"


async def test_whoever_waits_for_a_leader_is_told_when_the_detector_is_closed(zookeeper: ZooKeeperServer) -> None:
    detector = ZooKeeperDetector(zookeeper.url())
    waiting = asyncio.create_task(detector.leader())
    await asyncio.sleep(0)
    await detector.close()
    with pytest.raises(errors.Unavailable, match="the detector was closed"):
        await waiting
    with pytest.raises(errors.Unavailable):
        await detector.leader()


async def test_a_zookeeper_that_is_not_there_is_not_waited_for_in_silence(
    unused_port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzo.zookeeper.DISCONNECTED_SECONDS_MIN", 0.05)
    logged = asyncio.Event()
    monkeypatch.setattr("mezzo.zookeeper._log.warning", lambda *words: logged.set())
    async with ZooKeeperDetector(f"zk://127.0.0.1:{unused_port}/mezzo") as detector:
        waiting = asyncio.create_task(detector.leader())
        await logged.wait()
        assert not waiting.done()
    with pytest.raises(errors.Unavailable):
        await waiting


@pytest.mark.parametrize(
    ("payload", "grpc", "http"),
    [
        (node_of("one"), "one:5060", "http://one:5050"),
        # As masters of Mesos write it, and as old ones did.
        (b'{"address": {"ip": "10.0.0.1", "port": 5050}}', None, "http://10.0.0.1:5050"),
        (b'{"hostname": "one", "ip": 16777343, "port": 5050}', None, "http://one:5050"),
        (b'{"grpc_address": "zk://one"}', None, None),
        (b'{"address": {"hostname": "a/b", "port": 5050}}', None, None),
        (b'{"address": {"hostname": "one", "port": "x"}}', None, None),
        (b"[]", None, None),
        (b"none", None, None),
    ],
)
def test_what_a_node_says_of_where_its_contender_is(payload: bytes, grpc: str | None, http: str | None) -> None:
    assert address_of(payload, http=False) == grpc
    assert address_of(payload, http=True) == http


@pytest.mark.parametrize(
    "url",
    ["host:2181", "zk://host:2181", "zk://host:2181/", "zk://host/mezzo", "zk://user@host:2181/mezzo", "http://h:1/m"],
)
def test_what_is_no_url_of_an_election_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        ZooKeeperDetector(url)
    assert str(refused.value) == "url: expected zk://host:port,…/path"


def test_without_kazoo_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['kazoo'] = None\nimport mezzo.scheduler\nmezzo.scheduler.ZooKeeperDetector"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ImportError: ZooKeeperDetector needs kazoo: pip install 'mezzo[zk]'"
