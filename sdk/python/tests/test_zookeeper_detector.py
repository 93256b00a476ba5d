"""Who leads, as a real ZooKeeper has it, and what contenders' nodes say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from kazoo.client import KazooClient
from typer.testing import CliRunner

from mezzo import errors, http
from mezzo.cli import exit_codes
from mezzo.cli.app import app
from mezzo.cli.settings import Settings
from mezzo.operator import RegistryOperator
from mezzo.operator.v1 import operator_pb2 as wire
from mezzo.operator.v1 import operator_pb2_grpc as wire_grpc
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


class Explaining(wire_grpc.OperatorServicer):
    """A registry that has nothing to explain, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def Explain(self, request: wire.ExplainRequest, context: Any) -> wire.ExplainResponse:
        self.asked += 1
        return wire.ExplainResponse()

    async def Call(self, request: wire.CallRequest, context: Any) -> wire.CallResponse:
        raise NotImplementedError

    async def KillTask(self, request: wire.KillTaskRequest, context: Any) -> wire.KillTaskResponse:
        raise NotImplementedError

    async def Members(self, request: wire.MembersRequest, context: Any) -> wire.MembersResponse:
        raise NotImplementedError

    def Watch(self, request: wire.WatchRequest, context: Any) -> AsyncIterator[wire.WatchResponse]:
        raise NotImplementedError


async def test_an_operator_asks_the_registry_that_leads_and_the_next_when_it_is_gone(
    zookeeper: ZooKeeperServer, contenders: KazooClient, serve_grpc: Callable[..., Awaitable[str]], unused_port: int
) -> None:
    path = "/mezzo/json.info_"

    async def stand_at(address: str) -> str:
        node = json.dumps({"grpc_address": address}).encode()
        return str(await asyncio.to_thread(contenders.create, path, node, sequence=True, makepath=True))

    gone = await stand_at(f"127.0.0.1:{unused_port}")
    explaining = Explaining()
    await stand_at(await serve_grpc(wire_grpc.add_OperatorServicer_to_server, explaining))
    async with RegistryOperator(zookeeper.url()) as registry:
        with pytest.raises(errors.Unavailable):
            await registry.explain()
        await asyncio.to_thread(contenders.delete, gone)
        async with asyncio.timeout(30):
            while not explaining.asked:  # until ZooKeeper's watch has fired
                with contextlib.suppress(errors.Unavailable):
                    await registry.explain()


async def test_an_operator_is_told_when_nobody_leads(
    zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CALL_SECONDS_MAX", 0.05)
    async with RegistryOperator(zookeeper.url()) as registry:
        with pytest.raises(errors.Unavailable, match=r"ZooKeeper has named no leader for 0\.05 s"):
            await registry.explain()


async def test_the_command_asks_the_gateway_that_the_leader_announces(
    zookeeper: ZooKeeperServer, contenders: KazooClient
) -> None:
    await stand(contenders, "one")
    settings = Settings.of(zookeeper.url())
    assert settings.urls == ("http://one:5050",), "also where a loop runs already"
    await stand(contenders, "two")
    assert settings.url == "http://one:5050", "it is asked once"


def test_the_command_says_when_nobody_leads(zookeeper: ZooKeeperServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzo.cli.settings.ELECTION_SECONDS_MAX", 0.05)
    address = zookeeper.url().replace("zk://", "zk://user:swordfish@")
    ended = CliRunner().invoke(app, ["status"], env={"MEZZO_API": address})
    assert ended.exit_code == exit_codes.UNREACHABLE
    assert f"no leader at {zookeeper.url()}: nobody leads there" in ended.stderr
    assert "swordfish" not in ended.output


@pytest.mark.parametrize("api", ["zk://h:1", "zk://h/m", "zk://u@h:1/m", "zk://u:swordfish@h:1/"])
def test_an_address_of_zookeeper_that_is_wrong_is_a_usage_error_without_its_password(api: str) -> None:
    ended = CliRunner().invoke(app, ["--api", api, "status"])
    assert ended.exit_code == exit_codes.USAGE
    assert "expected zk://host:port,…/path" in ended.stderr
    assert "swordfish" not in ended.output


def test_the_command_says_what_it_takes_to_ask_zookeeper() -> None:
    program = "import sys; sys.modules['kazoo'] = None\nfrom mezzo.cli import main\nmain()"
    words = ["--api", "zk://h:1/m", "status"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == exit_codes.NOT_INSTALLED
    assert done.stderr == "mezzo: ZooKeeperDetector needs kazoo: pip install 'mezzo[zk]'\n"


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
