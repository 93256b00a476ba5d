"""The POSIX containerizer: a task is a plain process in a session of its own.

It needs no privileges, and isolates nothing.

What it shares with the containerizers to come (sandboxes, fetching, logs, the launcher and its monitors) stands in the
modules beside this one; here it is put together as `mezzo_agent.ports.Containerizer`.
"""

import asyncio
import json
import os
import signal as signals
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import structlog

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest, NotFound, shorten
from mezzo.resources import Resources
from mezzo.validation.identifiers import check_id
from mezzo_agent.adapters.users import Credentials, UnknownUser, UserNotPermitted, check_permitted, current_user
from mezzo_agent.containers import sandbox
from mezzo_agent.containers.logs import LogRotation
from mezzo_agent.containers.posix import runtime
from mezzo_agent.containers.posix.command import InvalidCommand, program_of, rlimits_of
from mezzo_agent.containers.posix.launching import LauncherDied, Launchers, Order, StartError
from mezzo_agent.containers.posix.processes import NO_PROCESS
from mezzo_agent.containers.posix.runtime import DamagedFile, Exit, Processes, RuntimeFolder
from mezzo_agent.containers.posix.supervision import Supervision, kill_orphans
from mezzo_agent.containers.posix.usage import Allowance, UsageMeter
from mezzo_agent.containers.retries import retry
from mezzo_agent.fetching.fetcher import Fetcher, FetchError
from mezzo_agent.ports import (
    ContainerConfig,
    ContainerId,
    Launched,
    LaunchError,
    RecoveredContainer,
    RecoveredState,
    Termination,
    reason_of,
)
from mezzo_chassis import trace

_log = structlog.get_logger(__name__)

ENDED_CONTAINERS_MAX = 1000
"""How many ended containers are remembered, should the agent die before it has made use of how they ended."""
LAUNCH_ATTEMPTS_MAX = 3
REBOOTED = "the machine was rebooted while the task ran, or --runtime_dir has changed"
NEVER_STARTED = "the agent ended before the task was started"
DAMAGED = "the runtime folder of the container is damaged; the container was killed"


@dataclass(frozen=True, slots=True)
class _Record:
    """What the next agent has to know of a container that this one launched."""

    container_id: ContainerId
    sandbox: Path
    allowance: Allowance

    def encode(self) -> bytes:
        allowance = {name: getattr(self.allowance, name) for name in Allowance.__slots__}
        record = {"container_id": self.container_id, "sandbox": str(self.sandbox), "allowance": allowance}
        return json.dumps(record).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            DamagedFile: it cannot be read.
        """
        try:
            record: dict[str, Any] = json.loads(data)
            return cls(record["container_id"], Path(record["sandbox"]), Allowance(**record["allowance"]))
        except (ValueError, LookupError, TypeError) as error:
            raise DamagedFile(f"the record of a container cannot be read: {reason_of(error)}") from None


@dataclass(slots=True, eq=False)
class _Container:
    id: ContainerId
    folder: RuntimeFolder
    sandbox: Path
    allowance: Allowance = field(default_factory=Allowance)
    termination: asyncio.Future[Termination] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    starting: asyncio.Task[Processes] | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    supervision: Supervision | None = None
    supervising: asyncio.Task[None] | None = None


@dataclass(slots=True)
class ContainerCounts:
    """Since the agent started; the names are those of Mesos' metrics."""

    destroy_errors: int = 0
    fetches_succeeded: int = 0
    fetches_failed: int = 0


