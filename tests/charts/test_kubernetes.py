"""What is rendered, against Kubernetes' own schemas, and against what they do not say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from mezzo_agent.rpc.executor_service import SERVICE as EXECUTOR_SERVICE
from tests.charts.helm import Manifest, needs_helm, template
from tests.charts.manifests import WORKLOADS, containers, named, of_kind, pods, read, selects, strings, title

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="the schemas of Kubernetes are not installed: kubernetes-validate has them"
)

pytestmark = needs_helm

# The oldest that Chart.yaml takes, and one of today.
VERSIONS = ("1.25", "1.33")
# Of an operator's own; Kubernetes has no schema of them.
CUSTOM = ("ServiceMonitor", "PrometheusRule")
# Whatever a case says exists already is called so.
GIVEN = "given"
NAME_CHARACTERS_MAX = 63
RELEASE_CHARACTERS_MAX = 53


@cache
def _valid(text: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            try:
                _valid(json.dumps(manifest, sort_keys=True), version)
            except kubernetes_validate.ValidationError as error:
                pytest.fail(f"{title(manifest)}: {'.'.join(map(str, error.path))}: {error.message}")


def test_names_are_unique(manifests: list[Manifest]) -> None:
    names = [(title(one), one["metadata"].get("namespace")) for one in manifests]
    assert len(names) == len(set(names))


def test_a_release_may_have_the_longest_name_that_helm_takes() -> None:
    made = read(template(release="r" * RELEASE_CHARACTERS_MAX))
    # Of these, Kubernetes makes labels and names of hosts; it adds the number of a pod, or a word for its template.
    for one in of_kind(made, "Service", *WORKLOADS):
        added = len("-0123456789") if one["kind"] == "StatefulSet" else 0
        assert len(one["metadata"]["name"]) + added <= NAME_CHARACTERS_MAX, title(one)


def test_everything_has_the_standard_labels(manifests: list[Manifest]) -> None:
    wanted = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "managed-by")}
    for manifest in manifests:
        if not manifest["metadata"]["name"].endswith("-extra"):
            assert wanted | {"helm.sh/chart"} <= manifest["metadata"]["labels"].keys(), title(manifest)


def test_workloads_select_their_own_pods(manifests: list[Manifest]) -> None:
    for workload in of_kind(manifests, *WORKLOADS):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert selects(workload["spec"]["selector"]["matchLabels"], labels), title(workload)
        for constraint in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert selects(constraint["labelSelector"]["matchLabels"], labels), title(workload)


def _selectors(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every selector of pods that is not a workload's, and whose it is."""
    for service in of_kind(manifests, "Service"):
        yield title(service), service["spec"]["selector"]
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        yield title(budget), budget["spec"]["selector"]["matchLabels"]
    for policy in of_kind(manifests, "NetworkPolicy"):
        yield title(policy), policy["spec"]["podSelector"]["matchLabels"]
        for rule in [*policy["spec"]["ingress"], *policy["spec"].get("egress", [])]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                labels = peer.get("podSelector", {}).get("matchLabels", {})
                if "app.kubernetes.io/component" in labels:
                    yield title(policy), labels


def test_every_selector_selects_the_pods_of_one_workload(manifests: list[Manifest]) -> None:
    for where, selector in _selectors(manifests):
        found = [pod["title"] for pod in pods(manifests) if selects(selector, pod["metadata"]["labels"])]
        assert len(found) == 1, f"{where} selects {found}"


def _ports(pod: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for one in containers(pod) for port in one.get("ports", [])}


