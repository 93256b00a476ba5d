"""What `mezzo local` does: start a cluster, run a few tasks on it, and end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal

from rich.text import Text

from mezzo.cli import exit_codes
from mezzo.cli.cluster import Cluster, ClusterError, Layout, PortInUse
from mezzo.cli.demo import run_tasks
from mezzo.cli.errors import print_error
from mezzo.cli.output import console

screen = console()


def run(layout: Layout, *, tasks: int, once: bool) -> int:
    """Keep a cluster up until Ctrl-C (or SIGTERM, or SIGHUP), or until its tasks have ended; returns an exit code."""
    try:
        layout.choose_ports()
        return asyncio.run(_run(layout, tasks=tasks, once=once))
    except ClusterError as error:
        print_error(str(error))
        return exit_codes.PORT_IN_USE if isinstance(error, PortInUse) else exit_codes.FAILED


async def _run(layout: Layout, *, tasks: int, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    cluster = Cluster(layout)
    try:
        work = asyncio.create_task(_serve(cluster, tasks=tasks, once=once))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            stopped.cancel()
            return work.result()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return 0
    finally:
        with contextlib.suppress(OSError):  # after a SIGHUP the terminal is gone
            screen.print("\nEnding the cluster …")
        await cluster.stop()


async def _serve(cluster: Cluster, *, tasks: int, once: bool) -> int:
    screen.print(Text.assemble(("Mezzo", "bold"), " is starting on this machine"))
    await cluster.start(_print_started)
    layout = cluster.layout
    url = f"http://{layout.address('gateway')}"
    if os.geteuid() != 0:
        screen.print(f"  Tasks run as {_user()}, whichever user they name: only an agent that is root can switch users")
    keeping_up = asyncio.create_task(cluster.keep_up(_print_ended))
    using = asyncio.create_task(_use(layout, url, tasks=tasks, once=once))
    try:
        done, _ = await asyncio.wait({keeping_up, using}, return_when=asyncio.FIRST_COMPLETED)
        if using in done and (once or using.exception() is not None):
            return using.result()
        await keeping_up
        return exit_codes.FAILED
    finally:
        for task in (keeping_up, using):
            task.cancel()


async def _use(layout: Layout, url: str, *, tasks: int, once: bool) -> int:
    """Run the first tasks, and say what can be done next. Returns an exit code."""
    failed = await run_tasks(url, tasks, screen) if tasks else 0
    if once:
        return exit_codes.FAILED if failed else 0
    screen.print(
        Text.assemble(
            *("\nThe API is at ", (url, "bold"), f", the agent at http://{layout.address('agent')}"),
            f"\nState, sandboxes and logs are in {layout.work_dir}",
            *("\nTry, in another terminal:  ", (f"mezzo --api {layout.address('gateway')} run -- echo hello", "bold")),
            "\nCtrl-C ends the cluster.",
        )
    )
    return 0


def _print_ended(service: str, code: int) -> None:
    screen.print(f"  The {service} exited with code {code}, and is started again")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _print_started(service: str, address: str) -> None:
    screen.print(Text.assemble("  ", ("✓", "green"), f" {service:<10} {address}"))
