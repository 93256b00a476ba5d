"""More of everything than the arrays have room for at the start, in both forms of the inner loop."""

from __future__ import annotations

import pytest

from mezzo_allocator.core.agents import AGENTS_AT_START
from mezzo_allocator.core.frameworks import CLIENTS_AT_START
from mezzo_allocator.core.loops import REFERENCE, Loops
from mezzo_allocator.core.roles import CAPACITY_AT_START
from mezzo_allocator.testing import Conversation


@pytest.fixture(params=["plain", "compiled"])
def loops(request: pytest.FixtureRequest) -> Loops:
    if request.param == "plain":
        return REFERENCE
    found = request.getfixturevalue("compiled")
    assert isinstance(found, Loops)
    return found


@pytest.mark.slow("compiles the inner loop, where that has not been done on this machine")
def test_the_compiled_inner_loop_raises_where_it_would_leave_an_array(compiled: Loops) -> None:
    cluster = Conversation(loops=compiled)
    cluster.framework("f")
    cluster.agent("a", "cpus:1;mem:512")
    # Minimal amounts that nothing contains, and more of them than there are.
    clients = cluster.core.state.frameworks.arrays
    clients.least[:] = 2**60
    clients.least_length[:] = 100
    with pytest.raises(IndexError):
        cluster.cycle()


def test_limits_hold_for_more_roles_than_there_was_room_for(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    roles = [f"role{number:03d}" for number in range(2 * CAPACITY_AT_START)]
    for number, role in enumerate(roles):
        cluster.role(role, limits={"cpus": 1 + number % 3, "mem": 64})
        cluster.framework(f"of {role}", role)
    for role in roles:
        cluster.agent(f"for {role}", "cpus:8;mem:8192")
    assert cluster.offers()
    usage = {role: cluster.core.state.quota.usage(role) for role in roles}
    assert usage == {role: {"cpus": 1000 * (1 + number % 3), "mem": 64_000} for number, role in enumerate(roles)}
    assert cluster.full_pass() == []


def test_quota_is_counted_for_roles_that_come_after_there_was_no_more_room(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    cluster.role("first", limits={"cpus": 2, "mem": 1024})
    cluster.framework("of first", "first")
    cluster.agent("a", "cpus:1;mem:512")
    assert cluster.offers() == [("of first", "a", "cpus:1;mem:512")]
    for number in range(2 * CAPACITY_AT_START):
        cluster.framework(f"f{number}", f"role{number}", suppressed=[f"role{number}"])
    assert cluster.core.state.quota.usage("first") == {"cpus": 1000, "mem": 512_000}
    cluster.role("last", limits={"cpus": 1, "mem": 512})
    cluster.framework("of last", "last")
    cluster.agent("b", "cpus:8;mem:8192")
    assert sorted(cluster.offers()) == [("of first", "b", "cpus:1;mem:512"), ("of last", "b", "cpus:1;mem:512")]


def test_more_clients_than_there_was_room_for_are_served(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    names = [f"f{number:03d}" for number in range(2 * CLIENTS_AT_START + 1)]
    for name in names:
        cluster.framework(name, "eng")
    for name in names:
        cluster.agent(f"for {name}", "cpus:1;mem:512")
    assert sorted(framework for framework, _, _ in cluster.offers()) == names


def test_a_refusal_is_kept_of_clients_that_there_was_no_room_for(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    names = [f"f{number:03d}" for number in range(2 * CLIENTS_AT_START + 1)]
    for name in names:
        cluster.framework(name, "eng", suppressed=["eng"])
    cluster.agent("a", "cpus:1;mem:512")
    for name in (names[0], names[CLIENTS_AT_START], names[-1]):
        cluster.revive(name)
        (allocation,) = cluster.cycle()
        assert cluster.framework_of(allocation) == name
        cluster.decline(allocation, seconds=60.0)
        assert cluster.full_pass() == []


def test_more_agents_than_there_was_room_for_are_offered(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    cluster.framework("f")
    names = [f"a{number:04d}" for number in range(2 * AGENTS_AT_START + 1)]
    for name in names:
        cluster.agent(name, "cpus:1;mem:512")
    assert sorted(agent for _, agent, _ in cluster.offers()) == names


def test_more_resources_than_there_were_columns_for_are_limited_each(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    kinds = [f"kind{number:02d}" for number in range(20)]
    cluster.framework("f", "eng")
    cluster.role("eng", limits=dict.fromkeys(kinds, 1))
    cluster.agent("a", ";".join(["cpus:1", "mem:512", *(f"{kind}:3" for kind in kinds)]))
    ((_, _, what),) = cluster.offers()
    assert what == ";".join(sorted(["cpus:1", "mem:512", *(f"{kind}:1" for kind in kinds)]))


def test_a_pool_of_slices_grows_with_the_agent_that_has_many(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    roles = [f"role{number:02d}" for number in range(40)]
    for role in roles:
        cluster.framework(f"of {role}", role)
    cluster.agent("a", ";".join(f"cpus({role}):1;mem({role}):64" for role in roles))
    assert sorted(cluster.offers()) == [(f"of {role}", "a", f"cpus({role}):1;mem({role}):64") for role in roles]


def test_what_is_kept_from_a_client_stays_so_when_others_come(loops: Loops) -> None:
    cluster = Conversation(loops=loops)
    cluster.framework("f", "eng")
    cluster.agent("a", "cpus:1;mem:512;gpus:1")
    assert cluster.offers() == []
    for number in range(CLIENTS_AT_START):
        cluster.framework(f"f{number}", "eng", suppressed=["eng"])
    cluster.agent("b", "cpus:1;mem:512;gpus:1")
    cluster.agent("c", "cpus:1;mem:512")
    assert cluster.full_pass() == [("f", "c", "cpus:1;mem:512")]
