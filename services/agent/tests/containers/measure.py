"""Measures the POSIX containerizer on this machine: `python measure.py [launches]`. Prints a table, asserts nothing."""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import parse
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.factory import ContainerizerConfig, create
from mezzo_agent.containers.logs import LogLimit, rotate
from mezzo_agent.containers.posix.processes import stopped
from mezzo_agent.ports import ContainerConfig

RESOURCES = parse("cpus:0.1;mem:32")
IDLE = 100
LOG_BYTES = 10 << 20


class Measurement:
    def __init__(self, containers: PosixContainerizer, folder: Path) -> None:
        self.containers = containers
        self.folder = folder
        self.launched = 0

    def config(self, shell: str) -> ContainerConfig:
        self.launched += 1
        name = f"c{self.launched}"
        return ContainerConfig(
            container_id=name,
            framework_id="framework",
            executor_id=name,
            task_id=name,
            command=mesos.CommandInfo(value=shell),
            environment={"PATH": "/usr/bin:/bin"},
            sandbox=self.folder / "executors" / name / "runs" / name,
            user=None,
            resources=RESOURCES,
        )

    async def run_one(self) -> float:
        """Launches `true` and waits for its end; returns how long the launch took, in milliseconds."""
        config = self.config("true")
        started = time.perf_counter()
        await self.containers.launch(config)
        taken = milliseconds_since(started)
        await self.containers.wait(config.container_id)
        self.containers.forget(config.container_id)
        return taken

    async def one_after_another(self, launches: int) -> str:
        times = sorted([await self.run_one() for _ in range(launches)])
        return f"p50 {statistics.median(times):.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms"

    async def all_at_once(self, launches: int) -> str:
        started = time.perf_counter()
        await asyncio.gather(*(self.run_one() for _ in range(launches)))
        return f"{launches / (time.perf_counter() - started):.0f} containers/s, from launch to exit status"

    async def idle(self) -> list[tuple[str, str]]:
        configs = [self.config("exec sleep 1000") for _ in range(IDLE)]
        pids = [(await self.containers.launch(config)).pid for config in configs]
        names = [config.container_id for config in configs]
        private = statistics.mean(private_kib(parent(pid)) for pid in pids)
        usage = await timed(lambda: asyncio.gather(*map(self.containers.usage, names)))
        destroy = await timed(lambda: asyncio.gather(*map(self.containers.destroy, names)))
        return [
            ("private memory of a monitor", f"{private:.0f} KiB"),
            (f"usage of {IDLE} containers", f"{usage:.0f} ms"),
            (f"destroying {IDLE} containers", f"{destroy:.0f} ms"),
        ]

    def rotation(self) -> str:
        (self.folder / "stdout").write_bytes(b"x" * (LOG_BYTES + 100))
        started = time.perf_counter()
        moved = rotate(self.folder, "stdout", LogLimit(LOG_BYTES), lambda: stopped(None))  # type: ignore[arg-type]
        return f"{milliseconds_since(started):.0f} ms for {moved >> 20} MiB"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def private_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return milliseconds_since(started)


async def main(launches: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        containers = create(ContainerizerConfig(work_dir=folder, runtime_dir=folder / "run"))
        await containers.recover(())
        measurement = Measurement(containers, folder)
        await measurement.run_one()  # starts the launcher
        rows = [
            ("launch, one after another", await measurement.one_after_another(min(launches, 200))),
            ("launch, all at once", await measurement.all_at_once(launches)),
            *await measurement.idle(),
            ("rotating a log", measurement.rotation()),
        ]
        await containers.close()
    for what, figure in rows:
        print(f"{what:32} {figure}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
