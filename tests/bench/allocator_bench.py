"""How fast the allocator's core decides: `python -m tests.bench.allocator_bench`.

Each function builds a cluster, decides several times, and returns rows: what was measured, the figure that others
published, and ours. The compiled inner loop is used, as in the running service; so is its garbage collection.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import Resources, parse
from mezzo_allocator.adapters.compiler import compile_loops
from mezzo_allocator.adapters.encoding import Encoder
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.loops import Loops
from mezzo_chassis.lifecycle import GC_THRESHOLDS
from tests.bench.row import Row, milliseconds

ROUNDS = 5
AGENT = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]"
ALL_AT_ONCE = 1_000_000
FOREVER_SECONDS = 3600.0


def framework(number: int, role: str = "*") -> ev.FrameworkChanged:
    """An active framework that takes whatever it is offered."""
    info = FrameworkInfo(user="bench", name=f"framework {number}", role=role)
    info.id.value = f"bench-{number:04d}"
    return ev.FrameworkChanged(number, info, frozenset(), True)


def agent(number: int, total: Resources) -> ev.AgentChanged:
    """An agent of which nothing is held."""
    info = AgentInfo(hostname=f"host{number}")
    info.id.value = f"bench-S{number}"
    return ev.AgentChanged(number, info, total, (), True)


class Cluster:
    """An allocator and the time it takes."""

    def __init__(self, loops: Loops, agents: int, roles: Sequence[str], resources: str = AGENT) -> None:
        self.core = Allocator(loops=loops)
        self.now = 0.0
        total = parse(resources)
        self.handle(ev.SessionBegun("bench"))
        for number, role in enumerate(roles):
            self.handle(framework(number, role))
        for number in range(agents):
            self.handle(agent(number, total))
        self.handle(ev.SnapshotEnded())
        gc.collect()
        gc.freeze()

    def handle(self, event: ev.Event) -> None:
        """Tells the core something that it does not answer."""
        self.core.handle(event, now=self.now)

    def decide(self) -> tuple[float, list[ev.Allocation]]:
        """Seconds of one full decision, and its allocations."""
        self.now += 0.01
        started = time.perf_counter()
        (outcome,) = self.core.handle(ev.CycleStarted(ALL_AT_ONCE), now=self.now)
        seconds = time.perf_counter() - started
        assert isinstance(outcome, ev.Allocated)
        return seconds, list(outcome.allocations)

    def release(self, allocations: Sequence[ev.Allocation], refuse_seconds: float | None = None) -> None:
        """Has allocations come back, declined or merely unused."""
        for each in allocations:
            resources = Resources.sum(each.resources).allocated_to(each.role)
            self.handle(ev.ResourcesRecovered(each.framework, each.agent, resources, refuse_seconds))


def full_cycles(loops: Loops) -> list[Row]:
    """B1: one role, everything free, nobody declines."""
    published = {
        (1_000, 100): "< 100 ms (Mesos 1.8)",
        (5_000, 500): "380 ms (Mesos 1.8)",
        (10_000, 1_000): "1,100 ms (Mesos 1.8)",
        (20_000, 2_000): "3,800 ms (Mesos 1.8)",
        (50_000, 1_000): "-",
    }
    rows = []
    for (agents, frameworks), figure in published.items():
        cluster = Cluster(loops, agents, ["*"] * frameworks)
        decided, written = [], []
        encoder = Encoder()
        for _ in range(ROUNDS):
            seconds, allocations = cluster.decide()
            assert len(allocations) == agents
            started = time.perf_counter()
            assert sum(map(len, encoder.cycle(allocations, wire.Cycle())))
            written.append(seconds + time.perf_counter() - started)
            decided.append(seconds)
            cluster.release(allocations)
        name = f"full decision, {agents:,} agents, {frameworks:,} frameworks"
        rows.append(Row("B1", name, figure, milliseconds(decided)))
        rows.append(Row("B1", f"{name}, with all allocations serialised", "-", milliseconds(written)))
    return rows


def incremental_cycle(loops: Loops) -> list[Row]:
    """B1d: one agent in a hundred of 50,000 has changed."""
    cluster = Cluster(loops, 50_000, ["*"] * 1_000)
    _, allocations = cluster.decide()
    seconds = []
    for round_number in range(ROUNDS):
        cluster.release(allocations[round_number * 500 : (round_number + 1) * 500])
        spent, again = cluster.decide()
        assert len(again) == 500
        seconds.append(spent)
    return [Row("B1d", "50,000 agents, 1 % changed, 1,000 frameworks", "-", milliseconds(seconds))]


def quota_cycle(loops: Loops) -> list[Row]:
    """B1q: as many roles as agents, half of them with a small quota and half with a large one."""
    count = 3_000
    cluster = Cluster(loops, count, [f"role{number:04d}" for number in range(count)], "cpus:24;mem:4096;disk:4096")
    for number in range(count):
        amounts = {"cpus": 1.0, "mem": 128.0, "disk": 128.0} if number % 2 else {"cpus": 24.0, "mem": 4096.0}
        cluster.handle(ev.RoleConfigured(f"role{number:04d}", 1.0, amounts, amounts))
    first, _ = cluster.decide()
    # Everybody has what the limits allow, or nothing is left: a pass over all agents that finds nothing to give.
    seconds = []
    for _ in range(ROUNDS):
        cluster.handle(ev.FullPassWanted())
        spent, allocations = cluster.decide()
        assert not allocations
        seconds.append(spent)
    return [
        Row("B1q", "3,000 agents, 3,000 roles with quota", "15,400 ms (Mesos 1.8)", milliseconds([first])),
        Row("B1q", "the same, nothing to allocate", "13,700 ms (Mesos 1.8)", milliseconds(seconds)),
    ]


def refused_cycles(loops: Loops) -> list[Row]:
    """Everything declined once by everybody in turn, and a pass when everybody has declined everything."""
    rows = []
    for agents, frameworks, figure in ((10_000, 1, "168 ms"), (10_000, 50, "982 ms"), (5_000, 200, "466 ms")):
        cluster = Cluster(loops, agents, ["*"] * frameworks)
        seconds = []
        for _ in range(min(frameworks, ROUNDS)):
            spent, allocations = cluster.decide()
            seconds.append(spent)
            cluster.release(allocations, FOREVER_SECONDS)
        name = f"declined once each, {agents:,} agents, {frameworks} frameworks, per round"
        rows.append(Row("B1", name, f"{figure} (Mesos 1.12, same class of machine)", milliseconds(seconds)))
    cluster = Cluster(loops, 50_000, ["*"] * 1_000)
    everybody = cluster.core.state.frameworks.active
    cluster.core.state.filters.bits[:] = everybody  # fifty million refusals, which nobody has the time to utter
    seconds = []
    for _ in range(ROUNDS):
        cluster.handle(ev.FullPassWanted())
        spent, allocations = cluster.decide()
        assert not allocations
        seconds.append(spent)
    rows.append(Row("B1", "all of 50,000 agents refused by all of 1,000 frameworks", "-", milliseconds(seconds)))
    return rows


def suppressed_cycle(loops: Loops) -> list[Row]:
    """All frameworks but one suppressed."""
    cluster = Cluster(loops, 10_000, ["*"] * 50)
    for number in range(50):
        cluster.handle(ev.OffersSuppressed(number))
    seconds = []
    for _ in range(ROUNDS):
        cluster.handle(ev.FullPassWanted())
        spent, allocations = cluster.decide()
        assert not allocations
        seconds.append(spent)
    return [Row("B1", "10,000 agents, 50 frameworks, all suppressed", "45 ms (Mesos 1.12)", milliseconds(seconds))]


def snapshot(loops: Loops) -> list[Row]:
    """The state of 50,000 agents and 1,000 frameworks, from the registry's messages."""
    total = parse(AGENT).messages()
    messages = []
    for number in range(50_000):
        info = agent(number, Resources.EMPTY).info
        update = wire.AgentUpdate(agent=number, agent_info=info, total=total, active=True)
        messages.append(wire.RegistryMessage(agent_update=update).SerializeToString())
    core, translator = Allocator(loops=loops), Translator()
    core.handle(ev.SessionBegun("bench"), now=0.0)
    started = time.perf_counter()
    for number in range(1_000):
        core.handle(framework(number), now=0.0)
    for message in messages:
        event = translator.event(wire.RegistryMessage.FromString(message))
        assert event is not None
        core.handle(event, now=0.0)
    seconds = time.perf_counter() - started
    name = "snapshot of 50,000 agents and 1,000 frameworks taken in"
    return [Row("B1", name, "5,469 ms (Mesos 1.12, 200 frameworks)", milliseconds([seconds]))]


