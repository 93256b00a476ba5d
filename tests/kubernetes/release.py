"""One installation of the chart, and what a person does with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.charts.helm import CHART
from tests.kubernetes.cluster import Kubernetes
from tests.kubernetes.images import REGISTRY
from tests.mezzo_command import MEZZO

METRICS = 9060
"""The port of the registries' metrics; the API server knows no names of a pod's ports."""
CLIENT = Path(__file__).with_name("client.py")
# Two nodes of two processors have no room for what the defaults ask for.
MODEST = {f"{service}.resources.requests.cpu": "50m" for service in ("registry", "allocator", "gateway", "zookeeper")}


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a gateway all the time."""

    number: int
    failures: list[str]


@dataclass(frozen=True, slots=True)
class Release:
    """A release, in a namespace of its name."""

    cluster: Kubernetes
    name: str

    def helm(self, verb: str, *words: object, **values: str) -> str:
        """`helm VERB` of this release; `__` in the name of a value is a dot."""
        chart = [CHART] if verb in ("install", "upgrade") else []
        settings = {
            "image.registry": REGISTRY,
            **MODEST,
            **{key.replace("__", "."): text for key, text in values.items()},
        }
        flags = [f"--set={key}={text}" for key, text in settings.items()] if verb in ("install", "upgrade") else []
        return self.cluster.helm(verb, self.name, *chart, "--namespace", self.name, *flags, *words)

    def kubectl(self, *words: object) -> str:
        return self.cluster.kubectl("--namespace", self.name, *words)

    def pods(self, component: str) -> list[str]:
        """The names of the pods of a service that are not ending."""
        pods = self.cluster.get("--namespace", self.name, "pods", "-l", f"app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in pods["items"] if "deletionTimestamp" not in pod["metadata"]]

    def node(self, pod: str) -> str | None:
        """Where a pod is; None while it is nowhere."""
        node: str | None = self.cluster.get("--namespace", self.name, "pod", pod)["spec"].get("nodeName")
        return node

    @property
    def api(self) -> str:
        """Where the gateways' Service is."""
        service = self.cluster.get("--namespace", self.name, "service", f"{self._prefix}-gateway")
        return f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    @property
    def _prefix(self) -> str:
        return self.name if "mezzo" in self.name else f"{self.name}-mezzo"

    def mezzo(self, *words: str) -> str:
        """What the command `mezzo` prints that talks to the gateways' Service."""
        return self.cluster.run("env", f"MEZZO_API={self.api}", "TERM=dumb", MEZZO, *words)

    def agents(self) -> int:
        """How many agents are connected."""
        return sum(agent["active"] for agent in json.loads(self.mezzo("agents", "-o", "json")))

    def leader(self) -> str:
        """The pod of the registry that leads."""
        for pod in self.pods("registry"):
            metrics = self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.name}/pods/{pod}:{METRICS}/proxy/metrics")
            if "\nmezzo_registry_leading 1.0" in metrics:
                return pod
        raise AssertionError("no registry leads")

    def kill(self, pod: str) -> None:
        """`kill -9` of the first process of a pod's container, which no one inside may do."""
        found = self.cluster.get("--namespace", self.name, "pod", pod)
        container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        self.cluster.ctr(found["spec"]["nodeName"], "tasks", "kill", "--signal=SIGKILL", container)

    @contextmanager
    def asked_all_the_time(self) -> Iterator[list[Asked]]:
        """A client asks the gateways meanwhile; what came of it is in the list afterwards."""
        outcome: list[Asked] = []
        with subprocess.Popen(
            self.cluster.inside.command(sys.executable, CLIENT, self.api), stdout=subprocess.PIPE, text=True
        ) as entered:
            assert entered.stdout is not None
            assert entered.stdout.readline() == "asking\n"
            client = int(Path(f"/proc/{entered.pid}/task/{entered.pid}/children").read_text().split()[0])
            try:
                yield outcome
            finally:
                os.kill(client, signal.SIGTERM)
                ended = json.loads(entered.stdout.readline())
        outcome.append(Asked(ended["asked"], ended["failures"]))
