"""A cluster of real processes as an operator has it, to be measured.

What the clusters of tests have besides would be measured, too: cores that check their whole state every few turns,
shorter intervals, processes that were forked and copy memory as they touch it, an allocator that is still loading its
compiled code.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import Cluster

FLAGS = {
    "registry": {"scheduler_heartbeat_interval": "15secs"},
    "allocator": {"allocation_interval": "1secs"},
    "agent": {"log_level": "warning"},
}
COMPILED = "mezzo_allocator_inner_loop_compiled 1.0"
COMPILE_SECONDS_MAX = 120
RETRY_SECONDS = 0.1


@contextmanager
def measured_cluster(folder: Path, *, agents: int = 1) -> Iterator[Cluster]:
    """One of each service, which has nothing left of its start to do."""
    with Cluster(folder, agents=agents, flags=FLAGS, validate_every_turns=0, forked=False) as cluster:
        _wait_until_compiled(cluster)
        yield cluster


def _wait_until_compiled(cluster: Cluster) -> None:
    deadline = time.monotonic() + COMPILE_SECONDS_MAX
    while time.monotonic() < deadline:
        with urllib.request.urlopen(cluster.allocator().metrics, timeout=RETRY_SECONDS * 100) as answer:
            if COMPILED in answer.read().decode():
                return
        time.sleep(RETRY_SECONDS)
    raise TimeoutError(f"the allocator has not compiled its inner loop after {COMPILE_SECONDS_MAX} s")
