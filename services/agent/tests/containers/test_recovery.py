"""Containers across the death of every process that has to do with them: agent, launcher, monitor, machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from mezzo.errors import NotFound
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.posix import launching
from mezzo_agent.containers.posix.launching import Order, StartError
from mezzo_agent.containers.posix.processes import ProcessId, read_process
from mezzo_agent.containers.posix.runtime import BOOT_ID, Processes, RuntimeFolder, remember_boot, same_boot
from mezzo_agent.ports import ContainerConfig, RecoveredContainer, RecoveredState, Termination

Configure = Callable[..., ContainerConfig]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agent = Callable[[], PosixContainerizer]

AGENT = Path(__file__).with_name("agent_process.py")


class AgentProcess:
    """A real agent in a process of its own, to be killed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def launch(self, **orders: str) -> dict[str, int]:
        """Orders containers by id; returns the pids of their tasks once all of them run."""
        self.order(**orders)
        assert self.process.stdout is not None
        lines = [(await self.process.stdout.readline()).split() for _ in orders]
        return {name.decode(): int(pid) for name, pid in lines}

    def order(self, **orders: str) -> None:
        assert self.process.stdin is not None
        for name, shell in orders.items():
            self.process.stdin.write(json.dumps({"id": name, "shell": shell}).encode() + b"\n")

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def doomed(tmp_path: Path, runtime_dir: Path) -> AsyncIterator[AgentProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, AGENT, tmp_path / "work", runtime_dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    yield AgentProcess(process)
    if process.returncode is None:
        process.kill()
    await process.communicate()


@asynccontextmanager
async def successor(
    agent: Agent, *checkpointed: str
) -> AsyncIterator[tuple[PosixContainerizer, dict[str, RecoveredContainer]]]:
    """The next agent, having recovered; afterwards everything is destroyed."""
    containers = agent()
    try:
        yield containers, await containers.recover(checkpointed)
    finally:
        await containers.close()
        last = agent()
        await last.recover(())
        await last.close()


def folder_of(runtime_dir: Path, container_id: str) -> RuntimeFolder:
    (found,) = (runtime_dir / "containers").glob(f"{container_id}@*")
    return RuntimeFolder(found)


def processes_of(runtime_dir: Path, container_id: str) -> Processes:
    found = folder_of(runtime_dir, container_id).processes()
    assert found is not None
    return found


async def test_tasks_outlive_a_killed_agent_and_the_next_one_learns_how_they_end(
    doomed: AgentProcess, agent: Agent, tmp_path: Path, runtime_dir: Path, until: Until
) -> None:
    pids = await doomed.launch(
        finishing="while [ ! -e go ]; do sleep 0.01; done; exit 3",
        running="sleep 1000",
        later="while [ ! -e go ]; do sleep 0.01; done; kill -TERM $$",
    )
    await doomed.kill()
    work = tmp_path / "work" / "runs"
    (work / "finishing" / "go").touch()
    await until(lambda: folder_of(runtime_dir, "finishing").exit() is not None)

    async with successor(agent, "finishing", "running", "later") as (containers, found):
        assert found["running"] == RecoveredContainer("running", RecoveredState.RUNNING, pids["running"])
        assert found["later"].state == RecoveredState.RUNNING
        assert await containers.wait("finishing") == Termination(3 << 8)
        (work / "later" / "go").touch()
        assert await containers.wait("later") == Termination(signal.SIGTERM)
        await containers.destroy("running")
        assert await containers.wait("running") == Termination(signal.SIGKILL)


async def test_an_exit_status_stays_known_through_any_number_of_restarts(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path, until: Until
) -> None:
    await doomed.launch(task="exit 7")
    await until(lambda: folder_of(runtime_dir, "task").exit() is not None)
    await doomed.kill()
    for _ in range(2):
        containers = agent()
        found = await containers.recover(["task"])
        assert found["task"] in (
            RecoveredContainer("task", RecoveredState.ENDED, termination=Termination(7 << 8)),
            RecoveredContainer("task", RecoveredState.RUNNING, found["task"].pid),  # its monitor is about to end
        )
        assert await containers.wait("task") == Termination(7 << 8)
        await containers.close()
    async with successor(agent, "task") as (containers, found):
        assert found["task"].termination == Termination(7 << 8)


async def test_containers_that_nobody_asks_for_are_destroyed(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path
) -> None:
    await doomed.launch(wanted="sleep 1000", orphan="sleep 1000", done="true")
    orphan = processes_of(runtime_dir, "orphan").task
    await doomed.kill()
    async with successor(agent, "wanted", "unheard-of") as (_, found):
        assert not orphan.exists()
        assert found["wanted"].state == RecoveredState.RUNNING
        assert found["unheard-of"] == RecoveredContainer("unheard-of", RecoveredState.UNKNOWN)
        assert list((runtime_dir / "containers").iterdir()) == [folder_of(runtime_dir, "wanted").path]


async def test_an_agent_killed_in_the_middle_of_many_launches_leaves_each_container_running_or_not_at_all(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path
) -> None:
    names = [f"c{number}" for number in range(200)]
    await doomed.launch(first="true")
    doomed.order(**dict.fromkeys(names, "sleep 1000"))
    assert doomed.process.stdout is not None
    await doomed.process.stdout.readline()
    await doomed.kill()
    async with successor(agent, *names) as (containers, found):
        running = [name for name in names if found[name].state == RecoveredState.RUNNING]
        assert len(running) > 0
        for name in running:
            assert processes_of(runtime_dir, name).task.exists()
        for name in set(names).difference(running):
            assert found[name].state == RecoveredState.UNKNOWN
        await asyncio.gather(*(containers.destroy(name) for name in names))


async def test_a_launch_under_way_when_the_agent_ends_is_taken_up_by_the_next_and_not_made_again(
    agent: Agent, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, started = launching.Launcher.launch, asyncio.Event()

    async def launch_and_report_late(launcher: launching.Launcher, order: Order) -> Processes:
        processes = await launch(launcher, order)
        started.set()
        await asyncio.Event().wait()
        return processes

    config = configure("exec sleep 1000")
    ending = agent()
    await ending.recover(())
    with monkeypatch.context() as patched:
        patched.setattr(launching.Launcher, "launch", launch_and_report_late)
        launching_it = asyncio.create_task(ending.launch(config))
        await started.wait()
        launching_it.cancel()
        with pytest.raises(asyncio.CancelledError):
            await launching_it
    await ending.close()
    async with successor(agent, config.container_id) as (_, found):
        assert found[config.container_id].state == RecoveredState.RUNNING


async def test_a_killed_launcher_takes_no_container_with_it_and_is_replaced(
    containers: PosixContainerizer, configure: Configure, until: Until, runtime_dir: Path
) -> None:
    before = configure("while [ ! -e go ]; do sleep 0.01; done; exit 8")
    await containers.launch(before)
    launcher = await containers._launchers.current()
    os.kill(launcher.pid, signal.SIGKILL)
    after = configure("exit 9")
    await containers.launch(after)
    assert (await containers._launchers.current()).pid != launcher.pid
    (before.sandbox / "go").touch()
    assert await containers.wait(before.container_id) == Termination(8 << 8)
    assert await containers.wait(after.container_id) == Termination(9 << 8)


async def test_launches_under_way_when_the_launcher_is_killed_are_made_by_the_next_one(
    containers: PosixContainerizer, configure: Configure
) -> None:
    configs = [configure("exit 3") for _ in range(50)]
    launches = [asyncio.create_task(containers.launch(config)) for config in configs]
    await asyncio.wait(launches, return_when=asyncio.FIRST_COMPLETED)
    os.kill((await containers._launchers.current()).pid, signal.SIGKILL)
    await asyncio.gather(*launches)
    assert {(await containers.wait(config.container_id)).wait_status for config in configs} == {3 << 8}


async def test_launches_ordered_of_a_launcher_that_hangs_are_made_by_the_next_one(
    containers: PosixContainerizer, configure: Configure, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    await containers.launch(configure("true"))
    launcher = await containers._launchers.current()
    os.kill(launcher.pid, signal.SIGSTOP)
    monkeypatch.setattr(launching, "LAUNCH_SECS_MAX", 0.2)
    hanging = asyncio.create_task(containers.launch(configure("exit 3", container_id="hanging")))
    await until(lambda: bool(launcher._pending))
    monkeypatch.setattr(launching, "LAUNCH_SECS_MAX", 30.0)  # of the next one, on whatever machine
    await hanging
    assert await containers.wait("hanging") == Termination(3 << 8)
    assert (await containers._launchers.current()).pid != launcher.pid


async def test_launches_are_overdue_for_the_launcher_alone_and_not_for_those_before_them(
    containers: PosixContainerizer, configure: Configure, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "ORDERS_MAX", 2)
    launcher = await containers._launchers.current()
    os.kill(launcher.pid, signal.SIGSTOP)
    launches = [asyncio.create_task(containers.launch(configure("exit 3"))) for _ in range(5)]
    await until(lambda: all(container.folder.path.exists() for container in containers._containers.values()))
    await until(lambda: len(launcher._pending) == 2)
    assert launcher._tokens == 2  # the clock of the other three does not run yet
    os.kill(launcher.pid, signal.SIGCONT)
    launched = await asyncio.gather(*launches)
    assert {(await containers.wait(each.container_id)).wait_status for each in launched} == {3 << 8}
    assert (await containers._launchers.current()) is launcher


DAEMON = "(setsid sh -c 'setsid sleep 1000 & echo $! > daemon' &) ; while [ ! -s daemon ]; do sleep 0.01; done; "


def daemon_of(config: ContainerConfig) -> ProcessId:
    found = read_process(int((config.sandbox / "daemon").read_text()))
    assert found is not None
    return found.id


async def test_a_task_whose_monitor_is_killed_is_killed_too_and_ends_without_a_status(
    containers: PosixContainerizer, configure: Configure, until: Until, runtime_dir: Path
) -> None:
    config, other = (
        configure(DAEMON + "echo up; sleep 1000"),
        configure("while [ ! -e go ]; do sleep 0.01; done; exit 2"),
    )
    await containers.launch(config)
    await containers.launch(other)
    await until(lambda: config.stdout.read_text() == "up\n")
    processes, daemon = processes_of(runtime_dir, config.container_id), daemon_of(config)
    processes.monitor.signal(signal.SIGKILL)
    termination = await containers.wait(config.container_id)
    assert termination.wait_status is None
    assert "killed" in termination.message
    assert not processes.task.exists()
    assert not daemon.exists()

    (other.sandbox / "go").touch()
    assert await containers.wait(other.container_id) == Termination(2 << 8)


async def test_a_monitor_killed_while_no_agent_runs_is_made_up_for_by_the_next_agent(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path, until: Until, tmp_path: Path
) -> None:
    await doomed.launch(task=DAEMON + "sleep 1000")
    marker = tmp_path / "work/runs/task/daemon"
    await until(lambda: marker.exists() and marker.read_text() != "")
    daemon = read_process(int(marker.read_text()))
    assert daemon is not None
    processes = processes_of(runtime_dir, "task")
    await doomed.kill()
    processes.monitor.signal(signal.SIGKILL)
    await until(lambda: not processes.monitor.exists())
    async with successor(agent, "task") as (_, found):
        assert found["task"].state == RecoveredState.ENDED
        assert found["task"].termination is not None
        assert found["task"].termination.wait_status is None
        assert not processes.task.exists()
        assert not daemon.id.exists()


async def test_a_monitor_that_is_stopped_does_not_keep_its_container_from_being_destroyed(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzo_agent.containers.posix.supervision.DESTROY_SECS_MAX", 0.05)
    config = configure("sleep 1000")
    await containers.launch(config)
    processes = processes_of(runtime_dir, config.container_id)
    processes.monitor.signal(signal.SIGSTOP)
    await containers.destroy(config.container_id)
    assert not processes.monitor.exists()
    assert not processes.task.exists()


async def test_a_container_that_was_ordered_but_never_started_never_will(
    agent: Agent, runtime_dir: Path, tmp_path: Path
) -> None:
    folder = RuntimeFolder.of_launch(runtime_dir, "late")
    record = {"container_id": "late", "sandbox": str(tmp_path), "allowance": {}}
    folder.create(json.dumps(record).encode())
    async with successor(agent, "late") as (containers, found):
        assert found["late"].state == RecoveredState.UNKNOWN
        # The order was still in the pipe of the old launcher; it is obeyed only now.
        order = Order(folder.path, "/bin/sh", ("sh", "-c", "touch ran"), {}, tmp_path)
        with pytest.raises(StartError, match="launch cancelled before the container started"):
            await (await containers._launchers.current()).launch(order)
        containers.forget("late")
        with pytest.raises(StartError, match="launch cancelled before the container started"):
            await (await containers._launchers.current()).launch(order)
        assert not (tmp_path / "ran").exists()


async def test_a_pid_that_the_kernel_gave_to_somebody_else_is_left_alone(
    agent: Agent, runtime_dir: Path, tmp_path: Path
) -> None:
    somebody = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    try:
        found = read_process(somebody.pid)
        assert found is not None
        earlier = f"{somebody.pid}.{found.start_time - 1}"
        folder = RuntimeFolder.of_launch(runtime_dir, "gone")
        record = {"container_id": "gone", "sandbox": str(tmp_path / "sandbox"), "allowance": {}}
        folder.create(json.dumps(record).encode())
        (folder.path / "processes").symlink_to(f"{earlier}-{earlier}")
        runtime_dir.joinpath("boot_id").write_text(BOOT_ID.read_text())
        async with successor(agent, "gone") as (containers, recovered):
            assert recovered["gone"].state == RecoveredState.ENDED
            await containers.destroy("gone")
        assert found.id.exists()
    finally:
        somebody.kill()
        await somebody.wait()


async def test_after_a_restart_of_the_machine_no_pid_is_believed(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path, until: Until
) -> None:
    await doomed.launch(ended="exit 4", running="sleep 1000")
    await until(lambda: folder_of(runtime_dir, "ended").exit() is not None)
    running = processes_of(runtime_dir, "running")
    await doomed.kill()
    (runtime_dir / "boot_id").write_text("another boot\n")
    containers = agent()
    try:
        found = await containers.recover(["ended", "running"])
        assert found["ended"].termination == Termination(4 << 8)
        assert found["running"].termination is not None
        assert found["running"].termination.wait_status is None
        assert "rebooted" in found["running"].termination.message
        assert running.task.exists()  # for all that the agent knows it is somebody else's
    finally:
        running.monitor.signal(signal.SIGTERM)
        await until(lambda: not running.monitor.exists())
        await containers.close()


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def damage_record(folder: RuntimeFolder) -> None:
    flip_a_bit(folder.path / "container")


def lose_record(folder: RuntimeFolder) -> None:
    (folder.path / "container").unlink()


def empty_record(folder: RuntimeFolder) -> None:
    (folder.path / "container").write_bytes(b"")


def damage_processes(folder: RuntimeFolder) -> None:
    (folder.path / "processes").unlink()
    (folder.path / "processes").symlink_to("12.34-5b.67")


@pytest.mark.parametrize("damage", [damage_record, lose_record, empty_record, damage_processes])
async def test_a_damaged_runtime_folder_ends_its_own_container_and_no_other(
    doomed: AgentProcess,
    agent: Agent,
    runtime_dir: Path,
    until: Until,
    tmp_path: Path,
    damage: Callable[[RuntimeFolder], None],
) -> None:
    name, other = str(uuid4()), str(uuid4())
    pids = await doomed.launch(**{name: DAEMON + "sleep 1000", other: "sleep 1000"})
    marker = tmp_path / "work/runs" / name / "daemon"
    await until(lambda: marker.exists() and marker.read_text() != "")
    daemon = read_process(int(marker.read_text()))
    assert daemon is not None
    processes = processes_of(runtime_dir, name)
    await doomed.kill()
    damage(folder_of(runtime_dir, name))
    async with successor(agent, name, other) as (containers, found):
        assert found[name].state == RecoveredState.ENDED
        termination = found[name].termination
        assert termination is not None
        assert "damaged" in termination.message
        assert not processes.task.exists()
        assert not daemon.id.exists()
        assert found[other] == RecoveredContainer(other, RecoveredState.RUNNING, pids[other])
        await until(lambda: not processes.monitor.exists())
        containers.forget(name)


async def test_a_boot_id_that_is_damaged_ends_no_container(
    doomed: AgentProcess, agent: Agent, runtime_dir: Path
) -> None:
    pids = await doomed.launch(task="sleep 1000")
    await doomed.kill()
    flip_a_bit(runtime_dir / "boot_id")
    async with successor(agent, "task") as (_, found):
        assert found["task"] == RecoveredContainer("task", RecoveredState.RUNNING, pids["task"])


def test_the_boot_is_remembered_once_so_that_a_full_disk_keeps_no_agent_from_starting(runtime_dir: Path) -> None:
    runtime_dir.mkdir()
    remember_boot(runtime_dir)
    first = (runtime_dir / "boot_id").stat().st_ino
    remember_boot(runtime_dir)
    assert (runtime_dir / "boot_id").stat().st_ino == first
    flip_a_bit(runtime_dir / "boot_id")
    remember_boot(runtime_dir)
    assert same_boot(runtime_dir)


async def test_the_runtime_folder_is_nobody_elses_to_read(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path
) -> None:
    before = os.umask(0)
    try:
        config = configure("sleep 1000")
        await containers.launch(config)
    finally:
        os.umask(before)
    for path in (runtime_dir, runtime_dir / "containers", folder_of(runtime_dir, config.container_id).path):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (runtime_dir / "launcher.log").stat().st_mode & 0o777 == 0o600
    assert (runtime_dir / "boot_id").stat().st_mode & 0o777 == 0o600


async def test_an_exit_status_that_is_damaged_is_no_status(runtime_dir: Path) -> None:
    folder = RuntimeFolder.of_launch(runtime_dir, "c1")
    folder.create(b"")
    (folder.path / "exit").symlink_to("25f\n")
    found = folder.exit()
    assert found is not None
    assert found.wait_status is None
    assert "damaged" in found.message


async def test_a_runtime_folder_that_cannot_be_removed_ends_neither_this_agent_nor_the_next(
    containers: PosixContainerizer, configure: Configure, agent: Agent, runtime_dir: Path
) -> None:
    config = configure("true")
    await containers.launch(config)
    await containers.wait(config.container_id)
    (folder_of(runtime_dir, config.container_id).path / "in the way").mkdir()
    containers.forget(config.container_id)
    with pytest.raises(NotFound):
        await containers.wait(config.container_id)
    async with successor(agent) as (_, found):
        assert found == {}


async def test_an_exit_status_that_cannot_be_written_at_once_is_written_later(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path, until: Until
) -> None:
    config = configure("while [ ! -e go ]; do sleep 0.01; done; exit 6")
    await containers.launch(config)
    obstacle = folder_of(runtime_dir, config.container_id).path / "exit"
    obstacle.mkdir()
    (config.sandbox / "go").touch()
    await until(lambda: "trying again" in (runtime_dir / "launcher.log").read_text())
    obstacle.rmdir()
    assert await containers.wait(config.container_id) == Termination(6 << 8)
