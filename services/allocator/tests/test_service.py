"""The allocator as a process: start, leadership, end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.allocator.v1.allocator_pb2_grpc import AllocatorStub
from mezzo_allocator.app import main
from mezzo_allocator.config import Config, minimum
from mezzo_allocator.core.policy import Sorter
from mezzo_chassis.config import load
from mezzo_chassis.leadership import ALLOCATORS_FOLDER, Detector, ZooKeeperUrl
from mezzo_chassis.testing import ServiceProcess, ZooKeeperServer, free_port, free_ports

LEADER_SECONDS_MAX = 30.0


def process(folder: Path, name: str, **flags: object) -> tuple[ServiceProcess, int]:
    grpc_port, metrics_port = free_ports(2)
    every = {"ip": "127.0.0.1", "grpc_port": grpc_port, "metrics_port": metrics_port, "compile_inner_loop": False}
    service = ServiceProcess.service("allocator", {**every, **flags}, folder=folder, name=name, grpc_port=grpc_port)
    return service, grpc_port


def test_it_starts_answers_health_and_ends_when_told(tmp_path: Path) -> None:
    service, _ = process(tmp_path, "allocator", compile_inner_loop=True)
    service.start().wait_healthy()
    assert service.stop() == 0


def test_a_port_in_use_is_named_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        service, _ = process(tmp_path, "allocator", grpc_port=port)
        service.start()
        assert service.wait() == 3
    (line,) = service.tail().splitlines()
    assert f"127.0.0.1:{port} is in use" in line


@pytest.mark.parametrize(
    ("flag", "wrong"), [("min_allocatable_resources", "cpus:much"), ("role_sorter", "fair"), ("framework_sorter", "")]
)
def test_a_wrong_value_names_its_flag(flag: str, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([f"--{flag}={wrong}"])
    assert raised.value.code == 2
    assert flag in capsys.readouterr().err


def test_flags_are_read_as_mesos_writes_them() -> None:
    argv = ["--allocation_interval=500ms", "--fair_sharing_excluded_resource_names=gpus,fpgas", "--role_sorter=random"]
    config = load(Config, argv, service="allocator")
    assert config.allocation_interval == 0.5
    assert (config.role_sorter, config.framework_sorter) == (Sorter.RANDOM, Sorter.DRF)
    assert config.filter_gpu_resources
    assert config.min_allocatable_resources == ((("cpus", 10),), (("mem", 32_000),))
    assert config.fair_sharing_excluded_resource_names == {"gpus", "fpgas"}
    assert minimum("") == ()
    assert minimum("disk:100;mem:32") == ((("disk", 100_000), ("mem", 32_000)),)


def answer(port: int) -> grpc.StatusCode:
    """How an allocator answers somebody who begins no session: UNAVAILABLE if it leads, else FAILED_PRECONDITION."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as raised:
        AllocatorStub(channel).Explain(wire.ExplainRequest())
    code = raised.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


async def leader(detector: Detector, other_than: str = "") -> str:
    async for info in detector.changes():
        if info is not None and info.grpc_address != other_than:
            return info.grpc_address
    raise AssertionError("the detector ended")


async def test_of_two_allocators_one_leads_and_the_other_takes_over(tmp_path: Path, zookeeper: ZooKeeperServer) -> None:
    url = zookeeper.url()
    detector = Detector(ZooKeeperUrl.parse(url).below(ALLOCATORS_FOLDER), session_timeout_seconds=4.0)
    with ExitStack() as ended:
        ports = {}
        for name in ("one", "two"):
            service, port = process(tmp_path, name, zk=url, zk_session_timeout="4secs", advertise_ip="127.0.0.1")
            ended.callback(service.stop)
            service.start().wait_healthy()
            ports[f"127.0.0.1:{port}"] = service
        await detector.start()
        try:
            first = await asyncio.wait_for(leader(detector), LEADER_SECONDS_MAX)
            (second,) = ports.keys() - {first}
            assert answer(int(first.rpartition(":")[2])) == grpc.StatusCode.UNAVAILABLE
            assert answer(int(second.rpartition(":")[2])) == grpc.StatusCode.FAILED_PRECONDITION
            ports[first].kill()
            assert await asyncio.wait_for(leader(detector, other_than=first), LEADER_SECONDS_MAX) == second
        finally:
            await detector.close()
