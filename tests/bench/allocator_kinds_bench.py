"""How much it costs the allocator that resources are of many kinds: `python -m tests.bench.allocator_kinds_bench`.

Volumes, labelled reservations, what operations make of that which is held, and what a dashboard asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import generate_latest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Reservation, Resources, parse
from mezzo_allocator.adapters.compiler import compile_loops
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.metrics import AllocatorMetrics
from tests.bench.allocator_bench import FOREVER_SECONDS, ROUNDS, Cluster, agent
from tests.bench.row import Row, milliseconds

UNPUBLISHED = "-"
ROLE = "role1"
LABELS = 12
VOLUMES = 50


def volumes(count: int) -> Resources:
    """As many persistent volumes, and the disk that is left beside them."""
    made = []
    for number in range(count):
        (disk,) = parse(f"disk({ROLE}):10").messages()
        disk.disk.persistence.id = f"volume{number}"
        disk.disk.volume.container_path = "volume"
        disk.disk.volume.mode = mesos.Volume.RW
        made.append(disk)
    return Resources.of(made)


def labelled(number: int, which: str) -> Resources:
    """CPUs under a reservation whose labels differ from those of all others in the last of twelve."""
    labels = mesos.Labels()
    for index in range(LABELS - 1):
        labels.labels.add(key=f"key{index}", value=f"value{index}")
    labels.labels.add(key=which, value=str(number))
    return parse("cpus:8").push_reservation(Reservation(ROLE, True, "principal", labels.SerializeToString()))


def filled(loops: Loops, frameworks: int, totals: Callable[[int], Resources], agents: int) -> Cluster:
    cluster = Cluster(loops, 0, [ROLE] * frameworks)
    for number in range(agents):
        cluster.handle(agent(number, totals(number)))
    return cluster


def persistent_volumes(loops: Loops) -> list[Row]:
    """Agents full of volumes, offered, given back and offered again."""
    total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]") + volumes(VOLUMES)
    cluster = filled(loops, 200, lambda _: total, 2_000)
    seconds = []
    for _ in range(ROUNDS):
        spent, allocations = cluster.decide()
        assert len(allocations) == 2_000
        seconds.append(spent)
        cluster.release(allocations)
    name = f"full decision, 2,000 agents with {VOLUMES} volumes each, 200 frameworks"
    return [Row("B1", name, UNPUBLISHED, milliseconds(seconds))]


def resource_labels(loops: Loops) -> list[Row]:
    """No two agents have the same reservations; everything is declined."""
    plain = parse("cpus:8;mem:4096;disk:4096;ports:[31000-32000]")
    cluster = filled(loops, 200, lambda number: plain + labelled(number, "bar") + labelled(number, "baz"), 2_000)
    seconds = []
    for _ in range(ROUNDS):
        spent, allocations = cluster.decide()
        assert len(allocations) == 2_000
        seconds.append(spent)
        cluster.release(allocations, FOREVER_SECONDS)
    name = "declined once each, 2,000 agents with labelled reservations, 200 frameworks, per round"
    return [Row("B1", name, UNPUBLISHED, milliseconds(seconds))]


def update_allocation(loops: Loops) -> list[Row]:
    """A framework reserves what it was offered, on one agent after the other."""
    plain = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]")
    reserved = parse("cpus:24;mem:4096").push_reservation(Reservation(ROLE, True)) + plain.filter(
        lambda kind: kind.name not in ("cpus", "mem")
    )
    cluster = filled(loops, 1, lambda _: plain, 2_000)
    _, allocations = cluster.decide()
    held = [(0, reserved.allocated_to(ROLE))]
    updates = [ev.AgentChanged(each.agent, agent(each.agent, plain).info, reserved, held, True) for each in allocations]
    started = time.perf_counter()
    for update in updates:
        cluster.handle(update)
    seconds = time.perf_counter() - started
    name = f"{len(updates):,} operations on what a framework holds, taken in"
    return [Row("B1", name, UNPUBLISHED, milliseconds([seconds]))]


def metrics(loops: Loops) -> list[Row]:
    """What a scrape takes that tells of a thousand roles with quota."""
    amounts = {"cpus": 1.0, "mem": 512.0, "disk": 256.0}
    cluster = Cluster(loops, 10_000, [f"role{number:04d}" for number in range(1_000)], "cpus:16;mem:2048;disk:1024")
    for number in range(1_000):
        cluster.handle(ev.RoleConfigured(f"role{number:04d}", 1.0, amounts, amounts))
    cluster.decide()
    metrics = AllocatorMetrics("bench")
    metrics.watch(cluster.core, clock=lambda: cluster.now)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        assert b'role="role0999"' in generate_latest(metrics.registry)
        seconds.append(time.perf_counter() - started)
    return [Row("B1", "metrics of 10,000 agents and 1,000 roles with quota", UNPUBLISHED, milliseconds(seconds))]


def run() -> list[Row]:
    """All rows."""
    loops = compile_loops()
    return [
        row for measure in (persistent_volumes, resource_labels, update_allocation, metrics) for row in measure(loops)
    ]


if __name__ == "__main__":
    for each in run():
        print(f"{each.what:85} {each.ours:>10}")
