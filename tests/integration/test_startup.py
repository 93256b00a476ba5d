"""What keeps a service from starting: one line that says what and where, and an exit code of its own; or patience."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mezzo_chassis.errors import Exit
from mezzo_chassis.rpc import open_channel
from mezzo_chassis.testing import ServiceProcess, ZooKeeperServer, free_ports, zookeeper_missing

pytestmark = pytest.mark.timeout(180)

SERVICES = ("registry", "allocator", "gateway", "agent")
WITH_FOLDER = ("registry", "agent")
PATIENCE_SECONDS = 90
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

every_service = pytest.mark.parametrize("service", SERVICES)
every_service_with_a_folder = pytest.mark.parametrize("service", WITH_FOLDER)


def flags_of(service: str, folder: Path) -> dict[str, object]:
    """Flags with which it would start, below `folder`."""
    http, rpc, metrics = free_ports(3)
    flags: dict[str, object] = {"ip": "127.0.0.1", "grpc_port": rpc, "metrics_port": metrics, "log_format": "json"}
    if service in ("gateway", "agent"):
        flags["port"] = http
    if service in WITH_FOLDER:
        flags["work_dir"] = folder / service
    return flags


def ended(service: str, flags: dict[str, object], *more: str) -> tuple[int, str]:
    """The exit code and the one line of a service that ends at once."""
    arguments = [*(f"--{name}={value}" for name, value in flags.items()), *more]
    done = subprocess.run(
        [sys.executable, "-m", f"mezzo_{service}", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"mezzo {service}: ")
    assert "Traceback" not in done.stdout
    return done.returncode, done.stderr


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@every_service
def test_a_wrong_file_of_flags_is_named_with_what_is_wrong_in_it(service: str, tmp_path: Path) -> None:
    file = tmp_path / "flags.toml"
    file.write_text('log_level = "info"\nlog_levle = "info"\n')
    code, line = ended(service, flags_of(service, tmp_path), f"--config={file}")
    assert code == Exit.BAD_CONFIGURATION
    assert f"{file} has unknown flags: log_levle" in line


@pytest.mark.parametrize(
    ("service", "flag"), [("registry", "grpc_port"), ("allocator", "metrics_port"), ("gateway", "port")]
)
def test_a_port_in_use_is_named(service: str, flag: str, taken: int, tmp_path: Path) -> None:
    code, line = ended(service, flags_of(service, tmp_path) | {flag: taken})
    assert code == Exit.PORT_IN_USE
    assert f"127.0.0.1:{taken} is in use" in line


@every_service_with_a_folder
def test_a_folder_that_cannot_be_written_is_named(service: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "folder"
    code, line = ended(service, flags_of(service, tmp_path) | {"work_dir": folder})
    assert code == Exit.UNWRITABLE
    assert str(folder) in line


def put_foreign_files(service: str, folder: Path) -> Path:
    """What another program left where the service keeps what it has to know."""
    if service == "registry":
        path = folder / service / "registry.sqlite"
        path.parent.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE birds (name TEXT)")
        return path
    path = folder / service / "meta" / "journal.1"
    path.parent.mkdir(parents=True)
    path.write_text("Dear diary, today I saw a bird.\n")
    return path


@every_service_with_a_folder
def test_what_another_program_left_is_named_and_not_touched(service: str, tmp_path: Path) -> None:
    path = put_foreign_files(service, tmp_path)
    before = path.read_bytes()
    code, line = ended(service, flags_of(service, tmp_path))
    assert code == Exit.INCOMPATIBLE_STATE
    assert str(path) in line
    assert path.read_bytes() == before


def test_an_expired_certificate_is_named_with_its_date(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    expired = datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.UTC)
    issued = trustme.CA().issue_cert("127.0.0.1", not_before=expired - datetime.timedelta(days=90), not_after=expired)
    file = tmp_path / "gateway.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(file))
    code, line = ended("gateway", flags_of("gateway", tmp_path) | {"ssl_cert_file": file, "ssl_key_file": file})
    assert code == Exit.BAD_CREDENTIALS
    assert f"the certificate in {file} expired on 2020-02-29T12:00:00Z" in line


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    """What a service says, as soon as it answers."""
    request = health_pb2.HealthCheckRequest(service=service)
    answer = await health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True)
    return int(answer.status)


async def becomes(channel: grpc.aio.Channel, status: int) -> None:
    """Return when the health of the whole is this."""
    async for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
        if answer.status == status:
            return


@pytest.fixture
def late_zookeeper(tmp_path: Path) -> Iterator[ZooKeeperServer]:
    """One that a test starts when it likes."""
    if missing := zookeeper_missing():
        pytest.skip(missing)
    server = ZooKeeperServer(tmp_path / "zookeeper")
    yield server
    server.__exit__()


@pytest.fixture
def waiting(late_zookeeper: ZooKeeperServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """One of each service, whose ZooKeeper is not there yet; by service, the address of its gRPC server."""
    processes, addresses = [], {}
    for service in SERVICES:
        flags = flags_of(service, tmp_path) | {"zk_session_timeout": "2secs", "hostname": "127.0.0.1"}
        flags["master" if service in ("gateway", "agent") else "zk"] = late_zookeeper.url()
        processes.append(ServiceProcess.service(service, flags, folder=tmp_path))
        addresses[service] = f"127.0.0.1:{flags['grpc_port']}"
    try:
        for process in processes:
            process.start()
        yield addresses
        assert [process.name for process in processes if not process.running] == []
    finally:
        for process in processes:
            process.kill()


async def all_become(channels: Sequence[grpc.aio.Channel], status: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(becomes(channel, status) for channel in channels))


async def test_a_zookeeper_that_is_not_there_is_waited_for_and_missed_when_it_goes(
    waiting: dict[str, str], late_zookeeper: ZooKeeperServer
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        channels = {
            service: await stack.enter_async_context(open_channel(address)) for service, address in waiting.items()
        }
        assert {service: await health(channel) for service, channel in channels.items()} == dict.fromkeys(
            SERVICES, NOT_SERVING
        )
        await asyncio.to_thread(late_zookeeper.start)
        await all_become(list(channels.values()), SERVING)
        late_zookeeper.kill()
        # Those that are elected say so. The agent and the gateway go on with the registry that they know.
        await all_become([channels["registry"], channels["allocator"]], NOT_SERVING)
        assert await health(channels["agent"], "mezzo.executor.v1.Executor") == SERVING
        await asyncio.to_thread(late_zookeeper.start)
        await all_become(list(channels.values()), SERVING)