class PosixContainerizer:
    """Implements `mezzo_agent.ports.Containerizer`. Call `recover` first, and `close` last."""

    def __init__(
        self,
        runtime_dir: Path,
        *,
        fetcher: Fetcher,
        logs: LogRotation,
        meter: UsageMeter,
        switch_user: bool = True,
    ) -> None:
        """`runtime_dir` outlives the agent, and belongs to it alone. With `switch_user`, an agent that is
        not root runs what its own user may, and nothing else; without it, everything runs as the agent's user.
        """
        self._runtime_dir = runtime_dir
        self._fetcher = fetcher
        self._logs = logs
        self._meter = meter
        self._switch_user = switch_user
        self._launchers = Launchers(runtime_dir)
        self._containers: dict[ContainerId, _Container] = {}
        self._ended: OrderedDict[ContainerId, None] = OrderedDict()
        self._rotating: asyncio.Task[None] | None = None
        self.counts = ContainerCounts()

    # --- launching

    async def launch(self, config: ContainerConfig) -> Launched:
        """See `Containerizer`. Several at a time are launched side by side."""
        if config.container_id in self._containers:
            raise _launch_error(f"container '{config.container_id}' already exists")
        folder = RuntimeFolder.of_launch(self._runtime_dir, config.container_id)
        try:
            check_id(config.container_id, "container_id")
            check_id(runtime.new_name(folder.path), "container_id")
        except InvalidRequest as error:
            raise _launch_error(str(error)) from None
        trace.hop("launch begins", config.container_id)
        container = _Container(config.container_id, folder, config.sandbox)
        self._containers[container.id] = container
        container.starting = asyncio.create_task(self._start(container, config))
        try:
            processes = await container.starting
            trace.hop("start seen", container.id)
            self._supervise(container, processes)
        except BaseException as error:
            message = _why_not(error)
            if message is None:
                # The agent ends, and leaves the launch as if it had been killed: its task may run by now, and the next
                # agent takes it up, or makes sure that it never starts. Undone it would look like one to be made again.
                raise
            left = await self._undo(container)
            if left is not None:
                message += f"; what was left of it could not be removed: {reason_of(left)}"
            raise _launch_error(message) from error
        finally:
            container.starting = None
            container.settled.set()
        return Launched(container.id, processes.task.pid)

    async def _start(self, container: _Container, config: ContainerConfig) -> Processes:
        container.allowance = Allowance.of(config.resources, config.limits)
        program, argv = program_of(config.command)
        rlimits = rlimits_of(config.container.rlimit_info) if config.container is not None else ()
        credentials = await self._credentials(config.user)
        try:
            sandbox.create(config.sandbox, credentials)
        except OSError as error:
            raise StartError(f"cannot make the sandbox '{config.sandbox}': {error.strerror}") from error
        container.folder.create(_Record(container.id, config.sandbox, container.allowance).encode())
        if config.command.uris:
            await self._fetch(config, credentials)
        environment = dict(config.environment)
        order = Order(container.folder.path, program, argv, environment, config.sandbox, credentials, rlimits)
        trace.hop("folders made", container.id)
        for _ in range(LAUNCH_ATTEMPTS_MAX):
            launcher = await self._launchers.current()
            try:
                return await launcher.launch(order)
            except LauncherDied:
                if container.folder.processes() is not None:
                    raise  # its monitor was killed too, halfway
        raise LauncherDied(f"the launcher died in each of {LAUNCH_ATTEMPTS_MAX} attempts")

    async def _credentials(self, user: str | None) -> Credentials | None:
        if not self._switch_user or user is None:
            return None
        credentials = await asyncio.to_thread(Credentials.of, user)
        check_permitted(user, credentials)
        return credentials if os.geteuid() == 0 else None

    async def _fetch(self, config: ContainerConfig, credentials: Credentials | None) -> None:
        user = config.user if credentials is not None and config.user is not None else current_user()
        try:
            await self._fetcher.fetch(config.command.uris, config.sandbox, user, credentials)
        except FetchError:
            self.counts.fetches_failed += 1
            raise
        self.counts.fetches_succeeded += 1

    async def _undo(self, container: _Container) -> Exception | None:
        """Make sure that a container whose launch has failed neither runs nor ever will.

        Returns what kept it from that: the next agent destroys what is left, as it does what nobody asks for.
        """
        failure = await retry(lambda: self._remove_unstarted(container), "undo launch", container.id)
        if failure is not None:
            self.counts.destroy_errors += 1
        del self._containers[container.id]
        return failure

    async def _remove_unstarted(self, container: _Container) -> None:
        with suppress(FileNotFoundError):  # it had not come as far as a folder
            if not container.folder.abandon():
                processes = container.folder.processes()
                if processes is not None:
                    supervision = Supervision(container.folder, processes, str(container.sandbox))
                    await supervision.destroy()
                    await supervision.wait()
            container.folder.remove()

    # --- what becomes of it

    def _supervise(self, container: _Container, processes: Processes) -> None:
        container.supervision = Supervision(container.folder, processes, str(container.sandbox))
        self._logs.watch(container.id, container.sandbox, processes.monitor)
        container.supervising = asyncio.create_task(self._see_out(container, container.supervision))

    async def _see_out(self, container: _Container, supervision: Supervision) -> None:
        try:
            found = await supervision.wait()
            trace.hop("end seen", container.id)
        except Exception as error:  # noqa: BLE001  whoever waits for the container must learn of its end
            _log.exception("cannot determine how a container ended", container_id=container.id)
            self.counts.destroy_errors += 1
            found = Exit(None, f"cannot determine how the task ended: {reason_of(error)}")
        if supervision.survivors:
            self.counts.destroy_errors += 1
        self._end(container, Termination(found.wait_status, found.message))

    def _end(self, container: _Container, termination: Termination) -> None:
        self._logs.forget(container.id)
        container.termination.set_result(termination)
        self._ended[container.id] = None
        while len(self._ended) > ENDED_CONTAINERS_MAX:
            self.forget(next(iter(self._ended)))

    async def wait(self, container_id: ContainerId) -> Termination:
        """See `Containerizer`.

        Raises:
            NotFound: the container is not known.
        """
        return await asyncio.shield(self._container(container_id).termination)

    async def kill(self, container_id: ContainerId, signal: int) -> None:
        """See `Containerizer`. A container that has not started is destroyed instead.

        Raises:
            NotFound: the container is not known.
        """
        container = self._container(container_id)
        if signal == signals.SIGKILL or container.supervision is None:
            await self.destroy(container_id)
        elif container.supervision.running:
            container.supervision.kill(signal)

    async def destroy(self, container_id: ContainerId) -> None:
        """See `Containerizer`. How it ended stays known. One that is unknown, or has ended, is no error."""
        container = self._containers.get(container_id)
        if container is None:
            return
        if container.starting is not None:
            container.starting.cancel()
            await container.settled.wait()
        if container.supervision is not None:
            await container.supervision.destroy()
            await asyncio.shield(container.termination)

    def forget(self, container_id: ContainerId) -> None:
        """Drop what is remembered of a container that has ended: its end has been made use of."""
        container = self._containers.get(container_id)
        if container is not None and container.termination.done():
            del self._containers[container_id]
            self._ended.pop(container_id, None)
            try:
                container.folder.remove()
            except OSError as error:
                # The next agent removes what is left of it.
                _log.warning("cannot remove a runtime folder", folder=str(container.folder.path), error=str(error))

    # --- what is known of it

    async def usage(self, container_id: ContainerId) -> mesos.ResourceStatistics:
        """See `Containerizer`.

        Raises:
            NotFound: the container is not known, or is not running.
        """
        container = self._container(container_id)
        if container.supervision is None or not container.supervision.running:
            raise NotFound(f"container '{container_id}' is not running")
        return await self._meter.measure(container.supervision.processes.monitor.pid, container.allowance)

    async def status(self, container_id: ContainerId) -> mesos.ContainerStatus:
        """See `Containerizer`.

        Raises:
            NotFound: the container is not known.
        """
        container = self._container(container_id)
        status = mesos.ContainerStatus(container_id=mesos.ContainerID(value=container_id))
        if container.supervision is not None:
            status.executor_pid = container.supervision.processes.task.pid
        return status

    async def update(self, container_id: ContainerId, resources: Resources) -> None:
        """See `Containerizer`. Nothing is enforced here: it changes what usage is compared with.

        Raises:
            NotFound: the container is not known.
        """
        container = self._container(container_id)
        container.allowance = Allowance.of(resources, {})
        container.folder.replace_record(_Record(container.id, container.sandbox, container.allowance).encode())

    @property
    def fetcher_cache_bytes_used(self) -> int:
        return self._fetcher.cache_bytes_used

    def _container(self, container_id: ContainerId) -> _Container:
        try:
            return self._containers[container_id]
        except KeyError:
            raise NotFound(f"unknown container '{container_id}'") from None

    # --- across restarts

    async def recover(self, checkpointed: Iterable[ContainerId]) -> dict[ContainerId, RecoveredContainer]:
        """See `Containerizer`."""
        self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._fetcher.open()
        wanted = set(checkpointed)
        same_boot = self._same_boot()
        found = dict.fromkeys(wanted, RecoveredState.UNKNOWN)
        orphans = []
        for folder in runtime.containers(self._runtime_dir):
            try:
                container_id, state = self._adopt(folder, same_boot)
            except (DamagedFile, FileNotFoundError) as error:
                _log.error("damaged runtime folder", folder=str(folder.path), error=str(error))
                container_id, state = folder.container_id, RecoveredState.ENDED
                await self._end_damaged(folder, same_boot, str(error))
            if container_id in wanted:
                found[container_id] = state
            else:
                orphans.append(container_id)
        runtime.remember_boot(self._runtime_dir)
        await asyncio.gather(*map(self._destroy_and_forget, orphans))
        self._rotating = asyncio.create_task(self._logs.run())
        return {container_id: await self._recovered(container_id, state) for container_id, state in found.items()}

    def _same_boot(self) -> bool:
        try:
            return runtime.same_boot(self._runtime_dir)
        except DamagedFile as error:
            # Then the processes decide: a pid with its start time is hardly given again, even after a restart.
            _log.warning("cannot determine whether the machine was rebooted", error=str(error))
            return True

    def _adopt(self, folder: RuntimeFolder, same_boot: bool) -> tuple[ContainerId, RecoveredState]:
        """Watch the container of a folder that an earlier agent left, and say what it does.

        Raises:
            DamagedFile, FileNotFoundError: a file of the folder is damaged or missing; nothing has been
                done.
        """
        record = _Record.decode(folder.record())
        processes = folder.processes()
        if processes is None and not folder.abandon():
            processes = folder.processes()  # an order that was on its way has been obeyed just now
        container = _Container(record.container_id, folder, record.sandbox, record.allowance)
        self._containers[container.id] = container
        if processes is None:
            self._end(container, Termination(None, NEVER_STARTED))
            return container.id, RecoveredState.UNKNOWN
        if not same_boot:
            # Pids of before the restart say nothing about the processes of now.
            ended = folder.exit() or Exit(None, REBOOTED)
            self._end(container, Termination(ended.wait_status, ended.message))
            return container.id, RecoveredState.ENDED
        self._supervise(container, processes)
        return container.id, RecoveredState.RUNNING

    async def _end_damaged(self, folder: RuntimeFolder, same_boot: bool, why: str) -> None:
        folder.abandon()
        try:
            processes = folder.processes() if same_boot else None
        except DamagedFile:
            processes = None
        task = NO_PROCESS if processes is None else processes.task
        await asyncio.to_thread(kill_orphans, task, _mark_of(folder.container_id))
        container = _Container(folder.container_id, folder, folder.path)
        self._containers[container.id] = container
        self._end(container, Termination(None, f"{DAMAGED}: {why}"))

    async def _recovered(self, container_id: ContainerId, state: RecoveredState) -> RecoveredContainer:
        container = self._containers.get(container_id)
        if container is None or state == RecoveredState.UNKNOWN:
            return RecoveredContainer(container_id, RecoveredState.UNKNOWN)
        if container.supervision is not None and container.supervision.running:
            return RecoveredContainer(container_id, state, container.supervision.processes.task.pid)
        termination = await asyncio.shield(container.termination)
        return RecoveredContainer(container_id, RecoveredState.ENDED, termination=termination)

    async def _destroy_and_forget(self, container_id: ContainerId) -> None:
        await self.destroy(container_id)
        self.forget(container_id)

    async def close(self) -> None:
        """See `Containerizer`."""
        containers = self._containers.values()
        working = (self._rotating, *(c.supervising for c in containers), *(c.starting for c in containers))
        tasks: list[asyncio.Future[Any]] = [task for task in working if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for container in containers:
            if container.supervision is not None:
                container.supervision.close()
        await self._launchers.close()
        await self._fetcher.close()


def _mark_of(container_id: ContainerId) -> str:
    """What the environment of a container's processes holds when its sandbox is not known: the end of that path.

    Only an id that nobody else uses will do; for any other nothing is searched.
    """
    try:
        return f"/{UUID(container_id)}\0"
    except ValueError:
        return ""


def _why_not(error: BaseException) -> str | None:
    """What to say of a launch that failed; None if it is not the launch that failed, but we or our caller."""
    if isinstance(error, asyncio.CancelledError):
        caller = asyncio.current_task()
        cancelled = caller is not None and caller.cancelling() > 0
        return None if cancelled else "the container was destroyed before its task had started"
    if isinstance(
        error, (InvalidCommand, UnknownUser, UserNotPermitted, FetchError, StartError, LauncherDied, OSError)
    ):
        return str(error)
    if isinstance(error, Exception):
        _log.error("launch failed with an unexpected error", exc_info=error)
        return reason_of(error)
    return None


def _launch_error(message: str) -> LaunchError:
    return LaunchError(mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED, shorten(message))
