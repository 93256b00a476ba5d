"""How the cluster is shared, by the verbs of `mezzo`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest

from mezzo.cli.roles import WEIGHT_MAX, WEIGHT_MIN
from mezzo_registry.core.validation import quota
from tests.cluster import Cluster
from tests.mezzo_command import PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_FAILED, EXIT_USAGE = 1, 2
PAUSE_SECONDS = 0.05


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


def row(told: str, role: str) -> list[str]:
    return next((line.split() for line in told.splitlines() if line.split()[0] == role), [])


def until(condition: Callable[[], bool], what: str) -> None:
    """Gateways hear of what the registry keeps a moment after whoever changed it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_SECONDS)


def test_quotas_are_set_shown_and_removed(mezzo: MezzoCommand) -> None:
    told = mezzo.output("quota", "set", "eng", "--guarantee", "cpus:1,mem:512", "--limit", "cpus=2.5")
    assert told == "the quota of eng is set\n"
    assert row(mezzo.output("quota"), "eng") == ["eng", "–", "cpus", "1,", "mem", "512", "cpus", "2.5"]
    (quota,) = mezzo.json("quota")
    assert quota == {"role": "eng", "guarantee": {"cpus": 1, "mem": 512}, "limit": {"cpus": 2.5}, "consumed": {}}
    mezzo.output("quota", "set", "eng", "--limit", "cpus:0")
    until(lambda: row(mezzo.output("roles"), "eng")[-5:] == ["–", "cpus", "0", "–", "0"], "the limit shows")
    assert mezzo.output("quota", "remove", "eng") == "eng has no quota any more\n"
    assert mezzo.json("quota") == []
    ended = mezzo("quota", "remove", "eng")
    assert (ended.code, "role 'eng' has no quota" in ended.stderr) == (EXIT_FAILED, True)


def test_what_the_agents_do_not_have_is_guaranteed_by_force_alone(mezzo: MezzoCommand) -> None:
    ended = mezzo("quota", "set", "large", "-g", "cpus:100", "-l", "cpus:100")
    assert (ended.code, "exceed what the agents have" in ended.stderr) == (EXIT_FAILED, True)
    mezzo.output("quota", "set", "large", "-g", "cpus:100", "-l", "cpus:100", "--force")
    mezzo.output("quota", "remove", "large")


@pytest.mark.parametrize("words", [[], ["--limit", "cpus"], ["--limit", "cpus:-1"], ["--guarantee", "much"]])
def test_a_quota_that_says_nothing_is_a_wrong_option(words: list[str], mezzo: MezzoCommand) -> None:
    assert mezzo("quota", "set", "eng", *words).code == EXIT_USAGE


def test_a_quota_of_what_no_agent_has_is_set_by_force_alone(mezzo: MezzoCommand) -> None:
    ended = mezzo("quota", "set", "typo", "--limit", "cpu:4,cpus:4")
    assert (ended.code, ended.stdout) == (EXIT_FAILED, "")
    assert (
        ended.stderr
        == "mezzo: no agent has cpu; there are cpus, disk, gpus, mem, ports (--force sets it all the same)\n"
    )
    assert mezzo.json("quota") == []
    mezzo.output("quota", "set", "typo", "--limit", "cpu:4", "--force")
    mezzo.output("quota", "remove", "typo")


def test_weights_are_set_and_shown(mezzo: MezzoCommand) -> None:
    assert mezzo.output("weights", "set", "ads/web", "2.5") == "ads/web has the weight 2.5\n"
    assert row(mezzo.output("weights"), "ads/web") == ["ads/web", "2.5"]
    assert {"role": "ads/web", "weight": 2.5} in mezzo.json("weights")
    until(lambda: row(mezzo.output("roles", "-o", "wide"), "ads/web")[:2] == ["ads/web", "2.5"], "the weight shows")
    assert {"ads", "ads/web"} <= {role["name"] for role in mezzo.json("roles")}
    # What is refused before it is sent is what the registry would refuse.
    assert (WEIGHT_MIN, WEIGHT_MAX) == (quota.WEIGHT_MIN, quota.WEIGHT_MAX)
    assert mezzo("weights", "set", "ads/web", "0").code == EXIT_USAGE
    for bound in (WEIGHT_MIN, WEIGHT_MAX):
        mezzo.output("weights", "set", "ads/web", str(bound))
        assert {"role": "ads/web", "weight": bound} in mezzo.json("weights")


def test_the_endpoints_of_old_configure_the_same(cluster: Cluster, mezzo: MezzoCommand) -> None:
    guarantee: list[dict[str, Any]] = [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}]
    assert ask(cluster, "POST", "/master/quota", {"role": "old", "guarantee": guarantee}) == (200, b"")
    (config,) = json.loads(ask(cluster, "GET", "/quota")[1])["configs"]
    # Set in the form of old, a guarantee is the limit, too.
    assert config == {"role": "old", "guarantees": {"cpus": {"value": 1.0}}, "limits": {"cpus": {"value": 1.0}}}
    assert ask(cluster, "POST", "/quota", {"role": "old", "guarantee": guarantee})[0] == 400
    guarantee[0]["scalar"] = {"value": 99}
    assert ask(cluster, "POST", "/quota", {"role": "vast", "guarantee": guarantee})[0] == 409
    assert ask(cluster, "DELETE", "/quota/old") == (200, b"")
    assert ask(cluster, "DELETE", "/quota/old")[0] == 400
    assert mezzo.json("quota") == []
    assert ask(cluster, "PUT", "/weights", [{"role": "old", "weight": 3}]) == (200, b"")
    assert {"role": "old", "weight": 3.0} in json.loads(ask(cluster, "GET", "/weights")[1])
    assert ask(cluster, "PUT", "/weights", [{"role": "old", "weight": -3}])[0] == 400


def ask(cluster: Cluster, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    data = None if body is None else json.dumps(body)
    connection = HTTPConnection(cluster.gateway().http, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, data)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_each_verb_explains_itself(mezzo: MezzoCommand) -> None:
    for words in (
        ["roles"],
        ["why"],
        ["quota"],
        ["quota", "set"],
        ["quota", "remove"],
        ["weights"],
        ["weights", "set"],
    ):
        assert f"Usage: mezzo {' '.join(words)} " in mezzo.output(*words, "--help")
