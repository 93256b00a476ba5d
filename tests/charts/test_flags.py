"""Flags: what the chart sets is what the services take."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mezzo_agent.app import settings
from mezzo_chassis.config import environment_name, load
from tests.charts.helm import CHART, Manifest, needs_helm
from tests.charts.manifests import named, of_kind, pods
from tests.charts.test_golden import UPDATE

SERVICES = ("registry", "allocator", "gateway", "agent")
# What Kubernetes knows when a pod runs.
KNOWN = {
    "status.podIP": "10.1.2.3",
    "spec.nodeName": "node-1",
    "username": "mezzo",
    "user": "mezzo",
    "password": "secret",
    "secret": "secret",
}
CLUSTER_IP = "10.96.0.50"


def config_class(service: str) -> Any:
    return import_module(f"mezzo_{service}.config").Config


def flags_of(service: str) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class(service))}


@pytest.mark.parametrize("service", SERVICES)
def test_the_schema_knows_every_flag_of_a_service_and_no_other(service: str) -> None:
    path = CHART / "values.schema.json"
    schema = json.loads(path.read_text())
    known = schema["properties"][service]["properties"]["flags"]["properties"]
    if os.environ.get(UPDATE) == "1" and set(known) != flags_of(service):
        reference = {"$ref": "#/definitions/flag"}
        known.clear()
        known.update((field.name, reference) for field in dataclasses.fields(config_class(service)))
        path.write_text(json.dumps(schema, indent=2) + "\n")
    assert set(known) == flags_of(service), f"{UPDATE}=1 writes values.schema.json anew"


def _value(variable: Manifest) -> str:
    source = variable.get("valueFrom", {})
    if "fieldRef" in source:
        return KNOWN[source["fieldRef"]["fieldPath"]]
    if "secretKeyRef" in source:
        return KNOWN.get(source["secretKeyRef"]["key"], "given")
    return str(variable["value"])


def environment_of(container: Manifest, services: dict[str, str]) -> dict[str, str]:
    """What the container finds: variables of Services, then its own, in which $(NAME) is an earlier one."""
    found = dict(services)
    for variable in container["env"]:
        value = re.sub(r"\$\((\w+)\)", lambda match: found.get(match[1], match[0]), _value(variable))
        found[variable["name"]] = value
    return found


def variables_of_services(manifests: list[Manifest]) -> dict[str, str]:
    """What Kubernetes sets for each Service with an address of its own, in pods that ask for it."""
    found: dict[str, str] = {}
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("clusterIP") == "None":
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        number = str(service["spec"]["ports"][0]["port"])
        url = f"tcp://{CLUSTER_IP}:{number}"
        found |= {f"{name}_SERVICE_HOST": CLUSTER_IP, f"{name}_SERVICE_PORT": number, f"{name}_PORT": url}
        for port in service["spec"]["ports"]:
            found[f"{name}_SERVICE_PORT_{port['name'].upper()}"] = str(port["port"])
            for ending in ("", "_PROTO", "_PORT", "_ADDR"):
                found[f"{name}_PORT_{port['port']}_TCP{ending}"] = url
    return found


def configuration(
    manifests: list[Manifest], service: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Manifest]:
    """What the service itself makes of its file and its environment, and its pod."""
    (pod,) = [one for one in pods(manifests) if one["title"].endswith(f"-{service}")]
    (container,) = pod["spec"]["containers"]
    services = variables_of_services(manifests) if pod["spec"]["enableServiceLinks"] else {}
    for name, value in environment_of(container, services).items():
        monkeypatch.setenv(name, value)
    volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "flags")
    file = folder / "flags.json"
    file.write_text(named(manifests, "ConfigMap", volume["configMap"]["name"])["data"]["flags.json"])
    monkeypatch.setenv(environment_name(service, "config"), str(file))
    return load(config_class(service), [], service=service), pod


@needs_helm
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_what_it_is_told(
    manifests: list[Manifest], service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, pod = configuration(manifests, service, tmp_path, monkeypatch)
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (config.grpc_port, config.metrics_port) == (ports["grpc"], ports["metrics"])
    if "http" in ports:
        assert config.port == ports["http"]
    assert config.hostname in (KNOWN["status.podIP"], KNOWN["spec.nodeName"])
    set_by_name = {name for name in container_variables(container) if name.startswith(f"MEZZO_{service.upper()}_")}
    assert set_by_name <= {environment_name(service, flag) for flag in {"config", *flags_of(service)}}


def container_variables(container: Manifest) -> set[str]:
    return {variable["name"] for variable in container["env"]}


@needs_helm
def test_all_find_each_other(case: Path, manifests: list[Manifest], tmp_path: Path) -> None:
    found = {}
    for service in SERVICES:
        with pytest.MonkeyPatch.context() as patch:
            config, _ = configuration(manifests, service, tmp_path, patch)
            found[service] = config
    registry = found["registry"].zk
    if registry is not None:
        assert found["allocator"].zk == found["agent"].master == found["gateway"].master == registry
        if case.stem in ("external-zookeeper", "secrets"):
            assert registry.credential == "mezzo:secret"
        return
    services = {one["metadata"]["name"] for one in of_kind(manifests, "Service")}
    assert found["allocator"].zk is None
    assert found["registry"].allocator == ("mezzo-allocator", 5061)
    assert found["agent"].master == found["gateway"].master == ("mezzo-registry", 5060)
    assert {"mezzo-allocator", "mezzo-registry"} <= services


@needs_helm
def test_frameworks_are_told_the_address_of_the_gateways(case: Path, manifests: list[Manifest], tmp_path: Path) -> None:
    wanted = ("203.0.113.10", 443) if case.stem == "ingress-and-monitoring" else (CLUSTER_IP, 5050)
    for service in ("registry", "gateway"):
        with pytest.MonkeyPatch.context() as patch:
            config, _ = configuration(manifests, service, tmp_path, patch)
        assert (config.advertise_ip, config.advertise_port) == wanted, service


@needs_helm
def test_tasks_inherit_nothing_that_the_chart_tells_agents(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = configuration(manifests, "agent", tmp_path, monkeypatch)
    named = config.executor_environment_variables or {}
    assert settings(config, 5051).base_environment.keys() == {"PATH", *named}
