import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import parse
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.factory import ContainerizerConfig, create
from mezzo_agent.ports import ContainerConfig

PATH = "/usr/local/bin:/usr/bin:/bin"

Configure = Callable[..., ContainerConfig]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Makes the config of a container that runs a shell command in a sandbox of its own."""

    def made(
        shell: str | None = None,
        *,
        argv: tuple[str, list[str]] | None = None,
        environment: dict[str, str] | None = None,
        user: str | None = None,
        resources: str = "cpus:0.5;mem:64",
        container: mesos.ContainerInfo | None = None,
        uris: list[mesos.CommandInfo.URI] | None = None,
        container_id: str | None = None,
    ) -> ContainerConfig:
        container_id = container_id or str(uuid4())
        command = mesos.CommandInfo(value=shell, uris=uris)
        if argv is not None:
            command = mesos.CommandInfo(shell=False, value=argv[0], arguments=argv[1], uris=uris)
        sandbox = tmp_path / "work" / "runs" / container_id
        return ContainerConfig(
            container_id=container_id,
            framework_id="framework-0000",
            executor_id="executor",
            task_id="executor",
            command=command,
            environment={"PATH": PATH, "MESOS_SANDBOX": str(sandbox), **(environment or {})},
            sandbox=sandbox,
            user=user,
            resources=parse(resources),
            container=container,
        )

    return made


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


@pytest.fixture
def agent(tmp_path: Path, runtime_dir: Path) -> Callable[[], PosixContainerizer]:
    """Makes a containerizer as an agent that starts would, in this test's folders."""

    def made() -> PosixContainerizer:
        return create(ContainerizerConfig(work_dir=tmp_path / "work", runtime_dir=runtime_dir))

    return made


@pytest.fixture
async def containers(agent: Callable[[], PosixContainerizer]) -> AsyncIterator[PosixContainerizer]:
    """A containerizer at work. Whatever it still runs when the test ends is destroyed."""
    containerizer = agent()
    await containerizer.recover(())
    yield containerizer
    await containerizer.close()
    last = agent()
    await last.recover(())  # asks for none: all are destroyed
    await last.close()


@pytest.fixture(autouse=True)
def nothing_is_left_running(tmp_path: Path) -> Iterator[None]:
    """Fails a test that leaves a process behind which works in the test's folder."""
    yield
    left = [pid for pid in os.listdir("/proc") if pid.isdecimal() and _belongs(pid, str(tmp_path))]
    assert left == [], [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]


def _belongs(pid: str, folder: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        return folder.encode() in environment or os.readlink(f"/proc/{pid}/cwd").startswith(folder)
    except OSError:
        return False


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for something that another process does, where there is nothing to be told by."""

    async def waited(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  a condition on another process has no event
                await asyncio.sleep(0.005)

    return waited


@pytest.fixture
def root_with_groups() -> Iterator[None]:
    """Root as it is where it logs in: with groups of its own, which a task must not inherit."""
    before = os.getgroups()
    os.setgroups([0, 4])
    yield
    os.setgroups(before)
