"""`make trace`: where the time of one ACCEPT → RUNNING → FINISHED goes, hop by hop and process by process."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from rich.console import Console
from rich.table import Table

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.http import JSON
from mezzo.resources import Resources
from mezzo.scheduler import HttpTransport, SchedulerClient
from mezzo_chassis import trace
from tests.bench.agent_bench import NEEDED, command
from tests.bench.measured_cluster import measured_cluster
from tests.bench.row import Row
from tests.cluster import Cluster

SINGLES = 200
MANY = 1_000
RUNS = 3
WARM_UP_TASKS = 50
PATIENCE_SECONDS = 300
QUIET_SECONDS = 0.5
"""After the last task: monitors end, and what they used is added to what their parent waited for."""
FRAMEWORK = "framework"
MONITORS = "monitors and tasks"


@dataclass(frozen=True, slots=True)
class Hop:
    """A point that a task passes: which process, where in it, and what was on its way."""

    process: str
    name: str
    what: str


@dataclass(slots=True)
class Framework:
    """Launches tasks, so many at a time, and notes when it sent and received what.

    No more than `at_a_time` are under way: offers that come meanwhile are kept.
    """

    count: int
    at_a_time: int
    prefix: str
    launched: int = 0
    finished: int = 0
    began: float = 0.0
    offers: deque[mesos.Offer] = field(default_factory=deque)
    hops: list[tuple[int, Hop, str]] = field(default_factory=list)
    # The task of each container.
    containers: dict[str, str] = field(default_factory=dict)

    async def run(self, url: str) -> float:
        """Seconds from the first ACCEPT to the last TASK_FINISHED."""
        info = mesos.FrameworkInfo(user="", name="trace")
        async with SchedulerClient(HttpTransport(url, JSON), info) as scheduler, asyncio.timeout(PATIENCE_SECONDS):
            async for event in scheduler.events():
                if event.type == v1.Event.OFFERS:
                    self.offers.extend(event.offers.offers)
                elif event.type == v1.Event.UPDATE:
                    await self._take(scheduler, event.update.status)
                await self._launch(scheduler)
                if self.finished == self.count:
                    break
            seconds = time.perf_counter() - self.began
            await scheduler.teardown()
        return seconds

    async def _launch(self, scheduler: SchedulerClient) -> None:
        while self.offers and (wanted := min(self.at_a_time - self._under_way, self.count - self.launched)):
            self.began = self.began or time.perf_counter()
            offer = self.offers.popleft()
            free = Resources.of(offer.resources).unallocated()
            room = min(wanted, int(free.thousandths_of("cpus") // NEEDED.thousandths_of("cpus")))
            tasks = [command(f"{self.prefix}-{self.launched + number}", offer.agent_id) for number in range(room)]
            self.launched += room
            for task in tasks:
                self._note("sent", "ACCEPT", task.task_id.value)
            await scheduler.launch(offer, tasks, 0)

    @property
    def _under_way(self) -> int:
        return self.launched - self.finished

    async def _take(self, scheduler: SchedulerClient, status: mesos.TaskStatus) -> None:
        task_id = status.task_id.value
        self._note("received", mesos.TaskState.Name(status.state), task_id)
        self.containers[status.container_status.container_id.value] = task_id
        self.finished += status.state == mesos.TASK_FINISHED
        self._note("sent", "ACKNOWLEDGE", task_id)
        await scheduler.acknowledge(status)

    def _note(self, name: str, what: str, task_id: str) -> None:
        self.hops.append((time.monotonic_ns(), Hop(FRAMEWORK, name, what), task_id))


# ------------------------------------------------------------------------------------------------------------- hops


def recorded(folder: Path) -> Iterator[tuple[int, Hop, str]]:
    """Every hop that the services have written: its time in nanoseconds, and whose it was."""
    for path in folder.glob(f"*{trace.SUFFIX}"):
        for line in path.read_text().splitlines():
            nanoseconds, name, what, whose = line.split("\t")
            yield int(nanoseconds), Hop(path.stem, name, what), whose


def passed(hops: Iterable[tuple[int, Hop, str]], framework: Framework) -> dict[Hop, dict[str, list[int]]]:
    """Of each hop, when each task of the framework passed it, in nanoseconds. Acknowledgements are numbered."""
    found: defaultdict[Hop, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    accepted = {whose for _, hop, whose in framework.hops if hop.what == "ACCEPT"}
    acknowledged: Counter[tuple[Hop, str]] = Counter()
    for nanoseconds, hop, whose in sorted((*hops, *framework.hops), key=lambda each: each[0]):
        task_id = framework.containers.get(whose, whose)
        if task_id not in accepted:
            continue
        if hop.what == "ACKNOWLEDGE":
            acknowledged[hop, task_id] += 1
            numbered = Hop(hop.process, hop.name, f"{hop.what} {acknowledged[hop, task_id]}")
            found[numbered][task_id].append(nanoseconds)
        else:
            found[hop][task_id].append(nanoseconds)
    return {hop: dict(times) for hop, times in found.items()}


def milliseconds_after_accept(times: Mapping[Hop, Mapping[str, Sequence[int]]]) -> dict[Hop, list[float]]:
    """Of each hop, how long after its ACCEPT each task passed it."""
    began = times[Hop(FRAMEWORK, "sent", "ACCEPT")]
    return {
        hop: [(moment - began[task_id][0]) / 1e6 for task_id, moments in by_task.items() for moment in moments]
        for hop, by_task in times.items()
    }


def hop_table(found: Mapping[Hop, Sequence[float]]) -> Table:
    """The hops in the order in which a task passes them."""
    table = Table("process", "hop", "what", "p50 ms", "p90 ms", "after the last hop")
    before = 0.0
    for hop, times in sorted(found.items(), key=lambda each: statistics.median(each[1])):
        median = statistics.median(times)
        p90 = sorted(times)[int(len(times) * 0.9)]
        table.add_row(hop.process, hop.name, hop.what, f"{median:.2f}", f"{p90:.2f}", f"{median - before:.2f}")
        before = median
    return table


# -------------------------------------------------------------------------------------------------------------- CPU


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used: CPU seconds, and how often one of its threads slept and was woken."""

    seconds: float
    wakeups: float = 0

    def __sub__(self, other: Self) -> Usage:
        return Usage(self.seconds - other.seconds, self.wakeups - other.wakeups)


