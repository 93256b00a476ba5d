"""What the chart hands to programs, handed to them: flags to services, its test to a cluster, zoo.cfg to ZooKeeper."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mezzo_chassis.testing import ServiceProcess, free_ports, zookeeper_missing
from tests.charts.helm import HERE, Manifest, needs_helm
from tests.charts.manifests import containers, named
from tests.charts.test_flags import SERVICES
from tests.cluster import Cluster, Node
from tests.polling import eventually

pytestmark = needs_helm

# Why this machine cannot run an agent as root with few capabilities; False where it can.
UNCONFINED = (os.geteuid() != 0 and "only root has capabilities to give up") or (
    shutil.which("setpriv") is None and "there is no setpriv here"
)

Rendered = Callable[[Path], list[Manifest]]
COMMAND_SECONDS_MAX = 60
MEMBERS = 3
ZOOKEEPER_JAR = "/usr/share/java/zookeeper.jar"
# What the image of ZooKeeper has under this name, as far as it is used.
ZKSERVER = f"""#!/bin/sh
[ "$1" = start-foreground ] || exit 2
exec java "-Xmx${{ZK_SERVER_HEAP}}m" -XX:TieredStopAtLevel=1 -cp "$ZOOCFGDIR:{ZOOKEEPER_JAR}" \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$ZOOCFGDIR/zoo.cfg"
"""


@pytest.fixture(scope="module")
def minimal(rendered: Rendered) -> list[Manifest]:
    return rendered(HERE / "cases" / "minimal.yaml")


class Confined(Cluster):
    """A cluster whose agent may do what the container of the chart's agents may, and no more."""

    __slots__ = ("prefix",)
    prefix: list[str]

    def _process(self, name: str, node: Node) -> ServiceProcess:
        process = super()._process(name, node)
        if name.startswith("agent"):
            process.command = [*self.prefix, *process.command]
            # What takes capabilities away is executed itself.
            process.module = ""
        return process


