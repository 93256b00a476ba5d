"""What is printed after an installation: three commands that work as they stand."""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import Any

import typer

from mezzo.cli.app import app
from tests.charts.helm import NAMESPACE, RELEASE, needs_helm, template
from tests.charts.manifests import named, read

pytestmark = needs_helm


# helm prints the notes of an installation alone; rendered into an object they are seen without one.
OBJECT = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "notes"},
    "data": {"notes": '{{ include (print .Template.BasePath "/NOTES.txt") . | b64enc }}'},
}


def notes(*arguments: str) -> str:
    manifests = read(template("--set-json", f"extraObjects={json.dumps([OBJECT])}", *arguments))
    return base64.b64decode(named(manifests, "Secret", "notes")["data"]["notes"]).decode()


def test_three_commands_are_told_and_are_right() -> None:
    commands = [shlex.split(line) for line in re.findall(r"^  (\S.*)$", notes(), re.MULTILINE)]
    assert commands[:2] == [
        ["helm", "test", RELEASE, "--namespace", NAMESPACE, "--logs"],
        ["kubectl", "--namespace", NAMESPACE, "port-forward", "service/mezzo-gateway", "5050:5050"],
    ]
    program, *words = commands[2]
    verbs: Any = typer.main.get_command(app)
    assert program == "mezzo"
    assert words[0] == "--api=127.0.0.1:5050"
    assert words[1] in verbs.commands


def test_what_the_values_leave_open_is_told() -> None:
    told = notes()
    assert "3 registries, 2 allocators, 2 gateways, an agent on each node" in told
    assert "Mezzo does not authenticate yet" in told
    assert "There is no ZooKeeper" not in told


def test_of_one_each_is_spoken_in_the_singular() -> None:
    alone = "zookeeper.enabled=false,registry.replicas=1,allocator.replicas=1,gateway.replicas=1,agent.enabled=false"
    told = notes("--set", alone, "--set", "networkPolicy.enabled=true")
    assert "1 registry, 1 allocator, 1 gateway." in told
    assert "There is no ZooKeeper" in told
    assert "does not authenticate" not in told
