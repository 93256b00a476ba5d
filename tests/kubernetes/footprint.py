"""What a Kubernetes could leave on the machine that it ran on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.kubernetes.machine import CGROUPS, FOLDER_PREFIX, SYSCTLS

# Others run tests on the same machine: what bears none of these names is theirs.
MOUNTS = (FOLDER_PREFIX, "/run/netns", "/var/lib/kubelet", "/var/lib/mezzo")
CGROUP_NAMES = (FOLDER_PREFIX, "k8s.io", "kubepods", "docker")
LINK_NAMES = ("cni", "veth", "kube-")
RULES = ("KUBE-", "CNI-")
FOLDERS = ("/run/netns", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/lib/containerd", "/etc/cni")
SETTINGS = (*SYSCTLS, "net/ipv4/ip_forward")


def footprint() -> frozenset[str]:
    """One line for each process, mount, control group, link, rule of the firewall, folder and setting."""
    return frozenset([*_processes(), *_mounts(), *_cgroups(), *_links(), *_rules(), *_folders(), *_settings()])


def _processes() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if FOLDER_PREFIX in command or command.startswith("/pause"):
                yield f"process {process.name}: {command[:200]}"


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        if any(name in place for name in MOUNTS):
            yield f"mount {place}"


def _cgroups() -> Iterator[str]:
    for group in CGROUPS.glob("*/*/"):
        if group.name.startswith(CGROUP_NAMES):
            yield f"control group {group}"


def _links() -> Iterator[str]:
    for link in Path("/sys/class/net").iterdir():
        if link.name.startswith(LINK_NAMES):
            yield f"link {link.name}"


def _rules() -> Iterator[str]:
    saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    for line in saved.splitlines():
        if any(name in line for name in RULES):
            yield f"rule {line}"


def _folders() -> Iterator[str]:
    for folder in map(Path, FOLDERS):
        if folder.is_dir():
            yield f"folder {folder}"
    for folder in Path("/tmp").glob(f"{FOLDER_PREFIX}*"):
        yield f"folder {folder}"


def _settings() -> Iterator[str]:
    for name in SETTINGS:
        yield f"setting {name} = {(Path('/proc/sys') / name).read_text().strip()}"