def usage(cluster: Cluster) -> dict[str, Usage]:
    """Of every process of the cluster, and of this one; by name. Whatever the launcher waited for is the monitors'."""
    processes = {name.partition("-")[0]: psutil.Process(node.process.pid) for name, node in cluster.nodes.items()}
    found = {name: _usage(process) for name, process in processes.items()}
    found[FRAMEWORK] = _usage(psutil.Process())
    for child in processes["agent"].children():
        times = child.cpu_times()
        found["launcher"] = _usage(child)
        found[MONITORS] = Usage(times.children_user + times.children_system)
    return found


def _usage(process: psutil.Process) -> Usage:
    times = process.cpu_times()
    return Usage(times.user + times.system, _wakeups(process.pid))


def _wakeups(pid: int) -> int:
    """Voluntary context switches of all threads."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        line = next(line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt_switches"))
        total += int(line.split()[1])
    return total


def per_launch(used: Mapping[str, Usage], launches: int) -> dict[str, Usage]:
    """The same for one launch."""
    return {name: Usage(usage.seconds / launches, usage.wakeups / launches) for name, usage in used.items()}


def total(used: Mapping[str, Usage]) -> float:
    """CPU seconds of the cluster, without the framework."""
    return sum(usage.seconds for name, usage in used.items() if name != FRAMEWORK)


def cpu_table(spent: Mapping[str, Mapping[str, Usage]]) -> Table:
    """CPU and wake-ups of one launch, by process; columns for each way to launch."""
    table = Table("process", *(f"{way}: {what}" for way in spent for what in ("CPU ms", "wake-ups")))
    for process in next(iter(spent.values())):
        row = [process]
        for used in spent.values():
            row += [f"{used[process].seconds * 1e3:.2f}", "" if process == MONITORS else f"{used[process].wakeups:.1f}"]
        table.add_row(*row)
    table.add_section()
    table.add_row(
        "all but the framework", *(cell for used in spent.values() for cell in (f"{total(used) * 1e3:.1f}", ""))
    )
    return table


# ------------------------------------------------------------------------------------------------------------------


async def _measured(cluster: Cluster, framework: Framework) -> tuple[float, dict[str, Usage]]:
    """Seconds, and what each process used meanwhile."""
    before = usage(cluster)
    seconds = await framework.run(cluster.url)
    await asyncio.sleep(QUIET_SECONDS)
    after = usage(cluster)
    return seconds, {name: used - before[name] for name, used in after.items()}


@dataclass(frozen=True, slots=True)
class Spent:
    """What launches cost, one at a time and many at once, by process; and how many a second were launched at once."""

    alone: Mapping[str, Usage]
    crowd: Mapping[str, Usage]
    commands_per_second: float


async def spend(folder: Path, singles: int, many: int) -> Spent:
    """On a cluster that does not trace: hops cost time themselves."""
    with measured_cluster(folder) as cluster:
        await Framework(WARM_UP_TASKS, WARM_UP_TASKS, "warm").run(cluster.url)
        _, alone = await _measured(cluster, Framework(singles, 1, "single"))
        seconds, crowd = await _measured(cluster, Framework(many, many, "many"))
    return Spent(per_launch(alone, singles), per_launch(crowd, many), many / seconds)


async def follow(folder: Path, singles: int) -> dict[Hop, list[float]]:
    """When each hop was passed by commands that were launched one at a time, in milliseconds after ACCEPT."""
    hops = folder / "hops"
    hops.mkdir(parents=True)
    os.environ[trace.FOLDER_VARIABLE] = str(hops)
    try:
        with measured_cluster(folder / "cluster") as cluster:
            await Framework(WARM_UP_TASKS, WARM_UP_TASKS, "warm").run(cluster.url)
            framework = Framework(singles, 1, "single")
            await framework.run(cluster.url)
    finally:
        del os.environ[trace.FOLDER_VARIABLE]
    return milliseconds_after_accept(passed(recorded(hops), framework))


def cpu_row(what: str, before: str, used: Mapping[str, Usage]) -> Row:
    """A line of docs/benchmarks.md: all processes but the framework's, and each of them."""
    each = [f"{name} {usage.seconds * 1e3:.1f}" for name, usage in used.items() if name != FRAMEWORK]
    return Row("launch", what, before, f"{total(used) * 1e3:.1f} ms: {', '.join(each)}")


