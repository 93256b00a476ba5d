"""The composition root: builds the agent out of its parts, and runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mezzo.backoff import Backoff
from mezzo.errors import MezzoError
from mezzo_agent import __version__
from mezzo_agent.adapters import detection
from mezzo_agent.config import Config
from mezzo_agent.containers import factory
from mezzo_agent.containers.gc import GarbageCollector
from mezzo_agent.core import Settings, environment
from mezzo_agent.metrics import AgentMetrics
from mezzo_agent.ports import Containerizer
from mezzo_agent.servers import Servers
from mezzo_agent.shell.agent_runtime import AgentRuntime
from mezzo_agent.shell.registry_session import RegistrySession
from mezzo_chassis import lifecycle, log
from mezzo_chassis.build import MESOS_VERSION
from mezzo_chassis.config import load
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.leadership import detector_of

RESTART_SECONDS_MIN, RESTART_SECONDS_MAX = 1.0, 30.0
"""From the end of an agent to the next one in the same process: longer each time, until one has lasted."""
SETTLED_SECONDS = 60.0
"""An agent that lasted as long was sound: what ended it is another failure than the last."""
RESTARTS_VARIABLE = "MEZZO_RESTARTS_ON_DEFECT"
"""Tells the next agent in this process how many have ended before it, none of which has lasted."""
LEAVE_SIGNAL = signal.SIGUSR1
"""As Mesos' agent: end everything, and leave the cluster for good."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run an agent until it is told to stop; its containers run on. Returns the exit code."""
    config = load(Config, argv, service="agent", version=__version__)
    log.configure("agent", config.log_level, config.log_format)
    began = time.monotonic()
    code = lifecycle.run(lambda life: serve(config, life), service="agent", signals=(LEAVE_SIGNAL,))
    if code == Exit.DEFECT and config.restart_on_defect:
        _restart(time.monotonic() - began)
    return code


def _restart(lasted_seconds: float) -> NoReturn:
    """Another agent takes the place of this one in its process. Nothing of its memory or of its files is left."""
    time.sleep(restart_seconds(lasted_seconds))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)  # noqa: S606  there is nothing for a shell to do


def restart_seconds(lasted_seconds: float) -> float:
    """How long to wait for the next agent; it is told how many there were."""
    backoff = Backoff(RESTART_SECONDS_MIN, RESTART_SECONDS_MAX)
    if lasted_seconds < SETTLED_SECONDS:
        backoff.attempts = int(os.environ.get(RESTARTS_VARIABLE, "0"))
    seconds = next(backoff)
    os.environ[RESTARTS_VARIABLE] = str(backoff.attempts)
    return seconds


async def serve(
    config: Config,
    life: lifecycle.Lifecycle,
    *,
    containerizer: Containerizer | None = None,
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve until `life` says stop, or the agent itself is to end. `ready` is called once it has recovered and answers.

    Raises:
        StartupError: a port or the work_dir is in use, a flag makes no sense, what runs does not fit the flags, or a
            defect has ended the agent.
    """
    # What may be wrong with the flags comes first, then what may be in the way of the servers.
    agent_info = detection.agent_info(config)
    containers = containerizer or _containerizer(config)
    detector = detector_of(config.master, session_timeout_seconds=config.zk_session_timeout)
    metrics = AgentMetrics(__version__)
    servers = Servers(config, metrics)
    await servers.bind()
    agent_info.port = config.advertise_port or servers.http_port
    session = RegistrySession(detector, retry_seconds_max=config.registration_backoff_factor)
    runtime = AgentRuntime(
        settings(config, servers.http_port, servers.grpc_port),
        agent_info,
        containers,
        session,
        GarbageCollector(config.gc_delay, config.gc_disk_headroom),
        metrics,
        config.fetcher_cache_size,
    )
    try:
        await runtime.recover(strict=config.strict)
        metrics.follow(runtime.numbers)
        if config.recover == "cleanup":
            await runtime.remove_agent("--recover=cleanup")
            await _ended(runtime, life)
            return
        await servers.open(runtime)
        await detector.start()
        life.spawn(runtime.run_session(), "registry session")
        life.spawn(servers.announce(session.registered), "health")
        life.spawn(runtime.collect_garbage(config.disk_watch_interval), "garbage collection")
        life.spawn(metrics.process.watch(), "process metrics")
        ready()
        await _ended(runtime, life)
        if life.signal is LEAVE_SIGNAL:
            await runtime.remove_agent("SIGUSR1")
            over: set[asyncio.Future[Any]] = {runtime.ended, runtime.failed}
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            if runtime.ended.done():
                await runtime.finish_removal(runtime.ended.result())
    except MezzoError:
        if not runtime.failed.done():
            raise
    finally:
        runtime.streams.close_all()  # otherwise the servers wait for executors that go on listening
        await servers.close()
        await runtime.close()
        await detector.close()
    if runtime.failed.done():
        raise StartupError(
            Exit.DEFECT, f"ended on a defect, to recover when it is started again: {runtime.failed.result()}"
        )


async def _ended(runtime: AgentRuntime, life: lifecycle.Lifecycle) -> None:
    """Wait until somebody says stop, or the core does, or a defect has ended that."""
    for over in (runtime.ended, runtime.failed):
        over.add_done_callback(lambda _: life.stop())
    await life.stopping.wait()
    if runtime.ended.done():
        order = runtime.ended.result()
        await runtime.finish_removal(order)
        if not order.forget:
            raise StartupError(Exit.INCOMPATIBLE_STATE, order.reason)


def settings(config: Config, http_port: int, grpc_port: int | None = None) -> Settings:
    """What the core is told of the flags."""
    return Settings(
        work_dir=config.work_dir,
        ip=detection.reachable_ip(config),
        port=config.advertise_port or http_port,
        domain_socket=config.domain_socket,
        grpc_port=grpc_port,
        version=__version__,
        mesos_version=MESOS_VERSION,
        switch_user=config.switch_user,
        base_environment=environment.base(config.executor_environment_variables),
        executor_registration_timeout=config.executor_registration_timeout,
        executor_reregistration_timeout=config.executor_reregistration_timeout,
        executor_shutdown_grace_period=config.executor_shutdown_grace_period,
        recovery_timeout=config.recovery_timeout,
        authenticate_executors=config.authenticate_http_executors,
        max_completed_executors_per_framework=config.max_completed_executors_per_framework,
    )


def _containerizer(config: Config) -> Containerizer:
    try:
        return factory.create(
            factory.ContainerizerConfig(
                work_dir=config.work_dir,
                runtime_dir=config.runtime_dir or config.work_dir / "run",
                isolation=config.isolation,
                switch_user=config.switch_user,
                frameworks_home=config.frameworks_home,
                fetcher_cache_dir=config.fetcher_cache_dir,
                fetcher_cache_size=config.fetcher_cache_size,
                fetcher_stall_timeout=config.fetcher_stall_timeout,
                max_stdout_size=config.max_stdout_size,
                max_stderr_size=config.max_stderr_size,
                max_stdout_files=config.max_stdout_files,
                max_stderr_files=config.max_stderr_files,
            )
        )
    except factory.UnknownIsolation as error:
        raise StartupError(Exit.BAD_CONFIGURATION, f"--isolation: {error}") from None
    except ValueError as error:
        raise StartupError(Exit.BAD_CONFIGURATION, str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
