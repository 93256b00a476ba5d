"""What the README and the pages of docs/ say to type, typed into a shell beside a cluster that runs.

Left out is what needs ZooKeeper, Docker, Kubernetes or systemd, what starts services, and docs/cli.md, which another
test plays.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, MezzoCommand

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

ROOT = Path(__file__).parents[2]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "cli.md"]
TYPED = ("mezzo ", "curl ", "for ")
# What is not on this machine: ports of one more registry, files of a Mesos that is to be left.
ELSEWHERE = re.compile(r"/etc/|docker|http://\$each:9060|^mezzo (?:allocator|registry|gateway|agent)\b")
# What only a shell understands; a line of the command's without it runs in this process, which is quicker.
OF_A_SHELL = re.compile(r"[|&;<>$`*?()]")
# Of a cluster on which nothing has gone wrong yet, and no framework holds a stream.
NOT_COUNTED_YET = re.compile(r"stream_overflows|framework_streams|container_destroy|task_reasons")
PORTS = {"gateway": (5050, 9062), "agent": (5051, 9063), "registry": (5060, 9060), "allocator": (5061, 9061)}


def blocks(text: str) -> list[str]:
    """What stands in each fence for a shell, with continued lines joined."""
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n\s*", " ", block) for block in found]


def commands(text: str) -> list[str]:
    """Each command by itself; a loop is one."""
    found = []
    for block in blocks(text):
        found += re.findall(r"^for .*?^done$|^[^\n]+$", block, re.MULTILINE | re.DOTALL)
    return [each for each in found if each.startswith(TYPED) and not ELSEWHERE.search(each)]


DOCUMENTED = {str(page.relative_to(ROOT)): found for page in PAGES if (found := commands(page.read_text()))}


class Shell:
    """A terminal, in which the names that the pages use lead to the cluster's ports."""

    def __init__(self, cluster: Cluster, folder: Path, task: str) -> None:
        self._task = task
        self._api = cluster.gateway().http
        nodes = {service: cluster.nodes[f"{service}-0"] for service in PORTS}
        lines = []
        for service, (port, metrics_port) in PORTS.items():
            node = nodes[service]
            for host in (service, "localhost"):
                lines.append(f'connect-to = "{host}:{port}:127.0.0.1:{node.http_port}"')
                lines.append(f'connect-to = "{host}:{metrics_port}:127.0.0.1:{node.metrics_port}"')
        (folder / ".curlrc").write_text("\n".join([*lines, 'noproxy = "*"', "fail"]))
        self._environment = {
            **os.environ,
            "CURL_HOME": str(folder),
            "MEZZO_API": self._api,
            "PATH": f"{MEZZO.parent}:{os.environ['PATH']}",
            "TERM": "dumb",
        }

    def _filled_in(self, command: str) -> str:
        command = command.replace("TASK", self._task).replace("ROLE", "'*'").replace("HOST", "127.0.0.1")
        return command.replace("--api=gateway:5050", f"--api={self._api}")

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run it in a process group of its own, with its standard error beside its output."""
        return subprocess.Popen(
            ["bash", "-c", self._filled_in(command)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, command: str) -> str:
        """What it prints; it has to succeed."""
        words = shlex.split(self._filled_in(command), comments=True)
        if words[0] == "mezzo" and not OF_A_SHELL.search(command):
            ended = MezzoCommand(self._api)(*words[1:])
            assert ended.code == 0, f"{command}\n{ended.stderr}"
            return ended.stdout
        with self.start(command) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert process.returncode == 0, f"{command}\n{output}"
        return output


@pytest.fixture(scope="module")
def shell(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Beside a cluster that has run a task of each kind, and measured its agents."""
    mezzo = MezzoCommand(cluster.gateway().http)
    assert mezzo("run", "--name=says", "--", "sh", "-c", "echo hello; echo oh >&2").code == 0
    (task,) = (each["id"] for each in mezzo.json("tasks", "--all") if each["name"] == "says")
    return Shell(cluster, tmp_path_factory.mktemp("home"), task)


@pytest.mark.parametrize("page", DOCUMENTED)
def test_what_a_page_says_to_type_can_be_typed(page: str, shell: Shell) -> None:
    for command in DOCUMENTED[page]:
        # Whether a metric exists that nothing has counted yet is asked by the tests of metrics.
        shell.type(f"{command.partition('|')[0]} > /dev/null" if NOT_COUNTED_YET.search(command) else command)


def test_what_the_readme_tries_does_what_it_says(shell: Shell) -> None:
    (block,) = (each for each in blocks((ROOT / "README.md").read_text()) if "mezzo status" in each)
    played = {}
    waiting: subprocess.Popen[str] | None = None
    for line in block.splitlines():
        command = line.partition("  #")[0].strip()
        if command.startswith(". ") or "clock" in command:
            continue  # the shell has .venv's programs; runs in the background have tests of their own
        if command.endswith("&"):
            waiting = shell.start(f"exec {command.removesuffix('&')}")
            assert waiting.stdout is not None
            assert "waiting for an offer" in waiting.stdout.readline()
        elif command.startswith("kill "):
            assert waiting is not None
            waiting.terminate()
            waiting.communicate(timeout=PATIENCE_SECONDS)
        else:
            played[command] = shell.type(command)
    assert any(output.startswith("hello from ") for output in played.values())
    assert "leader" in played["mezzo status"]
    assert re.search(r"says .* Command exited with status 0", played["mezzo tasks --all"]), "and its message"
    assert "is offered nothing" in played["mezzo why"]
    assert played["mezzo agents"].count("active") == 1
    assert any(output.startswith("{") for output in played.values()), "the state"
    assert waiting is not None
