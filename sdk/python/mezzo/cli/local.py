"""`mezzo local`: a whole cluster on this machine, with a first few tasks run on it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mezzo.cli.api import complain
from mezzo.cli.cluster import Cluster, ClusterError, Layout
from mezzo.cli.demo import run_tasks
from mezzo.cli.output import console

EXIT_FAILED = 1

screen = console()


def default_work_dir() -> Path:
    """The folder of this user's local cluster, by the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "mezzo"


def local(
    port: Annotated[int, typer.Option(help="Where the gateway serves HTTP.")] = 5050,
    agent_port: Annotated[int, typer.Option(help="Where the agent serves HTTP.")] = 5051,
    ip: Annotated[str, typer.Option(help="The address that everything listens on.")] = "127.0.0.1",
    work_dir: Annotated[
        Path | None, typer.Option(help="Where state, sandboxes and logs are kept.", show_default="~/.local/state/mezzo")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Start in a new folder, which goes when the cluster ends.")] = False,
    resources: Annotated[str, typer.Option(help="What the agent offers, as in cpus:4;mem:8192.")] = "",
    tasks: Annotated[int, typer.Option(help="How many tasks to run to begin with.", min=0)] = 20,
    once: Annotated[bool, typer.Option(help="End when those tasks have ended.")] = False,
) -> None:
    """Start a whole cluster on this machine, run twenty tasks on it, and keep it up until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="mezzo-") as scratch:
        folder = Path(scratch) if fresh else work_dir or default_work_dir()
        layout = Layout(work_dir=folder.resolve(), ip=ip, gateway_port=port, agent_port=agent_port, resources=resources)
        try:
            code = asyncio.run(_run(layout, tasks=tasks, once=once))
        except ClusterError as error:
            complain(str(error))
            raise typer.Exit(EXIT_FAILED) from None
    raise typer.Exit(code)


async def _run(layout: Layout, *, tasks: int, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
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
        screen.print("\nEnding the cluster …")
        await cluster.stop()


async def _serve(cluster: Cluster, *, tasks: int, once: bool) -> int:
    screen.print(Text.assemble(("Mezzo", "bold"), " is starting on this machine"))
    await cluster.start(_tell_of)
    layout = cluster.layout
    url = f"http://{layout.address('gateway')}"
    failed = await run_tasks(url, tasks, screen) if tasks else 0
    if once:
        return EXIT_FAILED if failed else 0
    screen.print(
        Text.assemble(
            *("\nThe API is at ", (url, "bold"), f", the agent at http://{layout.address('agent')}"),
            f"\nState, sandboxes and logs are in {layout.work_dir}",
            *("\nTry, in another terminal:  ", (f"mezzo --api {layout.address('gateway')} run -- echo hello", "bold")),
            "\nCtrl-C ends the cluster.",
        )
    )
    ended = await cluster.wait()
    raise ClusterError(f"the {ended} has ended; see {cluster.log_of(ended)}")


def _tell_of(service: str, address: str) -> None:
    screen.print(Text.assemble("  ", ("✓", "green"), f" {service:<10} {address}"))
