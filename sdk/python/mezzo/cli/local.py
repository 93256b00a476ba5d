"""`mezzo local`: a whole cluster on this machine, with a first few tasks run on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mezzo.cli.service import SERVICES, require_installed

PORT_MAX = 65_535


def default_work_dir() -> Path:
    """The folder of this user's local cluster, by the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "mezzo"


def local(
    port: Annotated[
        int, typer.Option(help="Port of the gateway's HTTP API; 0 picks a free one.", min=0, max=PORT_MAX)
    ] = 5050,
    agent_port: Annotated[
        int, typer.Option(help="Port of the agent's HTTP API; 0 picks a free one.", min=0, max=PORT_MAX)
    ] = 5051,
    ip: Annotated[str, typer.Option(help="Address that all services listen on.")] = "127.0.0.1",
    work_dir: Annotated[
        Path | None, typer.Option(help="Directory for state, sandboxes and logs.", show_default="~/.local/state/mezzo")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Use a new directory, deleted when the cluster ends.")] = False,
    resources: Annotated[
        str, typer.Option(help="Resources that the agent offers, such as cpus:4;mem:8192; by default the machine's.")
    ] = "",
    tasks: Annotated[int, typer.Option(help="Number of example tasks to run first; 0 runs none.", min=0)] = 20,
    once: Annotated[bool, typer.Option(help="Stop the cluster when the example tasks have ended.")] = False,
) -> None:
    """Start a whole cluster on this machine, run twenty tasks on it, and keep it up until Ctrl-C."""
    require_installed(*SERVICES, distribution="'mezzo[cluster]'")
    # gRPC, and the messages of the scheduler API: for this verb alone.
    from mezzo.cli import local_run
    from mezzo.cli.cluster import Layout, passable_mode

    with tempfile.TemporaryDirectory(prefix="mezzo-") as scratch:
        Path(scratch).chmod(passable_mode())
        folder = Path(scratch) if fresh else work_dir or default_work_dir()
        layout = Layout(work_dir=folder.resolve(), ip=ip, gateway_port=port, agent_port=agent_port, resources=resources)
        code = local_run.run(layout, tasks=tasks, once=once)
    raise typer.Exit(code)
