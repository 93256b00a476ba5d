"""What may not be changed in a release that exists: helm asks Kubernetes how it was installed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import NAMESPACE, Refused, needs_helm, template

pytestmark = needs_helm

APPS = {
    "kind": "APIResourceList",
    "groupVersion": "apps/v1",
    "resources": [{"name": "statefulsets", "kind": "StatefulSet", "namespaced": True, "verbs": ["get"]}],
}
INSTALLED = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/mezzo-zookeeper"


class Kubernetes(BaseHTTPRequestHandler):
    """Knows a ZooKeeper of one member, and nothing else."""

    def do_GET(self) -> None:
        known: dict[str, Any] = {
            "/apis/apps/v1": APPS,
            INSTALLED: {"kind": "StatefulSet", "apiVersion": "apps/v1", "spec": {"replicas": 1}},
        }
        path = self.path.partition("?")[0]
        answer = known.get(path, {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404})
        body = json.dumps(answer).encode()
        self.send_response(200 if path in known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing: pytest tells what went wrong."""


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[list[str]]:
    """How helm is told where it is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Kubernetes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        config = tmp_path / "config"
        config.touch(0o600)
        yield [
            "--dry-run=server",
            f"--kube-apiserver=http://127.0.0.1:{server.server_port}",
            f"--kubeconfig={config}",
        ]
        server.shutdown()
        thread.join()


def test_members_are_not_added_to_a_zookeeper_that_knows_something(kubernetes: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        template("--is-upgrade", "--set", "zookeeper.replicas=3", *kubernetes)
    assert "zookeeper.replicas is 3 and mezzo-zookeeper has 1" in str(refused.value)


@pytest.mark.parametrize("values", ["zookeeper.replicas=1", "zookeeper.replicas=3,fullnameOverride=another"])
def test_a_zookeeper_that_stays_as_it_is_and_a_new_one_are_taken(kubernetes: list[str], values: str) -> None:
    assert "StatefulSet" in template("--is-upgrade", "--set", values, *kubernetes)
