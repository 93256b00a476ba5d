"""The first start on a machine: while the inner loop is compiled the service answers, decides, and can be ended."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.allocator.v1.allocator_pb2_grpc import AllocatorStub
from mezzo.errors import Unavailable
from mezzo.resources import parse
from mezzo_allocator.adapters.compiler import version_folder
from mezzo_allocator.core import kernel
from mezzo_allocator.shell import cold_start
from mezzo_chassis.rpc import open_channel
from mezzo_chassis.testing import ServiceProcess, free_ports

SECONDS_MAX = 30.0
COLD_SECONDS_MAX = 240.0


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def cold(folder: Path) -> tuple[ServiceProcess, int, int]:
    """An allocator that has never run here, and its ports."""
    grpc_port, metrics_port = free_ports(2)
    flags = {"ip": "127.0.0.1", "grpc_port": grpc_port, "metrics_port": metrics_port}
    service = ServiceProcess.service("allocator", flags, folder=folder, name="allocator", grpc_port=grpc_port)
    return service, grpc_port, metrics_port


async def is_compiled(metrics_port: int) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{metrics_port}/metrics") as response:
        return "mezzo_allocator_inner_loop_compiled 1.0" in await response.text()


async def first_allocation(grpc_port: int) -> wire.Allocation:
    info = mesos.FrameworkInfo(user="nobody", name="f", role="eng")
    info.id.value = "f"
    total = parse("cpus:2;mem:1024").messages()
    agent = wire.AgentUpdate(agent=1, agent_info=mesos.AgentInfo(hostname="h"), total=total, active=True)
    messages = [
        wire.RegistryMessage(begin=wire.Begin()),
        wire.RegistryMessage(framework_update=wire.FrameworkUpdate(framework=1, framework_info=info, active=True)),
        wire.RegistryMessage(agent_update=agent),
        wire.RegistryMessage(snapshot_end=wire.SnapshotEnd()),
    ]
    async with open_channel(f"127.0.0.1:{grpc_port}") as channel, asyncio.timeout(SECONDS_MAX):
        call = AllocatorStub(channel).Session()
        await call.write(wire.SessionRequest(messages=messages))
        while True:
            response = await call.read()
            assert isinstance(response, wire.SessionResponse)
            for message in response.messages:
                for allocation in message.allocations.allocations:
                    call.cancel()
                    return allocation


@pytest.mark.slow("compiles the inner loop with nothing in the cache: the one test that does")
async def test_health_is_answered_and_offers_are_made_while_the_inner_loop_is_compiled(tmp_path: Path) -> None:
    service, grpc_port, metrics_port = cold(tmp_path)
    service.start()
    try:
        await asyncio.to_thread(service.wait_healthy)
        assert (await first_allocation(grpc_port)).role == "eng"
        assert not await is_compiled(metrics_port)
        async with asyncio.timeout(COLD_SECONDS_MAX):
            while not await is_compiled(metrics_port):
                await asyncio.to_thread(service.wait_healthy)
        assert (await first_allocation(grpc_port)).role == "eng"
    finally:
        assert service.stop() == 0
    assert (version_folder(tmp_path / "cache" / "mezzo" / "allocator") / cold_start.COMPLETE).exists()


def test_it_can_be_ended_while_the_inner_loop_is_compiled(tmp_path: Path) -> None:
    service, _, _ = cold(tmp_path)
    service.start().wait_healthy()
    assert service.stop() == 0
    assert not (version_folder(tmp_path / "cache" / "mezzo" / "allocator") / cold_start.COMPLETE).exists()


async def test_where_nothing_can_be_compiled_the_reason_is_told(tmp_path: Path) -> None:
    cache = tmp_path / "file"
    cache.write_text("no folder")
    with pytest.raises(Unavailable, match="Not a directory"):
        await cold_start.compiled_loops(cache)


def test_the_compiling_process_ends_with_its_parent(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    process = subprocess.Popen([sys.executable, "-m", cold_start.__name__, str(tmp_path)], stdin=ours)
    os.close(ours)
    os.close(theirs)
    assert process.wait(SECONDS_MAX) == 1


def test_code_that_numba_would_compile_again_is_never_taken_for_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def form_of(path: Path) -> Path:
        namespace: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        monkeypatch.setattr(kernel, "COMPILABLE", [namespace["decide"]])
        return version_folder(tmp_path)

    here, elsewhere = tmp_path / "here.py", tmp_path / "elsewhere.py"
    for path in (here, elsewhere):
        path.write_text("def decide(): pass\n")
        os.utime(path, (1_000, 1_000))
    assert form_of(here) == form_of(here)
    assert form_of(here) != form_of(elsewhere)
    before = form_of(here)
    os.utime(here, (2_000, 2_000))
    assert form_of(here) != before
    before = form_of(here)
    here.write_text("def decide(): return\n")
    os.utime(here, (2_000, 2_000))
    assert form_of(here) != before
