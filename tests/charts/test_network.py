"""Who reaches whom where NetworkPolicies are on: those that need it, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import HERE, Manifest, needs_helm
from tests.charts.manifests import containers, of_kind, pods, selects

pytestmark = needs_helm

COMPONENT = "app.kubernetes.io/component"
Flow = tuple[str, str, str]

NEEDED: set[Flow] = {
    ("test", "gateway", "http"),
    ("gateway", "registry", "grpc"),
    ("agent", "registry", "grpc"),
    ("registry", "allocator", "grpc"),
    ("gateway", "agent", "http"),
}
ZOOKEEPER: set[Flow] = {(who, "zookeeper", "client") for who in ("registry", "allocator", "gateway", "agent")} | {
    ("zookeeper", "zookeeper", "peer"),
    ("zookeeper", "zookeeper", "election"),
}


def component(pod: Manifest) -> str:
    return str(pod["metadata"]["labels"][COMPONENT])


def _covers(rule: dict[str, Any], side: str, other: Manifest, port: dict[str, Any]) -> bool:
    """Whether one rule lets the other pod in, or lets out to it, at that port of whoever is reached."""
    peers = rule.get(side)
    labels = other["metadata"]["labels"]
    near = peers is None or any(selects(peer.get("podSelector", {}).get("matchLabels", {}), labels) for peer in peers)
    allowed = [one["port"] for one in rule.get("ports", [])]
    return near and (not allowed or port["name"] in allowed or port["containerPort"] in allowed)


def _lets(policies: list[Manifest], direction: str, pod: Manifest, other: Manifest, port: dict[str, Any]) -> bool:
    """Kubernetes' rule: whoever no policy selects may do anything; others what one of their policies says."""
    side = "from" if direction == "Ingress" else "to"
    chosen = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"]["matchLabels"], pod["metadata"]["labels"])
    ]
    rules = [rule for spec in chosen for rule in spec.get(direction.lower(), [])]
    return not chosen or any(_covers(rule, side, other, port) for rule in rules)


def flows(manifests: list[Manifest]) -> Iterator[Flow]:
    policies = of_kind(manifests, "NetworkPolicy")
    for source in pods(manifests):
        for target in pods(manifests):
            for port in [port for one in containers(target) for port in one.get("ports", [])]:
                out = _lets(policies, "Egress", source, target, port)
                if out and _lets(policies, "Ingress", target, source, port):
                    yield component(source), component(target), port["name"]


@pytest.mark.parametrize(("case", "needed"), [("everything", NEEDED | ZOOKEEPER), ("external-zookeeper", NEEDED)])
def test_services_reach_those_whom_they_need_and_no_others(
    case: str, needed: set[Flow], rendered: Callable[[Path], list[Manifest]]
) -> None:
    assert set(flows(rendered(HERE / "cases" / f"{case}.yaml"))) == needed


def test_whoever_is_named_is_let_in_and_to_nothing_else(rendered: Callable[[Path], list[Manifest]]) -> None:
    manifests = rendered(HERE / "cases" / "everything.yaml")
    framework: Manifest = {"metadata": {"labels": {"role": "framework"}}}
    policies = of_kind(manifests, "NetworkPolicy")
    reached = {
        (component(pod), port["name"])
        for pod in pods(manifests)
        for port in [port for one in containers(pod) for port in one.get("ports", [])]
        if _lets(policies, "Ingress", pod, framework, port)
    }
    assert reached == {("registry", "grpc"), ("zookeeper", "client")}


def test_a_zookeeper_outside_is_reached_at_its_ports(rendered: Callable[[Path], list[Manifest]]) -> None:
    policies = of_kind(rendered(HERE / "cases" / "external-zookeeper.yaml"), "NetworkPolicy")
    outward = [policy for policy in policies if "Egress" in policy["spec"]["policyTypes"]]
    assert outward
    for policy in outward:
        anywhere = [rule["ports"] for rule in policy["spec"]["egress"] if "to" not in rule]
        assert [{"port": 2181}, {"port": 2182}] in anywhere
        assert {port["port"] for ports in anywhere for port in ports} == {53, 2181, 2182}
