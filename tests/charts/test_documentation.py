"""What is written about values: in values.yaml, and in the operators' guide."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import CHART, ROOT, Manifest, needs_helm, template
from tests.charts.manifests import containers, document, of_kind, read

GUIDE = ROOT / "docs" / "operations" / "kubernetes.md"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = document((CHART / "values.yaml").read_text())
# What may be left away altogether, so that there is nothing to write into values.yaml.
OPTIONAL = {
    "global",
    "claims",
    "rollingUpdate",
    "initialDelaySeconds",
    "successThreshold",
    "terminationGracePeriodSeconds",
}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference stands for."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = SCHEMA["definitions"][name] if name else schema
    return found


def unwritten(schema: dict[str, Any], values: Any, path: str = "") -> Iterator[str]:
    """What the schema allows and values.yaml does not show."""
    if path.endswith(".flags"):
        return
    for name, below in resolved(schema).get("properties", {}).items():
        if name in values:
            yield from unwritten(below, values[name] or {}, f"{path}.{name}")
        elif name not in OPTIONAL:
            yield f"{path}.{name}"


def test_values_yaml_shows_every_value_that_the_schema_allows() -> None:
    assert list(unwritten(SCHEMA, VALUES)) == []


def test_every_object_that_is_ours_refuses_what_it_does_not_know() -> None:
    def open_objects(schema: Any, path: str) -> Iterator[str]:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("additionalProperties") is not False and "type" in schema:
                yield path
            for name, below in schema.items():
                yield from open_objects(below, f"{path}/{name}")

    assert list(open_objects(SCHEMA, "")) == []


def test_the_image_that_helm_test_runs_has_what_the_command_mezzo_needs() -> None:
    project = tomllib.loads((ROOT / "sdk" / "python" / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    needed = {re.split(r"[<>=!~ ]", each, maxsplit=1)[0] for each in wanted}
    locked = (ROOT / "services" / "gateway" / "requirements.txt").read_text()
    assert "mezzo" in project["scripts"]
    assert needed <= set(re.findall(r"^([\w.-]+)==", locked, re.MULTILINE))


@needs_helm
def test_the_guide_names_the_pod_that_helm_test_leaves() -> None:
    (pod,) = of_kind(read(template()), "Pod")
    assert f"delete pod {pod['metadata']['name']}`" in GUIDE.read_text()


def known(path: str) -> bool:
    """Whether values.yaml has it, or, of a service's flags, which it does not list, the schema."""
    service, flags, name = path.partition(".flags.")
    if flags:
        return name in SCHEMA["properties"][service]["properties"]["flags"]["properties"]
    where: Any = VALUES
    for name in path.split("."):
        if not isinstance(where, dict) or name not in where:
            return False
        where = where[name]
    return True


def test_the_guide_names_values_that_there_are() -> None:
    roots = "|".join(VALUES)
    named = re.findall(rf"`((?:{roots})(?:\.\w+)+)(?:[=:][^`]*)?`", GUIDE.read_text())
    assert len(named) > 20
    assert [path for path in named if not known(path)] == []


@needs_helm
def test_the_values_that_the_guide_shows_are_taken(tmp_path: Path) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert shown
    for text in shown:
        values = tmp_path / "values.yaml"
        values.write_text(text)
        assert read(template("--values", values))


CPU, GIB = {"m": 0.001, "": 1.0}, {"Mi": 1 / 1024, "Gi": 1.0}


def asked(manifests: list[Manifest], kind: str) -> tuple[float, float]:
    """CPUs and GiB that the pods of such objects ask the nodes for; of a DaemonSet, on one node."""
    cpus = gib = 0.0
    for manifest in of_kind(manifests, kind):
        for container in containers(manifest["spec"]["template"]):
            wanted = container["resources"]["requests"]
            many = manifest["spec"].get("replicas", 1)
            cpus += many * quantity(wanted["cpu"], CPU)
            gib += many * quantity(wanted["memory"], GIB)
    return cpus, gib


def quantity(text: object, units: dict[str, float]) -> float:
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text))
    assert found, text
    return float(found[1]) * units[found[2]]


@needs_helm
@pytest.mark.parametrize(
    ("profile", "written"),
    [
        ([], r"ask the nodes for ([\d.]+) CPUs and ([\d.]+) GiB in all,\s+and for ([\d.]+) CPUs and ([\d.]+) GiB more"),
        (["small.yaml"], r"asks for ([\d.]+) CPUs and ([\d.]+) GiB,\s+and for ([\d.]+) CPUs and\s+([\d.]+) GiB more"),
    ],
    ids=["defaults", "small"],
)
def test_the_guide_says_what_a_cluster_asks_its_nodes_for(profile: list[str], written: str) -> None:
    manifests = read(template(*(f"--values={CHART / 'profiles' / name}" for name in profile)))
    services = [asked(manifests, kind) for kind in ("StatefulSet", "Deployment")]
    agent = asked(manifests, "DaemonSet")
    found = re.search(written, GUIDE.read_text())
    assert found
    measured = [sum(cpus for cpus, _ in services), sum(gib for _, gib in services), *agent]
    assert [float(text) for text in found.groups()] == pytest.approx(measured, abs=0.006)
