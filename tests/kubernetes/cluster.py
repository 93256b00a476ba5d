"""A Kubernetes of two nodes on this machine, in namespaces of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.charts.helm import HELM
from tests.kubernetes import settings
from tests.kubernetes.credentials import Authority
from tests.kubernetes.machine import (
    CNI_PLUGINS,
    FOLDER_PREFIX,
    Namespace,
    Program,
    built,
    cgroup,
    namespace,
    node_mounts,
    sysctls_kept,
)

NODES = ("node-1", "node-2")
API = "https://127.0.0.1:6443"
READY_SECONDS_MAX = 180
POLL_SECONDS = 0.25
VOLUMES_PER_NODE = 3


class Kubernetes:
    """Runs while the context lasts. Everything inside it is below `folder`, and reached by `run`."""

    def __init__(self, folder: Path) -> None:
        programs = built()
        assert programs is not None, "scripts/install-kubernetes.sh builds Kubernetes"
        self.programs = programs
        self.folder = folder
        self.inside: Namespace
        self._nodes: dict[str, Namespace] = {}
        self._open = ExitStack()
        self._programs: list[Program] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(sysctls_kept())
            groups = [opened.enter_context(cgroup(f"{self.folder.name}-{node}")) for node in NODES]
            self.inside = opened.enter_context(namespace(settings.GATEWAY, settings.SERVICES))
            opened.callback(self._end_programs)
            self._start_control_plane()
            for number, (node, group) in enumerate(zip(NODES, groups, strict=True), start=1):
                mounts = self.inside if number == 1 else opened.enter_context(node_mounts(self.inside))
                self._nodes[node] = mounts
                self._start_node(number, node, mounts, group)
            self._start(
                "kube-proxy", f"--config={self._file('proxy.json', settings.proxy(self._client('kube-proxy')))}"
            )
            self._wait("all nodes are ready", self._nodes_ready)
            self._make_volumes()
            self._open = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # --- what a person would type -------------------------------------------------------------------------------------

    def run(self, *words: object, stdin: str | None = None) -> str:
        """What a command prints that runs where the cluster is reached."""
        return self.inside.run(*words, stdin=stdin, environment={"KUBECONFIG": str(self.kubeconfig)})

    @property
    def kubeconfig(self) -> Path:
        """How an administrator reaches it, from inside."""
        return self._authority.folder / "admin.kubeconfig"

    def kubectl(self, *words: object, stdin: str | None = None) -> str:
        return self.run(self.programs / "kubectl", *words, stdin=stdin)

    def helm(self, *words: object) -> str:
        return self.run(str(HELM), *words)

    def get(self, *words: object) -> Any:
        """The objects that `kubectl get` prints."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def logs_tail(self) -> str:
        """The end of the log of each program."""
        parts = []
        for program in self._programs:
            tail = "\n".join(program.log.read_text(errors="replace").splitlines()[-8:])
            parts.append(f"--- {program.log.name}\n{tail}")
        return "\n".join(parts)

    def kubectl_with_warnings(self, *words: object, stdin: str) -> str:
        """What kubectl prints, warnings included."""
        return self.run("sh", "-c", 'exec "$@" 2>&1', "sh", self.programs / "kubectl", *words, stdin=stdin)

    def ctr(self, node: str, *words: object) -> str:
        """What the containerd of a node answers."""
        return self._nodes[node].run(
            "ctr", f"--address={self.folder / node}/containerd.sock", "--namespace=k8s.io", *words
        )

    def import_images(self, archive: Path) -> None:
        """Give both nodes the images of an archive of `docker save`."""
        for node in NODES:
            self.ctr(node, "images", "import", archive)

    def free_volumes(self) -> None:
        """Make the volumes of claims that are gone ready for others, and empty."""
        for volume in self.get("persistentvolumes")["items"]:
            if volume["status"]["phase"] == "Released":
                name = volume["metadata"]["name"]
                self._empty(self.folder / "volumes" / name)
                self.kubectl(
                    "patch", "persistentvolume", name, "--type=json", '-p=[{"op":"remove","path":"/spec/claimRef"}]'
                )

    # --- how it starts ------------------------------------------------------------------------------------------------

    def _start_control_plane(self) -> None:
        self._authority = authority = Authority(self.folder / "credentials")
        hosts = ["127.0.0.1", settings.GATEWAY, settings.FIRST_SERVICE, "kubernetes", "kubernetes.default",
                 "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]  # fmt: skip
        authority.sign("apiserver", "kube-apiserver", hosts=hosts)
        authority.sign("admin", "admin", group="system:masters")
        for client in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            authority.sign(client, f"system:{client}")
        authority.kubeconfig("admin", API)
        authority.key_pair("accounts")
        keys = authority.folder
        etcd = "http://127.0.0.1:2379"
        self._start(
            "etcd", f"--data-dir={self.folder}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync",
        )  # fmt: skip
        self._start(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--service-cluster-ip-range={settings.SERVICES}",
            f"--advertise-address={settings.GATEWAY}",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--client-ca-file={authority.certificate}",
            f"--service-account-key-file={keys}/accounts.pub",
            f"--service-account-signing-key-file={keys}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--kubelet-client-certificate={keys}/admin.crt",
            f"--kubelet-client-key={keys}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
        )
        self._wait("the API server is ready", lambda: "ok" in self.kubectl("get", "--raw=/readyz"))
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self._client('kube-controller-manager')}",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={keys}/accounts.key",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
            "--leader-elect=false",
            # A node that is gone is noticed while a test waits.
            "--node-monitor-grace-period=20s",
        )
        self._start("kube-scheduler", f"--kubeconfig={self._client('kube-scheduler')}", "--leader-elect=false")
        self._start("coredns", f"-conf={self._file('Corefile', settings.names(self.kubeconfig))}")

    def _start_node(self, number: int, node: str, mounts: Namespace, group: str) -> None:
        folder = self.folder / node
        networks = folder / "networks"
        networks.mkdir(parents=True)
        (networks / "10-pods.conflist").write_text(settings.network(self.folder))
        (folder / "resolv.conf").write_text(f"nameserver {settings.GATEWAY}\n")
        (folder / "containerd.toml").write_text(settings.containerd(folder, CNI_PLUGINS, networks))
        (folder / "kubelet.json").write_text(settings.kubelet(folder, self._authority.certificate, group, number))
        self._authority.sign(node, f"system:node:{node}", group="system:nodes")
        self._programs.append(
            mounts.start(folder / "containerd.log", "containerd", f"--config={folder}/containerd.toml")
        )
        self._wait(f"containerd of {node} listens", (folder / "containerd.sock").exists)
        self._programs.append(
            mounts.start(
                folder / "kubelet.log",
                self.programs / "kubelet",
                f"--config={folder}/kubelet.json",
                f"--kubeconfig={self._client(node)}",
                f"--hostname-override={node}",
                f"--node-ip={settings.GATEWAY}",
                f"--root-dir={folder}/kubelet",
                f"--cert-dir={folder}/certificates",
            )
        )

    def _nodes_ready(self) -> bool:
        nodes = self.get("nodes")["items"]
        return len(nodes) == len(NODES) and all(
            any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
            for node in nodes
        )

    def _make_volumes(self) -> None:
        for node in NODES:
            for number in range(VOLUMES_PER_NODE):
                name = f"{node}-{number}"
                place = self.folder / "volumes" / name
                place.mkdir(parents=True)
                self.kubectl("create", "-f", "-", stdin=settings.volume(name, place, node))

    # --- small things -------------------------------------------------------------------------------------------------

    def _start(self, program: str, *flags: str) -> None:
        self._programs.append(self.inside.start(self.folder / f"{program}.log", self.programs / program, *flags))

    def _client(self, name: str) -> Path:
        return self._authority.kubeconfig(name, API)

    def _file(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def _wait(self, what: str, done: Callable[[], object]) -> None:
        wait(what, done, check=self.check)

    def check(self) -> None:
        """Raises AssertionError when one of the programs has ended."""
        for program in self._programs:
            program.check()

    def _end_programs(self) -> None:
        # Kubelets first, then what they talk to.
        for program in reversed(self._programs):
            program.end()

    @staticmethod
    def _empty(folder: Path) -> None:
        for found in folder.iterdir():
            shutil.rmtree(found) if found.is_dir() else found.unlink()


def wait(
    what: str,
    done: Callable[[], object],
    *,
    check: Callable[[], object] = lambda: None,
    seconds: float = READY_SECONDS_MAX,
) -> None:
    """Ask until it is so. A command that fails meanwhile is asked again.

    Raises:
        AssertionError: it was not so in time; with what was said last.
    """
    deadline = time.monotonic() + seconds
    last_error: AssertionError | None = None
    while True:
        check()
        try:
            if done():
                return
        except AssertionError as error:
            last_error = error
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s it is not so that {what}; {last_error or ''}")
        time.sleep(POLL_SECONDS)


@contextmanager
def kubernetes() -> Iterator[Kubernetes]:
    """One that runs, in a folder that goes with it. Its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    try:
        with Kubernetes(folder) as running:
            yield running
    finally:
        # Images unpacked twice are very many files.
        subprocess.run(["rm", "-rf", folder], check=True)