async def measure() -> list[Row]:
    """The rows on CPU; of several runs the least, which other work on the machine disturbs least."""
    with tempfile.TemporaryDirectory(prefix="mezzo-trace-") as name:
        runs = [await spend(Path(name, str(number)), SINGLES, MANY) for number in range(RUNS)]
    alone = min((run.alone for run in runs), key=total)
    crowd = min((run.crowd for run in runs), key=total)
    return [
        cpu_row("CPU of a plain command, one at a time, HTTP in JSON", "Mezzo 2026-11-23: 24 ms", alone),
        cpu_row(f"CPU of a plain command, {MANY:,} at once, HTTP in JSON", "–", crowd),
    ]


async def show(singles: int, many: int, console: Console) -> None:
    """Launch, and print the tables."""
    with tempfile.TemporaryDirectory(prefix="mezzo-trace-") as name:
        spent = await spend(Path(name, "plain"), singles, many)
        console.print(hop_table(await follow(Path(name, "traced"), singles)))
    console.print(cpu_table({"one at a time": spent.alone, "many at once": spent.crowd}))
    console.print(f"{spent.commands_per_second:.0f} commands a second, {many} at once on one agent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--singles", type=int, default=SINGLES, help="how many commands are launched one at a time")
    parser.add_argument("--many", type=int, default=MANY, help="how many commands are launched at once")
    arguments = parser.parse_args()
    asyncio.run(show(arguments.singles, arguments.many, Console()))


if __name__ == "__main__":
    main()