def capabilities(container: Manifest) -> list[str]:
    """The command that takes all capabilities away but those that the container is given."""
    context = container["securityContext"]
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["allowPrivilegeEscalation"] is False
    kept = "".join(f",+{name.lower()}" for name in context["capabilities"]["add"])
    return ["setpriv", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--no-new-privs"]


@pytest.fixture(scope="module")
def cluster(minimal: list[Manifest]) -> Iterator[Cluster]:
    """One of each service, with the chart's files of flags; addresses and folders are this machine's."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        # Tasks of other users reach their sandboxes.
        folder.chmod(0o755)
        flags = {}
        for service in SERVICES:
            file = folder / f"{service}.json"
            file.write_text(named(minimal, "ConfigMap", f"mezzo-{service}-flags")["data"]["flags.json"])
            flags[service] = {"config": file}
        running = Confined(folder, flags=flags)
        (agent,) = containers(named(minimal, "DaemonSet", "mezzo-agent")["spec"]["template"])
        running.prefix = [] if UNCONFINED else capabilities(agent)
        with running:
            yield running


def run_helm_test(minimal: list[Manifest], cluster: Cluster, **replace: str) -> subprocess.CompletedProcess[str]:
    """What `helm test` runs in its pod, here."""
    (container,) = containers(named(minimal, "Pod", "mezzo-test-run-a-task"))
    *shell, script = container["command"]
    for old, new in replace.items():
        assert old in script
        script = script.replace(old, new)
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [*shell, script],
        env={**os.environ, **environment, "MEZZO_API": cluster.gateway().http, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )


def test_helm_test_runs_a_task_to_its_end(minimal: list[Manifest], cluster: Cluster) -> None:
    ended = run_helm_test(minimal, cluster)
    assert ended.returncode == 0, ended.stderr
    assert "a task ran in /" in ended.stdout
    assert ended.stdout.endswith("It came to TASK_FINISHED.\n")


def test_helm_test_fails_where_its_task_does(minimal: list[Manifest], cluster: Cluster) -> None:
    ended = run_helm_test(minimal, cluster, echo="exit 3 #")
    assert ended.returncode == 3
    assert "TASK_FINISHED" not in ended.stdout


@pytest.mark.skipif(bool(UNCONFINED), reason=str(UNCONFINED))
def test_the_capabilities_of_agents_are_enough_for_tasks_of_other_users(
    minimal: list[Manifest], cluster: Cluster
) -> None:
    ended = run_helm_test(
        minimal, cluster, **{"--name=helm-test": "--name=helm-test --user=nobody", "$PWD": "$(id -un)"}
    )
    assert ended.returncode == 0, ended.stderr
    assert "a task ran in nobody" in ended.stdout
    status = Path(f"/proc/{cluster.agent().process.pid}/status").read_text()
    (held,) = re.findall(r"CapEff:\s*(\w+)", status)
    assert int(held, 16).bit_count() == len(("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"))


class Member:
    """One pod of the chart's ZooKeeper, as a process: its command, its configuration, its probes."""

    def __init__(self, container: Manifest, config: dict[str, str], ordinal: int, folder: Path, ports: Ports) -> None:
        self.container = container
        self._port = str(ports.clients[ordinal])
        data, settings = folder / "data", folder / "config"
        for made in (data, settings):
            made.mkdir(parents=True)
        for name, text in config.items():
            (settings / name).write_text(ports.put_into(text, ordinal).replace("dataDir=/data", f"dataDir={data}"))
        (folder / "zkServer.sh").write_text(ZKSERVER)
        (folder / "zkServer.sh").chmod(0o755)
        variables = {one["name"]: one["value"] for one in container["env"]}
        here = {"ZOOCFGDIR": str(settings), "HOSTNAME": f"mezzo-zookeeper-{ordinal}"}
        program = {"PATH": f"{folder}:{os.environ['PATH']}"}
        command = [word.replace("/data/myid", f"{data}/myid") for word in container["command"]]
        log = folder / "zookeeper.log"
        self.process = ServiceProcess("zookeeper", command, log=log, environment={**variables, **here, **program})

    async def says_yes_to(self, probe: str) -> bool:
        command = [word.replace("/2181 ", f"/{self._port} ") for word in self.container[probe]["exec"]["command"]]
        return (
            await asyncio.to_thread(subprocess.call, command, stderr=subprocess.DEVNULL, timeout=COMMAND_SECONDS_MAX)
            == 0
        )


class Ports:
    """Three free ports for each member, instead of the same three on three machines."""

    def __init__(self) -> None:
        numbers = free_ports(3 * MEMBERS)
        self.clients, self._peers, self._elections = numbers[:MEMBERS], numbers[MEMBERS:-MEMBERS], numbers[-MEMBERS:]

    def put_into(self, config: str, ordinal: int) -> str:
        for number in range(MEMBERS):
            member = f"mezzo-zookeeper-{number}.mezzo-zookeeper-headless.clusters.svc.cluster.local:2888:3888"
            config = config.replace(member, f"127.0.0.1:{self._peers[number]}:{self._elections[number]}")
        return config.replace("clientPort=2181", f"clientPort={self.clients[ordinal]}")


async def test_three_members_of_zookeeper_form_a_quorum_and_one_alone_is_alive_but_not_ready(
    rendered: Rendered, tmp_path: Path
) -> None:
    if missing := zookeeper_missing():
        pytest.skip(missing)
    manifests = rendered(HERE / "cases" / "defaults.yaml")
    (container,) = named(manifests, "StatefulSet", "mezzo-zookeeper")["spec"]["template"]["spec"]["containers"]
    config = named(manifests, "ConfigMap", "mezzo-zookeeper-config")["data"]
    ports = Ports()
    with ExitStack() as stack:
        first, *others = [Member(container, config, number, tmp_path / str(number), ports) for number in range(MEMBERS)]
        stack.enter_context(first.process)
        await eventually(partial(first.says_yes_to, "livenessProbe"), "the first member is alive")
        assert not await first.says_yes_to("readinessProbe")
        for member in others:
            stack.enter_context(member.process)
        for member in (first, *others):
            await eventually(partial(member.says_yes_to, "readinessProbe"), "the quorum serves")
    assert [(tmp_path / str(number) / "data" / "myid").read_text() for number in range(MEMBERS)] == [
        "1\n",
        "2\n",
        "3\n",
    ]
