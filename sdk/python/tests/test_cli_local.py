"""What `mezzo local` makes on the disk, whatever the umask is; whom it keeps out of there, and how it ends things."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from mezzo.cli import cluster as module
from mezzo.cli.app import app
from mezzo.cli.cluster import Cluster, ClusterError, Layout, PortInUse, end


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("user", [0, 1000])
def test_state_and_logs_are_nobody_elses_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    cluster = Cluster(Layout(tmp_path / "work"))
    cluster.make_folders()
    cluster.open_log("registry").close()
    # Tasks of root's agent run as other users, who must reach their sandboxes.
    passable = 0o711 if user == 0 else 0o700
    assert {path.name: mode_of(path) for path in [tmp_path / "work", *(tmp_path / "work").iterdir()]} == {
        "work": passable,
        "agent": passable,
        "logs": 0o700,
        "registry": 0o700,
    }
    assert mode_of(cluster.log_of("registry")) == 0o600


def test_what_an_earlier_version_made_is_closed(tmp_path: Path) -> None:
    cluster = Cluster(Layout(tmp_path / "work"))
    for folder in (tmp_path / "work" / "logs", tmp_path / "work" / "registry"):
        folder.mkdir(parents=True)
    cluster.log_of("registry").write_text("an old line")
    cluster.make_folders()
    cluster.open_log("registry").close()
    assert mode_of(tmp_path / "work" / "registry") == 0o700
    assert mode_of(cluster.log_of("registry")) == 0o600


def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir(mode=0o1777)
    (tmp_path / "work").chmod(0o1777)
    Cluster(Layout(tmp_path / "work")).make_folders()
    assert mode_of(tmp_path / "work") == 0o1777
    assert mode_of(tmp_path / "work" / "registry") == 0o700


def test_the_logs_of_the_cluster_before_are_kept(tmp_path: Path) -> None:
    cluster = Cluster(Layout(tmp_path / "work"))
    cluster.make_folders()
    log, kept = cluster.log_of("registry"), tmp_path / "work" / "logs" / "registry.log.1"
    for line in (b"first", b"second"):
        with cluster.open_log("registry") as opened:
            opened.write(line)
    assert (log.read_bytes(), kept.read_bytes()) == (b"second", b"first")
    assert mode_of(kept) == 0o600
    cluster.open_log("registry").close()
    cluster.open_log("registry").close()  # one with nothing in it takes nobody's place
    assert kept.read_bytes() == b"second"


async def test_a_folder_is_one_clusters_until_it_is_stopped(tmp_path: Path) -> None:
    first, second = (Cluster(Layout(tmp_path / "work")) for _ in range(2))
    for cluster in (first, second):
        cluster.make_folders()
    first.lock()
    with pytest.raises(ClusterError) as refused:
        second.lock()
    assert str(refused.value) == (
        f"another mezzo local (process {os.getpid()}) uses {tmp_path / 'work'}; give each its own with --work-dir"
    )
    await second.stop()
    with pytest.raises(ClusterError):
        second.lock()
    await first.stop()
    second.lock()
    assert mode_of(tmp_path / "work" / "logs" / "lock") == 0o600
    await second.stop()


async def test_a_service_that_does_not_end_in_time_is_killed_with_all_that_it_started() -> None:
    script = "trap '' TERM; (setsid sleep 1000 & echo $!; wait) & wait; wait"
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    grandchild = psutil.Process(int(await process.stdout.readline()))
    try:
        await end(process, signal.SIGTERM, timeout_seconds=0.1)
        assert process.returncode == -signal.SIGKILL
        assert await process.stdout.read() == b""  # nobody holds the other end
        # It lets go of its files a moment before it is dead.
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [grandchild], timeout=10)
        assert gone or grandchild.status() == psutil.STATUS_ZOMBIE
    finally:
        if grandchild.is_running():
            grandchild.kill()


async def test_a_service_that_ends_again_and_again_is_given_up_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS_MAX", 0.001)
    cluster = Cluster(Layout(tmp_path / "work"))
    cluster.make_folders()
    monkeypatch.setattr(cluster, "_commands", lambda: {"no_such_service": []})
    await cluster._spawn("no_such_service", [], cluster.open_log("no_such_service"))
    ended: list[tuple[str, int]] = []
    with pytest.raises(ClusterError, match="the no_such_service ends again and again; see "):
        await cluster.keep_up(lambda *service: ended.append(service))
    assert ended == [("no_such_service", 1)] * (module.RESTARTS_MAX - 1)
    log = cluster.log_of("no_such_service").read_text()
    assert log.count("No module named mezzo_no_such_service") == module.RESTARTS_MAX
    await cluster.stop()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["local"], "mezzo: not installed: registry, gateway; pip install 'mezzo[cluster]'"),
        (["gateway", "--port=5050"], "mezzo: not installed: gateway; pip install mezzo-gateway"),
    ],
    ids=["local", "service"],
)
def test_services_that_are_not_installed_are_named_before_anything_starts(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"allocator", "agent"}
    every = metadata.entry_points

    def some(*, group: str, name: str) -> metadata.EntryPoints:
        return every(group=group, name=name) if name in installed else metadata.EntryPoints()

    monkeypatch.setattr(metadata, "entry_points", some)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.output.strip()) == (127, line)
    assert not list(tmp_path.iterdir())


LOCAL = """
import subprocess, sys
sys.exit(subprocess.call([sys.executable, "-c", sys.argv[2]]))
"""
LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("name", "ours"), [("mezzo", True), ("another", False)])
def test_a_port_that_is_held_by_an_earlier_local_cluster_is_told_with_its_process(
    name: str, ours: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(LOCAL)
    command = [sys.executable, str(tmp_path / name), "local", LISTENER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as earlier:
        assert earlier.stdout is not None
        port = int(earlier.stdout.readline())
        with pytest.raises(PortInUse) as refused:
            Layout(tmp_path / "work", gateway_port=port).choose_ports()
        holder = f"(held by an earlier mezzo local, process {earlier.pid})"
        assert str(refused.value).startswith(f"port {port} for the gateway (--port) is in use (held by ")
        assert str(refused.value).endswith(holder) is ours
        earlier.communicate()  # the end of its standard input ends it
