"""One launch hop by hop, as `make trace` shows it: what happens, in which order, and how often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mezzo_chassis import trace
from tests.bench.trace import FRAMEWORK, Framework, Hop, passed, recorded
from tests.cluster import Cluster

TASKS = 5
TO_RUNNING = [
    Hop(FRAMEWORK, "sent", "ACCEPT"),
    Hop("gateway", "call parsed", "ACCEPT"),
    Hop("registry", "call received", "ACCEPT"),
    Hop("registry", "decided", "RUN_TASK"),
    Hop("agent", "received", "RUN_TASK"),
    Hop("agent", "decided", "RUN_TASK"),
    Hop("agent", "on disk", "RUN_TASK"),
    Hop("agent", "launch begins", ""),
    Hop("agent", "folders made", ""),
    Hop("launcher", "monitor runs", ""),
    Hop("launcher", "task recorded", ""),
    Hop("launcher", "program runs", ""),
    Hop("agent", "start seen", ""),
    Hop("agent", "decided", "TASK_RUNNING"),
    Hop("agent", "on disk", "TASK_RUNNING"),
    Hop("agent", "sent", "TASK_RUNNING"),
    Hop("registry", "received", "TASK_RUNNING"),
    Hop("registry", "decided", "TASK_RUNNING"),
    Hop("gateway", "event received", "TASK_RUNNING"),
    Hop(FRAMEWORK, "received", "TASK_RUNNING"),
]
TO_FINISHED = [
    Hop("launcher", "program runs", ""),
    Hop("launcher", "task ended", ""),
    Hop("agent", "end seen", ""),
    Hop("agent", "decided", "TASK_FINISHED"),
    Hop("agent", "on disk", "TASK_FINISHED"),
    Hop("agent", "sent", "TASK_FINISHED"),
    Hop(FRAMEWORK, "received", "TASK_FINISHED"),
]
STATES = ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
# Noted when it is out: the framework may have it before, and be at its end with the last.
WRITTEN = [Hop("gateway", "event written", state) for state in STATES[:-1]]


@pytest.fixture(scope="module")
def hops_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hops")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, hops_folder: Path) -> Iterator[Cluster]:
    """One that traces."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(trace.FOLDER_VARIABLE, str(hops_folder))
        with Cluster(tmp_path_factory.mktemp("cluster")) as running:
            yield running


async def test_each_task_passes_each_hop_once_and_in_order(cluster: Cluster, hops_folder: Path) -> None:
    framework = Framework(TASKS, 1, "once")
    await framework.run(cluster.url)
    times = passed(recorded(hops_folder), framework)
    for hop in [*TO_RUNNING, *TO_FINISHED, *WRITTEN]:
        assert {len(moments) for moments in times[hop].values()} == {1}, hop
        assert len(times[hop]) == TASKS, hop
    for task_id in times[TO_RUNNING[0]]:
        for way in (TO_RUNNING, TO_FINISHED):
            for before, after in pairwise(way):
                assert times[before][task_id] < times[after][task_id], (before, after)


async def test_a_launch_is_synced_for_what_is_begun_and_said_and_not_for_what_is_acknowledged(
    cluster: Cluster, hops_folder: Path
) -> None:
    framework = Framework(1, 1, "synced")
    await framework.run(cluster.url)
    agent: defaultdict[str, list[str]] = defaultdict(list)
    for _, hop, whose in sorted(recorded(hops_folder), key=lambda each: each[0]):
        if hop.process == "agent" and whose == "synced-0":
            agent[hop.name].append(hop.what)
    # An acknowledgement is synced only where it comes together with something that has to be.
    assert [what for what in agent["on disk"] if what != "ACKNOWLEDGE"] == ["RUN_TASK", *STATES]
    assert set(agent["written"]) <= {"ACKNOWLEDGE"}
    assert agent["sent"] == list(STATES)
