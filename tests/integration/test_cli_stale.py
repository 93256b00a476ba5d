"""What `mezzo` shows while no registry can be reached: what the gateway knew last, and that it is old."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest

from tests.cluster import Cluster
from tests.mezzo_command import MezzoCommand
from tests.polling import PATIENCE_SECONDS

pytestmark = pytest.mark.timeout(120)

EXIT_UNREACHABLE, EXIT_INTERRUPTED = 69, 130
PAUSE_SECONDS = 0.05
WARNING = re.compile(r"mezzo: no registry leads, or none can be reached; what follows is \d+ s old\n")


@pytest.fixture(scope="module")
def orphaned(cluster: Cluster) -> MezzoCommand:
    """A cluster whose registry has just been killed."""
    mezzo = MezzoCommand(cluster.gateway().http)
    mezzo.output("run", "--name", "before", "--", "true")
    mezzo.output("weights", "set", "eng", "2")
    mezzo.output("quota", "set", "eng", "--limit", "cpus:2")
    registry = cluster.registry().process
    registry.kill()
    cluster_forgets_it(mezzo)
    return mezzo


def cluster_forgets_it(mezzo: MezzoCommand) -> None:
    """Wait until the gateway has noticed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not mezzo("status").stderr:
        assert time.monotonic() < deadline, "the gateway still follows a registry"
        time.sleep(PAUSE_SECONDS)


@pytest.mark.parametrize("output", ["table", "wide", "json"])
@pytest.mark.parametrize(
    "verb", ["status", "agents", "frameworks --all", "tasks --all", "roles", "quota", "weights"], ids=str
)
def test_verbs_show_what_was_known_last_and_say_so(verb: str, output: str, orphaned: MezzoCommand) -> None:
    ended = orphaned(*verb.split(), "-o", output)
    assert ended.code == 0
    assert WARNING.fullmatch(ended.stderr), ended.stderr
    if output == "json":
        assert json.loads(ended.stdout)
    else:
        assert len(ended.stdout.splitlines()) > 1


@pytest.mark.parametrize(
    "words",
    [
        ("why",),
        ("weights", "set", "eng", "3"),
        ("quota", "set", "eng", "--limit", "cpus:1"),
        ("quota", "remove", "eng"),
        ("kill", "before-"),
    ],
    ids=" ".join,
)
def test_what_needs_a_registry_is_refused_as_unreachable(words: tuple[str, ...], orphaned: MezzoCommand) -> None:
    ended = orphaned(*words)
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    *_, last = ended.stderr.splitlines()
    assert last.startswith("mezzo: ")
    assert "Traceback" not in ended.stderr


def test_a_run_waits_for_a_registry_and_says_so(orphaned: MezzoCommand) -> None:
    with orphaned.started("run", "--", "true") as process:
        assert process.stderr is not None
        assert WARNING.fullmatch(process.stderr.readline())
        assert process.stderr.readline() == "mezzo: waiting for an offer: no registry has taken the framework in\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
