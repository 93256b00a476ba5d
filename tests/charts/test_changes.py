"""What may not be changed in a release that exists: helm asks Kubernetes how it was installed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import NAMESPACE, RELEASE, Refused, needs_helm, template

pytestmark = needs_helm

APPS = "/apis/apps/v1"
OBJECTS = f"{APPS}/namespaces/{NAMESPACE}"
RESOURCES = {
    "kind": "APIResourceList",
    "groupVersion": "apps/v1",
    "resources": [
        {"name": "statefulsets", "kind": "StatefulSet", "namespaced": True, "verbs": ["get", "list"]},
        {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get", "list"]},
    ],
}


def stateful_set(replicas: int, claim: dict[str, Any] | None) -> dict[str, Any]:
    claims = [] if claim is None else [{"metadata": {"name": "data"}, "spec": claim}]
    spec = {"replicas": replicas, "volumeClaimTemplates": claims}
    return {"kind": "StatefulSet", "apiVersion": "apps/v1", "spec": spec}


def claim(size: str, **more: object) -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **more}


def gateway(name: str, label: str = "mezzo", release: str = RELEASE) -> dict[str, Any]:
    labels = {"instance": release, "part-of": "mezzo", "component": "gateway", "name": label}
    return {"metadata": {"name": name, "labels": {f"app.kubernetes.io/{key}": text for key, text in labels.items()}}}


class Kubernetes(BaseHTTPRequestHandler):
    """Knows a ZooKeeper of one member, a registry without a volume, gateways of two releases, and nothing else."""

    def do_GET(self) -> None:
        gateways = [
            {"metadata": {"name": "web"}},
            gateway("other-mezzo-gateway", release="other"),
            gateway("mezzo-gateway"),
        ]
        known: dict[str, Any] = {
            APPS: RESOURCES,
            f"{OBJECTS}/statefulsets/mezzo-zookeeper": stateful_set(1, claim("8Gi")),
            f"{OBJECTS}/statefulsets/mezzo-registry": stateful_set(3, None),
            f"{OBJECTS}/deployments": {"kind": "DeploymentList", "apiVersion": "apps/v1", "items": gateways},
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


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("fullnameOverride=another", 'begin with "mezzo", and would begin with "another"'),
        ("nameOverride=another", 'begin with "mezzo", and would begin with "mezzo-another"'),
        (
            "nameOverride=another,fullnameOverride=mezzo",
            'label app.kubernetes.io/name "another", and this release has "mezzo"',
        ),
        (
            "zookeeper.persistence.size=16Gi",
            "zookeeper.persistence.size is 16Gi and the volumes of mezzo-zookeeper have 8Gi",
        ),
        (
            "zookeeper.persistence.enabled=false",
            "mezzo-zookeeper has a volume, and with these values it would be otherwise",
        ),
        (
            "zookeeper.persistence.storageClass=fast",
            'storageClass is "fast" and the volumes of mezzo-zookeeper have ""',
        ),
        ("zookeeper.persistence.accessModes={ReadWriteMany}", "accessModes are ReadWriteMany and the volumes"),
        (
            "zookeeper.enabled=false,registry.replicas=1,allocator.replicas=1",
            "mezzo-registry has no volume, and with these values it would be otherwise",
        ),
    ],
)
def test_what_kubernetes_cannot_change_is_refused_before_anything_is_changed(
    kubernetes: list[str], values: str, says: str
) -> None:
    with pytest.raises(Refused) as refused:
        template("--is-upgrade", "--set", f"zookeeper.replicas=1,{values}", *kubernetes)
    assert says in str(refused.value)


@pytest.mark.parametrize("size", ["8Gi", "8192Mi", "8388608Ki"])
def test_a_release_that_stays_as_it_is_is_taken(kubernetes: list[str], size: str) -> None:
    values = f"zookeeper.replicas=1,zookeeper.persistence.size={size},registry.persistence.size=5Gi"
    assert "StatefulSet" in template("--is-upgrade", "--set", values, *kubernetes)


def test_a_release_with_names_of_its_own_is_installed_beside_others(kubernetes: list[str]) -> None:
    assert "StatefulSet" in template(*kubernetes, release="third")