def test_services_and_policies_name_ports_that_containers_have(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        (pod,) = [one for one in pods(manifests) if selects(service["spec"]["selector"], one["metadata"]["labels"])]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= _ports(pod).keys(), title(service)
    for policy in of_kind(manifests, "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]["matchLabels"]
        (pod,) = [one for one in pods(manifests) if selects(selector, one["metadata"]["labels"])]
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"] if "endPort" not in port}
        assert named <= _ports(pod).keys(), title(policy)


def test_probes_ask_ports_that_containers_have(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in containers(pod):
            ports = _ports(pod)
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                if "grpc" in probe:
                    assert probe["grpc"]["port"] == ports["grpc"], pod["title"]
                if "httpGet" in probe:
                    assert probe["httpGet"]["port"] in ports, pod["title"]


def test_services_are_ready_by_their_health_and_killed_for_silence_alone(manifests: list[Manifest]) -> None:
    for workload in of_kind(manifests, *WORKLOADS):
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "readinessProbe"} <= container.keys()
        if container["name"] != "zookeeper":
            assert "service" not in container["readinessProbe"]["grpc"]
            # NOT_SERVING is no reason to be killed: ZooKeeper may be away, or nobody may lead.
            assert "httpGet" in container.get("livenessProbe", {"httpGet": {}})
            started = container["startupProbe"]
            assert "httpGet" in started or started["grpc"]["service"] == EXECUTOR_SERVICE


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Every ConfigMap and Secret that something in a pod refers to."""
    if isinstance(value, list):
        for one in value:
            yield from _references(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef"):
                yield "ConfigMap", one["name"]
            elif key in ("secretRef", "secretKeyRef"):
                yield "Secret", one["name"]
            elif key == "secret":
                yield "Secret", one["secretName"]
            elif key == "imagePullSecrets":
                yield from (("Secret", secret["name"]) for secret in one)
            else:
                yield from _references(one)


def test_every_config_map_and_secret_is_made_or_given(manifests: list[Manifest]) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in of_kind(manifests, "ConfigMap", "Secret")}
    for pod in pods(manifests):
        missing = [name for kind, name in _references(pod["spec"]) if (kind, name) not in made]
        assert all(name.startswith(GIVEN) for name in missing), f"{pod['title']}: {missing}"


def test_every_mount_has_a_volume_and_every_volume_a_mount(manifests: list[Manifest]) -> None:
    claims = {
        title(workload): {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for workload in of_kind(manifests, "StatefulSet")
    }
    for pod in pods(manifests):
        names = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        volumes = {*names, *claims.get(pod["title"], set())}
        mounts = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])}
        assert mounts == volumes, pod["title"]
        assert len(names) == len(set(names)), pod["title"]
        for one in containers(pod):
            paths = [mount["mountPath"] for mount in one.get("volumeMounts", [])]
            assert len(paths) == len(set(paths)), pod["title"]


def test_every_container_says_what_it_takes_and_what_it_may(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False, pod["title"]
        for container in containers(pod):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), pod["title"]
            assert "memory" in container["resources"]["limits"], pod["title"]
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod["title"]


def test_only_agents_are_root_or_have_more_powers_than_none(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        context = pod["spec"]["securityContext"]
        if pod["title"].endswith("-agent"):
            continue
        assert context["runAsNonRoot"] is True, pod["title"]
        assert context["runAsUser"] != 0, pod["title"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod["title"]
        for container in containers(pod):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, pod["title"]
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, pod["title"]
        assert not {"hostNetwork", "hostPID"} & pod["spec"].keys(), pod["title"]


def test_no_template_is_left_unrendered(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "PrometheusRule" and "dashboard" not in manifest["metadata"]["name"]:
            assert not [text for text in strings(manifest) if "{{" in text or "<no value>" in text], title(manifest)


def test_a_label_of_its_own_goes_before_one_of_all() -> None:
    switches = [f"monitoring.{name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "dashboards")]
    own = [f"monitoring.{name}.labels.team=own" for name in ("serviceMonitor", "prometheusRule", "dashboards")]
    values = ",".join([*switches, *own, "commonLabels.team=all", "registry.podLabels.team=own"])
    made = read(template("--set", values))
    teams = {pod["title"]: pod["metadata"]["labels"].get("team") for pod in pods(made)}
    assert teams.pop("StatefulSet/mezzo-registry") == "own"
    teams.pop("Pod/mezzo-test-run-a-task", None)
    assert set(teams.values()) == {"all"}
    for one in of_kind(made, *CUSTOM, "ConfigMap", "Service"):
        theirs = one["kind"] in CUSTOM or "dashboard" in one["metadata"]["name"]
        assert one["metadata"]["labels"]["team"] == ("own" if theirs else "all"), title(one)


@pytest.mark.parametrize(("flags", "protocol"), [("", "http"), (".ssl_cert_file=/etc/mezzo-tls/tls.crt", "https")])
def test_proxies_are_told_what_the_gateways_speak(flags: str, protocol: str) -> None:
    made = read(template("--set", f"gateway.flags{flags}" if flags else "gateway.replicas=2"))
    (port,) = named(made, "Service", "mezzo-gateway")["spec"]["ports"]
    assert port["appProtocol"] == protocol
