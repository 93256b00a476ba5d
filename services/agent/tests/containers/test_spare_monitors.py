"""The monitor that a launcher forks ahead: who gets it, and that it outlives nobody."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.posix.launcher import SPARE_ORDER_BYTES_MAX
from mezzo_agent.containers.posix.processes import ProcessId, descendants, read_process
from mezzo_agent.containers.posix.runtime import Processes, RuntimeFolder
from mezzo_agent.ports import ContainerConfig, Termination

Configure = Callable[..., ContainerConfig]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def processes_of(runtime_dir: Path, container_id: str) -> Processes:
    (folder,) = (runtime_dir / "containers").glob(f"{container_id}@*")
    found = RuntimeFolder(folder).processes()
    assert found is not None
    return found


async def spare_of(containers: PosixContainerizer, until: Until) -> Processes:
    """The launcher's spare monitor and the process that waits below it, once both are there."""
    launcher = (await containers._launchers.current()).pid
    await until(lambda: len(descendants(launcher)) == 2)
    monitor, task = (read_process(pid) for pid in descendants(launcher))
    assert monitor is not None
    assert task is not None
    assert (monitor.parent, task.parent) == (launcher, monitor.pid)
    return Processes(monitor.id, task.id)


def gone(process: ProcessId) -> bool:
    return not process.exists()


async def test_an_order_is_given_to_the_spare_and_another_is_made(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path, until: Until
) -> None:
    spare = await spare_of(containers, until)
    first = configure("exit 3")
    await containers.launch(first)
    assert processes_of(runtime_dir, first.container_id) == spare
    assert await containers.wait(first.container_id) == Termination(3 << 8)
    await until(lambda: gone(spare.monitor))
    following = await spare_of(containers, until)
    second = configure("exit 4")
    await containers.launch(second)
    assert processes_of(runtime_dir, second.container_id) == following
    assert await containers.wait(second.container_id) == Termination(4 << 8)


async def test_the_program_finds_nothing_of_the_wait(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    """Neither open files, nor blocked signals, nor another umask or folder than without it."""
    seen = "ls -l /proc/self/fd | awk 'NR > 1 {print $9}'; grep SigBlk /proc/self/status; umask; pwd"
    await spare_of(containers, until)
    waited = configure(seen)
    await containers.launch(waited)
    await containers.wait(waited.container_id)
    large = configure(seen, environment={"PADDING": "x" * SPARE_ORDER_BYTES_MAX})
    await containers.launch(large)
    await containers.wait(large.container_id)
    assert (waited.sandbox / "stdout").read_text().replace(waited.container_id, "ID") == (
        large.sandbox / "stdout"
    ).read_text().replace(large.container_id, "ID")


async def test_an_order_that_is_too_large_for_a_pipe_leaves_the_spare_to_the_next(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path, until: Until
) -> None:
    spare = await spare_of(containers, until)
    large = configure('exit "${#PADDING}"', environment={"PADDING": "x" * SPARE_ORDER_BYTES_MAX})
    await containers.launch(large)
    assert processes_of(runtime_dir, large.container_id) != spare
    assert (await containers.wait(large.container_id)).wait_status == (SPARE_ORDER_BYTES_MAX & 0xFF) << 8
    small = configure("exit 3")
    await containers.launch(small)
    assert processes_of(runtime_dir, small.container_id) == spare
    assert await containers.wait(small.container_id) == Termination(3 << 8)


@pytest.mark.parametrize("victim", ["monitor", "task"])
async def test_a_spare_that_was_killed_costs_nothing(
    containers: PosixContainerizer, configure: Configure, until: Until, victim: str
) -> None:
    spare = await spare_of(containers, until)
    os.kill(getattr(spare, victim).pid, signal.SIGKILL)
    if victim == "monitor":
        await until(lambda: gone(spare.monitor) and gone(spare.task))
    else:
        await until(lambda: gone(spare.task))
    first, second = configure("exit 3"), configure("exit 4")
    for config in (first, second):
        await containers.launch(config)
    ends = [(await containers.wait(config.container_id)).wait_status for config in (first, second)]
    assert ends == [3 << 8, 4 << 8]


async def test_a_spare_ends_with_its_launcher(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    running = configure("exec sleep 1000")
    await spare_of(containers, until)
    await containers.launch(running)
    launcher = await containers._launchers.current()
    await until(lambda: len(descendants(launcher.pid)) == 4)
    spares = [read_process(pid) for pid in descendants(launcher.pid)]
    held = containers._containers[running.container_id].supervision
    assert held is not None
    waiting = [each.id for each in spares if each and each.id not in (held.processes.monitor, held.processes.task)]
    assert len(waiting) == 2
    os.kill(launcher.pid, signal.SIGKILL)
    await until(lambda: all(map(gone, waiting)))
    assert held.processes.task.exists()
    await containers.destroy(running.container_id)


async def test_orders_that_come_at_once_all_run(containers: PosixContainerizer, configure: Configure) -> None:
    configs = [configure(f"exit {number}") for number in range(20)]
    await asyncio.gather(*(containers.launch(config) for config in configs))
    ends = [await containers.wait(config.container_id) for config in configs]
    assert ends == [Termination(number << 8) for number in range(20)]
