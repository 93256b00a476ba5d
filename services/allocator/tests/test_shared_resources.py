"""Shared volumes: one thing to shares and quota, however many hold it."""

from __future__ import annotations

from mezzo.resources import Resources, parse
from mezzo_allocator.core.measures import dominant_shares
from mezzo_allocator.testing import CAPABILITY, Conversation, shared_volume

VOLUME = shared_volume("v", disk_mb=50)
TOTAL = parse("cpus:100;mem:6400;disk:50") + VOLUME


def sharing(*frameworks: tuple[str, str], held: Resources = VOLUME) -> Conversation:
    """Frameworks in roles that all hold the volume, and want nothing more."""
    cluster = Conversation()
    for name, role in frameworks:
        cluster.framework(name, role, suppressed=[role], capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.agent("a", TOTAL, holdings=dict.fromkeys(frameworks, held))
    return cluster


def shares(cluster: Conversation) -> dict[str, float]:
    cluster.full_pass()
    return dominant_shares(cluster.core.state)


def test_a_shared_volume_counts_once_in_the_share_of_a_role() -> None:
    assert shares(sharing(("f1", "eng"), ("f2", "eng"))) == {"eng": 0.5}


def test_a_shared_volume_counts_for_each_framework_that_holds_it() -> None:
    cluster = sharing(("f1", "eng"), ("f2", "eng"))
    for name in ("f1", "f2"):
        (explanation,) = cluster.core.explain(name)
        assert explanation.places[-1].share == 0.5


def test_a_shared_volume_counts_once_above_the_roles_that_share_it() -> None:
    cluster = sharing(("f1", "eng/a"), ("f2", "eng/b"))
    assert shares(cluster) == {"eng": 0.5, "eng/a": 0.5, "eng/b": 0.5}
    cluster.recover("f1", "a", VOLUME, role="eng/a")
    assert shares(cluster) == {"eng": 0.5, "eng/a": 0.0, "eng/b": 0.5}
    cluster.recover("f2", "a", VOLUME, role="eng/b")
    assert shares(cluster) == {"eng": 0.0, "eng/a": 0.0, "eng/b": 0.0}


def test_copies_of_a_shared_volume_count_once_until_the_last_is_given_back() -> None:
    cluster = sharing(("f", "eng"), held=VOLUME + VOLUME)
    assert shares(cluster) == {"eng": 0.5}
    cluster.recover("f", "a", VOLUME, role="eng")
    assert shares(cluster) == {"eng": 0.5}
    cluster.recover("f", "a", VOLUME, role="eng")
    assert shares(cluster) == {"eng": 0.0}


def test_volumes_on_different_agents_count_each() -> None:
    cluster = sharing(("f", "eng"))
    cluster.agent("b", TOTAL)
    assert shares(cluster) == {"eng": 0.25}
    cluster.take("f", "b", VOLUME, role="eng")
    assert shares(cluster) == {"eng": 0.5}


def test_what_is_shared_and_not_shared_adds_up() -> None:
    cluster = sharing(("f1", "eng"), ("f2", "eng"))
    cluster.take("f1", "a", "disk:25", role="eng")
    assert shares(cluster) == {"eng": 0.75}


def test_a_shared_volume_that_is_offered_counts_like_one_that_is_used() -> None:
    cluster = Conversation()
    for name in ("f1", "f2"):
        cluster.framework(name, "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    cluster.agent("a", TOTAL)
    for _ in range(2):
        (allocation,) = cluster.cycle()
        rest = Resources.sum(allocation.resources).nonshared()
        cluster.recover(cluster.framework_of(allocation), "a", rest, role="eng", refuse=60.0)
    assert shares(cluster) == {"eng": 0.5}


def test_a_role_that_is_named_by_a_shared_volume_alone_is_known() -> None:
    cluster = Conversation()
    cluster.role("ops", limits={"cpus": 1})
    cluster.agent("a", TOTAL)
    assert cluster.core.state.quota.usage("eng") == {"disk": 50_000}


def test_an_agent_that_goes_takes_its_shared_volumes_out_of_shares() -> None:
    cluster = sharing(("f1", "eng"), ("f2", "eng"))
    cluster.agent("b", "disk:100")
    cluster.remove_agent("a")
    assert shares(cluster) == {"eng": 0.0}


def test_a_child_that_shares_its_parents_volume_uses_its_own_quota_once() -> None:
    cluster = sharing(("f1", "eng/a"), ("f2", "eng/a"), ("f3", "eng"))
    cluster.role("eng", limits={"disk": 1000})
    cluster.role("eng/a", limits={"disk": 1000})
    used = {role: cluster.core.state.quota.usage(role) for role in ("eng", "eng/a")}
    assert used == {"eng": {"disk": 50_000}, "eng/a": {"disk": 50_000}}
    cluster.recover("f1", "a", VOLUME, role="eng/a")
    assert cluster.core.state.quota.usage("eng/a") == {"disk": 50_000}
    cluster.recover("f2", "a", VOLUME, role="eng/a")
    assert cluster.core.state.quota.usage("eng/a") == {}
    assert cluster.core.state.quota.usage("eng") == {"disk": 50_000}
    cluster.take("f1", "a", VOLUME, role="eng/a")
    assert cluster.core.state.quota.usage("eng/a") == {"disk": 50_000}


def test_each_of_several_agents_with_shared_volumes_is_offered_with_what_is_its_own() -> None:
    cluster = Conversation()
    cluster.framework("f", "eng", capabilities=[CAPABILITY.SHARED_RESOURCES])
    volumes = {name: shared_volume(name, disk_mb=50) for name in ("a", "b", "c")}
    plain = {"a": "cpus:1;mem:64", "b": "cpus:2;mem:128", "c": "cpus:4;mem:256"}
    for name, volume in volumes.items():
        cluster.agent(name, parse(plain[name]) + volume, active=False)
    for name, volume in volumes.items():
        cluster.agent(name, parse(plain[name]) + volume)
    offered = {cluster.agent_of(each): Resources.sum(each.resources) for each in cluster.cycle()}
    assert offered == {name: parse(plain[name]) + volume for name, volume in volumes.items()}
