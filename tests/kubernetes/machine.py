"""What this machine lends to a Kubernetes: programs, namespaces, control groups; and how all of it is given back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.charts.helm import HELM

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "tini": "tini",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-init": "tini",
    "debootstrap": "debootstrap",
}
"""What is needed, and the package of Debian that has it."""
CNI_PLUGINS = Path("/usr/lib/cni")
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
# What kubelets set for the whole machine, whatever namespace they are in.
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
FOLDER_PREFIX = "mezzo-kubernetes-"
"""How the names of folders and control groups of a run begin."""
# Longer than what a command is told to wait for.
COMMAND_SECONDS_MAX = 600


def kubernetes_missing() -> str | None:
    """Why no Kubernetes can be started here, or None."""
    if os.geteuid() != 0:
        return "namespaces and control groups are made by root alone"
    packages = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if not CNI_PLUGINS.is_dir():
        packages.append("containernetworking-plugins")
    if packages:
        return f"not installed: {', '.join(packages)}"
    if HELM is None:
        return "no helm: scripts/install-helm.sh builds it"
    if not (CGROUPS / "memory").is_dir():
        return "its kubelets are set up for version 1 of control groups, which is not mounted here"
    return None if built() else "Kubernetes is not built: scripts/install-kubernetes.sh"


def built() -> Path | None:
    """The folder of Kubernetes' programs."""
    told = subprocess.run(
        ["sh", "scripts/install-kubernetes.sh", "--where"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    return Path(told) if told else None


@contextmanager
def sysctls_kept() -> Iterator[None]:
    """Afterwards the machine's settings are what they were."""
    files = [Path("/proc/sys") / name for name in SYSCTLS]
    before = [file.read_text() for file in files]
    try:
        yield
    finally:
        for file, text in zip(files, before, strict=True):
            if file.read_text() != text:
                file.write_text(text)


@contextmanager
def cgroup(name: str) -> Iterator[str]:
    """A control group for one kubelet in each hierarchy; removed with whatever is left in it."""
    try:
        for controller in CONTROLLERS:
            folder = CGROUPS / controller / name
            folder.mkdir()
            if controller == "cpuset":
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (folder / setting).write_text((folder.parent / setting).read_text())
        yield f"/{name}"
    finally:
        # Containers' runtimes make it in the hierarchy of version 2 as well.
        for folder in CGROUPS.glob(f"*/{name}"):
            for below, _, _ in os.walk(folder, topdown=False):
                os.rmdir(below)


@dataclass(frozen=True, slots=True)
class Program:
    """One that runs inside; it is what nsenter has forked."""

    name: str
    log: Path
    entered: subprocess.Popen[bytes]

    def end(self, seconds_max: float = 20) -> None:
        """Have it end, and kill it where it does not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, IndexError):
                os.kill(_child_of(self.entered.pid), number)
            with suppress(subprocess.TimeoutExpired):
                self.entered.wait(seconds_max)
                return
        self.entered.kill()
        self.entered.wait()

    def check(self) -> None:
        """Raises AssertionError when it has ended, with the end of its log."""
        if self.entered.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise AssertionError(f"{self.name} has ended:\n{tail}")


@dataclass(frozen=True, slots=True)
class Namespace:
    """Mounts, processes and a network apart from the machine's; `pid` is its first process, seen from outside."""

    pid: int
    # The mounts of one node, where it has its own.
    mounts: int | None = None

    def command(self, *words: object) -> list[str]:
        """What runs `words` inside. The working folder is / there."""
        mounts = self.mounts or self.pid
        return ["nsenter", f"--target={self.pid}", "--net", "--pid", f"--mount=/proc/{mounts}/ns/mnt", "--",
                *map(str, words)]  # fmt: skip

    def run(self, *words: object, stdin: str | None = None, environment: dict[str, str] | None = None) -> str:
        """What a command prints inside.

        Raises:
            AssertionError: it failed; with the end of what it said.
        """
        ended = subprocess.run(
            self.command(*words),
            input=stdin,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert ended.returncode == 0, f"{list(map(str, words))}: {ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout

    def start(self, log: Path, *words: object) -> Program:
        """Start a program inside that is to run on."""
        with log.open("ab") as output:
            # In a session of its own: Ctrl-C is for the one who ends it, in order.
            entered = subprocess.Popen(
                self.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return Program(str(words[0]).rpartition("/")[2], log, entered)


# Folders of the machine that a node writes to are its own, in memory: nothing of it stays.
_OWN_MOUNTS = """
mount --make-rshared /
for folder in /run /var/lib; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/netns /run/lock /var/lib/mezzo
"""
_NETWORK = """
ip link set lo up
ip link add cni0 type bridge
ip addr add {gateway}/24 dev cni0
ip link set cni0 up
ip route add {services} dev cni0
echo 1 > /proc/sys/net/ipv4/ip_forward
"""


@contextmanager
def namespace(gateway: str, services: str) -> Iterator[Namespace]:
    """One with a bridge that has the address `gateway`. All that runs in it has ended afterwards."""
    apart = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private"]
    network = _NETWORK.format(gateway=gateway, services=services)
    with _held(["unshare", *apart, "tini", "-s", "--", *_holder(_OWN_MOUNTS + network)]) as first:
        yield Namespace(first)


@contextmanager
def node_mounts(inside: Namespace) -> Iterator[Namespace]:
    """The mounts of one more node, in the same network."""
    # nsenter forks to be in the namespace of processes; `unshare` becomes the shell, and that the sleep.
    with _held(inside.command("unshare", "--mount", "--propagation=private", *_holder(_OWN_MOUNTS))) as first:
        yield Namespace(inside.pid, mounts=first)


def _holder(setup: str) -> list[str]:
    """A command that makes something ready, says so with an empty line, and is there until it is killed."""
    return ["sh", "-c", f"set -e; {setup} echo; exec sleep infinity"]


@contextmanager
def _held(command: list[str]) -> Iterator[int]:
    """The process that the command has forked, until it is killed. The first process of a namespace of processes is
    gone only when all others in it are.
    """
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as forking:
        assert forking.stdout is not None
        assert forking.stdout.readline() == b"\n", f"{command[0]} ended with {forking.wait()}"
        forked = _child_of(forking.pid)
        try:
            yield forked
        finally:
            os.kill(forked, signal.SIGTERM)


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
