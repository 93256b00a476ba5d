"""What the DRF paper proves of divisible tasks holds of small ones, give or take a task or two.

Sharing incentive, envy-freeness, Pareto efficiency and strategy-proofness (NSDI'11, section 3), and weights.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.resources import Resources, parse
from mezzo_allocator.core import events as ev
from mezzo_allocator.testing import begun

CLUSTER = parse("cpus:40;mem:16384")


def launches(
    demands: list[Resources], weights: list[float] | None = None, agents: int = 1, roles: list[str] | None = None
) -> Iterator[list[int]]:
    """How many tasks each of some greedy frameworks runs after each launch, until nothing fits any more.

    Each is in a role of its own unless `roles` says otherwise. Whoever is offered something launches one task of it.
    """
    core = begun()
    for number in range(len(demands)):
        role = roles[number] if roles else f"role{number}"
        info = FrameworkInfo(user="nobody", name="f", role=role)
        info.id.value = f"f-{number:02d}"
        core.handle(ev.FrameworkChanged(number, info, frozenset(), True), now=0.0)
        core.handle(ev.RoleConfigured(role, weights[number] if weights else 1.0, {}, {}), now=0.0)
    size = parse(f"cpus:{40 / agents};mem:{16384 / agents}")
    for number in range(agents):
        core.handle(ev.AgentChanged(number, AgentInfo(hostname="h"), size, (), True), now=0.0)
    tasks = [0] * len(demands)
    while True:
        # One agent at a time: what one offer is used for is known before the next is made.
        (outcome,) = core.handle(ev.CycleStarted(agents_max=1), now=0.0)
        assert isinstance(outcome, ev.Allocated)
        if not outcome.allocations and not core.pending:
            return
        for each in outcome.allocations:
            free, demand = Resources.sum(each.resources), demands[each.framework]
            fits = free.contains(demand)
            rest = (free - demand if fits else free).allocated_to(each.role)
            if rest:
                refuse = None if fits else 3600.0
                core.handle(ev.ResourcesRecovered(each.framework, each.agent, rest, refuse), now=0.0)
            if fits:
                tasks[each.framework] += 1
                yield list(tasks)


def fill(demands: list[Resources], weights: list[float] | None = None) -> list[int]:
    """How many tasks each of some greedy frameworks starts until nothing fits any more."""
    return list(launches(demands, weights))[-1]


def dominant(resources: Resources) -> float:
    return max(resources.thousandths_of(name) / CLUSTER.thousandths_of(name) for name in ("cpus", "mem"))


def times(demand: Resources, count: int) -> Resources:
    return Resources.sum([demand] * count)


@st.composite
def demands(draw: st.DrawFn) -> list[Resources]:
    """What two to five frameworks want for each task."""
    each = st.tuples(st.sampled_from([0.5, 1, 2]), st.sampled_from([128, 256, 512]))
    return [parse(f"cpus:{cpus};mem:{mem}") for cpus, mem in draw(st.lists(each, min_size=2, max_size=5))]


@settings(max_examples=15, deadline=None)
@given(demands())
def test_sharing_is_no_worse_than_a_cluster_divided_by_the_number_of_frameworks(wanted: list[Resources]) -> None:
    """Give or take the largest task of anybody: in the end it fits no more, and a smaller one may still."""
    one_task = max(map(dominant, wanted))
    for demand, tasks in zip(wanted, fill(wanted), strict=True):
        assert dominant(times(demand, tasks)) >= 1 / len(wanted) - one_task


@settings(max_examples=15, deadline=None)
@given(demands())
def test_nobody_would_rather_have_what_another_has(wanted: list[Resources]) -> None:
    tasks = fill(wanted)
    for mine, my_tasks in zip(wanted, tasks, strict=True):
        for other, other_tasks in zip(wanted, tasks, strict=True):
            bundle = times(other, other_tasks)
            with_it = min(bundle.thousandths_of(name) // mine.thousandths_of(name) for name in ("cpus", "mem"))
            # One task of the other more or less is the grain of what is given out.
            grain = max(other.thousandths_of(name) / mine.thousandths_of(name) for name in ("cpus", "mem"))
            assert with_it <= my_tasks + 1 + grain


@settings(max_examples=15, deadline=None)
@given(demands())
def test_nothing_is_left_that_anybody_could_use(wanted: list[Resources]) -> None:
    used = Resources.sum(times(demand, tasks) for demand, tasks in zip(wanted, fill(wanted), strict=True))
    rest = CLUSTER - used
    assert not any(rest.contains(demand) for demand in wanted)


@settings(max_examples=15, deadline=None)
@given(demands(), st.sampled_from([2, 3]))
def test_asking_for_more_than_one_needs_starts_no_more_tasks(wanted: list[Resources], factor: int) -> None:
    """Give or take two of the largest tasks: one that fits no more in the end, and one that is several in truth."""
    lie = times(wanted[0], factor)
    honest, lied = fill(wanted)[0], fill([lie, *wanted[1:]])[0] * factor
    one_task = max(map(dominant, [lie, *wanted]))
    assert (lied - honest) * dominant(wanted[0]) <= 2 * one_task + 1e-9


@settings(max_examples=25, deadline=None)
@given(demands(), st.sampled_from([1, 2, 4]))
def test_dominant_shares_differ_by_one_task_at_most(wanted: list[Resources], agents: int) -> None:
    """After every launch, as long as every framework could launch another task on every agent."""
    one_task = max(map(dominant, wanted))
    smallest_agent = 1 / agents - one_task
    for tasks in launches(wanted, agents=agents):
        shares = [dominant(times(demand, count)) for demand, count in zip(wanted, tasks, strict=True)]
        if sum(shares) > smallest_agent:
            return
        assert max(shares) - min(shares) <= one_task + 1e-9, tasks


@settings(max_examples=25, deadline=None)
@given(demands())
def test_dominant_shares_of_siblings_differ_by_one_task_at_most_at_each_level(wanted: list[Resources]) -> None:
    """The first framework is alone in its role; all others are below another."""
    roles = ["ops", *(f"eng/team{number}" for number in range(1, len(wanted)))]
    one_task = max(map(dominant, wanted))
    for tasks in launches(wanted, roles=roles):
        held = [times(demand, count) for demand, count in zip(wanted, tasks, strict=True)]
        shares = [dominant(each) for each in held]
        if sum(shares) > 1 - one_task:
            return
        assert max(shares[1:]) - min(shares[1:]) <= one_task + 1e-9, tasks
        assert abs(shares[0] - dominant(Resources.sum(held[1:]))) <= one_task + 1e-9, tasks


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1, 2, 3, 4]))
def test_tasks_of_equal_demand_are_divided_by_weight(weight: int) -> None:
    demand = parse("cpus:0.5;mem:128")
    light, heavy = fill([demand, demand], [1.0, float(weight)])
    assert abs(heavy - weight * light) <= weight
