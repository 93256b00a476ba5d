"""What helm renders, as objects: read strictly, looked up by kind and name, and written the same way each time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from tests.charts.helm import Manifest

# What makes pods.
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; YAML's own loader takes the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice in a mapping: {sorted(twice)}", node.start_mark)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(text: str) -> Any:
    return yaml.load(text, _Loader)


def read(rendered: str) -> list[Manifest]:
    """The objects, in the order of kind, namespace and name."""
    found = [document for document in yaml.load_all(rendered, _Loader) if document]
    return sorted(found, key=lambda one: (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]))


def write(manifests: list[Manifest]) -> str:
    """The same for the same objects, whichever version of helm has rendered them."""
    return str(yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=True, width=1000))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name]
    return found


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """Every pod that is made: `metadata`, `spec`, and whose it is as `title`."""
    made = [{**one["spec"]["template"], "title": title(one)} for one in of_kind(manifests, *WORKLOADS)]
    made += [{**one, "title": title(one)} for one in of_kind(manifests, "Pod")]
    assert made, "what is to be said of every pod would be said of none"
    return made


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def strings(value: Any) -> Iterator[str]:
    """Every text inside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