def mixed_load(loops: Loops) -> list[Row]:
    """B2: 80 agents; 4 frameworks with 4,000 tasks each, 500 with 5, 50 with 20; tasks last until the next round."""
    tasks = [4_000] * 4 + [5] * 500 + [20] * 50
    cluster = Cluster(loops, 80, ["*"] * len(tasks), "cpus:24;mem:40960")
    task = parse("cpus:0.1;mem:64")
    waiting = dict(enumerate(tasks))
    launched = 0
    rounds = 0
    started = time.perf_counter()
    while waiting:
        rounds += 1
        assert rounds < 100_000
        running = []
        _, allocations = cluster.decide()
        for each in allocations:
            offered = Resources.sum(each.resources)
            fits = min(
                offered.thousandths_of("cpus") // 100,
                offered.thousandths_of("mem") // 64_000,
                waiting.get(each.framework, 0),
            )
            used = Resources.sum([task] * fits)
            launched += fits
            rest = (offered - used).allocated_to(each.role)
            if rest:
                cluster.handle(ev.ResourcesRecovered(each.framework, each.agent, rest))
            if used:
                running.append(ev.ResourcesRecovered(each.framework, each.agent, used.allocated_to(each.role)))
            if each.framework in waiting:
                waiting[each.framework] -= fits
                if not waiting[each.framework]:
                    del waiting[each.framework]
                    cluster.handle(ev.OffersSuppressed(each.framework))
        for ended in running:
            cluster.handle(ended)
    seconds = time.perf_counter() - started
    assert launched == sum(tasks)
    name = f"mixed load, {launched:,} tasks on 80 agents, in {rounds} rounds"
    return [Row("B2", name, "3,507 tasks in 30 s (Mesos 1.12)", f"{seconds:.2f} s")]


def run(benchmarks: Sequence[Callable[[Loops], list[Row]]] = ()) -> list[Row]:
    """All rows."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    loops = compile_loops()
    rows: list[Row] = []
    try:
        for benchmark in benchmarks or ALL:
            rows += benchmark(loops)
            gc.unfreeze()
    finally:
        gc.set_threshold(*before)
    return rows


ALL = (full_cycles, incremental_cycle, quota_cycle, refused_cycles, suppressed_cycle, snapshot, mixed_load)

if __name__ == "__main__":
    chosen = [each for each in ALL if each.__name__ in sys.argv[1:]]
    for row in run(chosen):
        print(f"{row.id:4} {row.what:72} {row.published:42} {row.ours:>12}")
