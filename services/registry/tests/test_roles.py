"""What operators configure for roles: weights and quota, who is told, and what it does to offers."""

from collections.abc import Callable

import pytest

from mesos.v1.master import master_pb2 as master
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import parse
from mezzo_registry.core import Settings, effects, events, records
from mezzo_registry.testing import Cluster, FakeFramework

Call = master.Call
MakeCluster = Callable[..., Cluster]
Amounts = dict[str, float]


def weights(**by_role: float) -> master.Call:
    call = Call(type=Call.UPDATE_WEIGHTS)
    call.update_weights.SetInParent()
    for role, weight in by_role.items():
        call.update_weights.weight_infos.add(role=role, weight=weight)
    return call


def quota(*configs: tuple[str, Amounts, Amounts], force: bool = False) -> master.Call:
    """Role, guarantees and limits of each."""
    call = Call(type=Call.UPDATE_QUOTA)
    call.update_quota.force = force
    for role, guarantees, limits in configs:
        config = call.update_quota.quota_configs.add(role=role)
        for name, amount in guarantees.items():
            config.guarantees[name].value = amount
        for name, amount in limits.items():
            config.limits[name].value = amount
    return call


def old_quota(role: str, resources: str, *, force: bool = False) -> master.Call:
    call = Call(type=Call.SET_QUOTA)
    request = call.set_quota.quota_request
    request.role, request.force = role, force
    request.guarantee.extend(parse(resources).messages())
    return call


def remove_quota(role: str) -> master.Call:
    call = Call(type=Call.REMOVE_QUOTA)
    call.remove_quota.role = role
    return call


def answer(cluster: Cluster) -> master.Response | None:
    (given,) = cluster.of(effects.Answer)
    response: master.Response | None = given.response
    return response


def restarted(make_cluster: MakeCluster, cluster: Cluster, settings: Settings | None = None) -> Cluster:
    """Another leader, from what the store holds."""
    tables: dict[str, dict[str, bytes]] = {}
    for (table, key), value in cluster.store.items():
        tables.setdefault(table, {})[key] = value
    return make_cluster(settings, records.elected(tables))


def rescinded(cluster: Cluster, framework: FakeFramework) -> list[str]:
    return [one.rescind.offer_id.value for one in cluster.to_framework(framework) if one.HasField("rescind")]


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_are_stored_before_anybody_is_told(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    cluster.hold_store()
    cluster.operate(weights(web=2.0))
    assert not cluster.of(effects.Answer)
    assert not cluster.to_allocator()
    assert not cluster.published("role_changed")
    cluster.release_store()
    assert answer(cluster) is None
    assert cluster.roles_to_allocator() == {"web": allocator.RoleUpdate(role="web", weight=2.0)}
    (changed,) = cluster.published("role_changed")
    assert (changed.role, changed.weight, changed.configured, changed.forgotten) == ("web", 2.0, True, False)


def test_next_leader_and_a_new_allocator_know_what_is_configured(cluster: Cluster, make_cluster: MakeCluster) -> None:
    cluster.operate(weights(web=2.0))
    cluster.operate(quota(("eng", {"cpus": 0.5}, {"cpus": 4.0, "mem": 64.0}), force=True))
    later = restarted(make_cluster, cluster)
    later.allocator()
    kinds = [one.WhichOneof("message") for one in later.to_allocator()]
    assert kinds == ["begin", "role_update", "role_update", "snapshot_end"]
    sent = later.roles_to_allocator()
    assert sent["web"].weight == 2.0
    assert dict(sent["eng"].quota_guarantees) == {"cpus": 0.5}
    assert dict(sent["eng"].quota_limits) == {"cpus": 4.0, "mem": 64.0}
    assert sent["eng"].weight == 1.0


def test_operator_reads_the_weights_that_were_set(cluster: Cluster) -> None:
    cluster.operate(weights(web=2.0, eng=1.0))
    cluster.operate(Call(type=Call.GET_WEIGHTS))
    response = answer(cluster)
    assert response is not None
    assert [(one.role, one.weight) for one in response.get_weights.weight_infos] == [("eng", 1.0), ("web", 2.0)]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e-320, 1e308])
def test_weight_that_is_not_positive_is_refused(cluster: Cluster, weight: float) -> None:
    cluster.operate(weights(ok=2.0, web=weight))
    assert cluster.refusal().startswith("InvalidRequest: update_weights.weight_infos[1].weight: ")
    assert not cluster.registry.state.configuration.weights


def test_weight_of_what_is_no_role_is_refused(cluster: Cluster) -> None:
    call = weights()
    for role in ("a//b", "x" * 256):
        del call.update_weights.weight_infos[:]
        call.update_weights.weight_infos.add(role=role, weight=1.0)
        cluster.operate(call)
        assert "update_weights.weight_infos[0].role: " in cluster.refusal()


def test_role_named_twice_in_one_update_is_refused(cluster: Cluster) -> None:
    call = weights(web=1.0)
    call.update_weights.weight_infos.add(role=" web ", weight=2.0)
    cluster.operate(call)
    assert "update_weights.weight_infos[1].role: " in cluster.refusal()


def test_new_weight_of_a_role_in_use_rescinds_all_offers(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework("MULTI_ROLE", roles=["web/a", "eng"])
    offer = cluster.offer(framework, agent, "cpus:1", "eng")
    cluster.operate(weights(idle=3.0))
    assert rescinded(cluster, framework) == []
    cluster.operate(weights(web=3.0))
    assert rescinded(cluster, framework) == [offer.id.value]
    kinds = [one.WhichOneof("message") for one in cluster.to_allocator()]
    assert kinds == ["role_update", "recovered"]


def test_weights_of_the_flags_count_until_the_store_has_some(make_cluster: MakeCluster) -> None:
    flags = Settings(weights={"web": 2.0})
    first = make_cluster(flags)
    first.allocator()
    assert first.roles_to_allocator()["web"].weight == 2.0
    first.operate(weights(eng=5.0))
    later = restarted(make_cluster, first, Settings(weights={"web": 9.0}))
    assert later.registry.state.configuration.weights == {"web": 2.0, "eng": 5.0}


# --- quota ------------------------------------------------------------------------------------------------------------


def test_quota_is_stored_before_anybody_is_told(cluster: Cluster) -> None:
    cluster.agent("cpus:4")
    cluster.hold_store()
    cluster.operate(quota(("web", {"cpus": 1}, {"cpus": 2})))
    assert not cluster.of(effects.Answer)
    assert not cluster.to_allocator()
    cluster.release_store()
    assert answer(cluster) is None
    assert dict(cluster.roles_to_allocator()["web"].quota_limits) == {"cpus": 2.0}


def test_operator_reads_quota_in_both_forms(cluster: Cluster) -> None:
    cluster.agent("cpus:4")
    cluster.operate(quota(("web", {"cpus": 1}, {"cpus": 2, "mem": 10})))
    cluster.operate(Call(type=Call.GET_QUOTA))
    response = answer(cluster)
    assert response is not None
    (config,) = response.get_quota.status.configs
    assert (config.role, config.guarantees["cpus"].value) == ("web", 1.0)
    assert {name: one.value for name, one in config.limits.items()} == {"cpus": 2.0, "mem": 10.0}
    (info,) = response.get_quota.status.infos
    assert [(one.name, one.scalar.value) for one in info.guarantee] == [("cpus", 1.0)]


def test_text_in_a_map_that_is_none_is_refused_with_its_path(cluster: Cluster) -> None:
    call = quota(("web", {}, {"abcd": 2}))
    cluster.operate(Call.FromString(call.SerializeToString().replace(b"abcd", b"ab\xff\xfe")))
    assert cluster.refusal().startswith("InvalidRequest: update_quota.quota_configs[0].limits['ab")
    assert cluster.refusal().endswith(": is not UTF-8")


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (("", {}, {}), "[0].role: "),
        (("a b", {}, {}), "[0].role: "),
        (("web", {"cpus": -1}, {}), "[0].guarantees['cpus'].value: "),
        (("web", {}, {"cpus": float("nan")}), "[0].limits['cpus'].value: "),
        (("web", {}, {"mem": 1e18}), "[0].limits['mem'].value: "),
        (("web", {"cpus": 2}, {"cpus": 1}), "[0].guarantees['cpus'].value: "),
        (("web", {"ports": 2}, {}), "[0].guarantees['ports']: "),
    ],
)
def test_quota_that_makes_no_sense_is_refused(
    cluster: Cluster, config: tuple[str, Amounts, Amounts], where: str
) -> None:
    cluster.operate(quota(config, force=True))
    assert cluster.refusal().partition(": ")[2].startswith(f"update_quota.quota_configs{where}")


def test_batch_is_all_or_nothing(cluster: Cluster) -> None:
    cluster.operate(quota(("web", {}, {"cpus": 2}), ("eng", {"cpus": 2}, {"cpus": 1})))
    assert "quota_configs[1]" in cluster.refusal()
    assert not cluster.registry.state.configuration.quotas
    assert not cluster.of(effects.Persist)


def test_guarantees_of_children_stay_within_their_parents(cluster: Cluster) -> None:
    cluster.agent("cpus:10")
    cluster.operate(quota(("eng/a", {"cpus": 1}, {})))
    assert "role 'eng'" in cluster.refusal()
    cluster.operate(quota(("eng", {"cpus": 3}, {}), ("eng/a", {"cpus": 1}, {}), ("eng/b", {"cpus": 2}, {})))
    assert cluster.of(effects.Answer)
    cluster.operate(quota(("eng/b", {"cpus": 2.5}, {})))
    assert "update_quota.quota_configs: role 'eng'" in cluster.refusal()
    cluster.operate(remove_quota("eng"))
    assert "role 'eng'" in cluster.refusal()


def test_limit_of_a_child_is_no_higher_than_its_ancestors(cluster: Cluster) -> None:
    cluster.operate(quota(("eng", {}, {"cpus": 2}), ("eng/a/b", {}, {"cpus": 3})))
    assert "quota_configs[1]: role 'eng/a/b'" in cluster.refusal()
    cluster.operate(quota(("eng", {}, {"cpus": 2}), ("eng/a/b", {}, {"cpus": 2, "mem": 7})))
    assert cluster.of(effects.Answer)


def test_call_is_checked_against_what_is_still_being_stored(cluster: Cluster) -> None:
    cluster.agent("cpus:10")
    cluster.hold_store()
    cluster.operate(old_quota("web", "cpus:1"))
    cluster.operate(old_quota("web", "cpus:2"))
    assert "role 'web' has a quota" in cluster.refusal()


def test_guarantees_beyond_the_cluster_are_refused_unless_forced(cluster: Cluster) -> None:
    agent = cluster.agent("cpus:4;mem:100")
    cluster.operate(quota(("web", {"cpus": 3}, {})))
    assert cluster.of(effects.Answer)
    cluster.operate(quota(("eng", {"cpus": 2}, {})))
    assert cluster.refusal().startswith(
        "InvalidRequest: update_quota.quota_configs: the guarantees of all roles, cpus:5"
    )
    cluster.operate(old_quota("eng", "cpus:2"))
    assert cluster.refusal().startswith("Conflict: ")
    cluster.disconnect(agent)
    cluster.operate(quota(("eng", {"cpus": 1}, {})))
    assert cluster.of(effects.Answer), "an agent that is away for a moment counts"
    cluster.operate(quota(("eng", {"cpus": 2}, {}), force=True))
    assert cluster.of(effects.Answer)


def test_guarantees_of_children_are_not_counted_twice(cluster: Cluster) -> None:
    cluster.agent("cpus:4")
    cluster.operate(quota(("eng", {"cpus": 4}, {}), ("eng/a", {"cpus": 4}, {})))
    assert cluster.of(effects.Answer)


def test_limits_below_what_is_consumed_are_refused_unless_forced(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4"), cluster.framework("MULTI_ROLE", roles=["web/a"])
    offer = cluster.offer(framework, agent, "cpus:2", "web/a")
    cluster.accept(framework, [offer], cluster.task_info(offer, "t1", "cpus:2"))
    cluster.operate(quota(("web", {}, {"cpus": 1})))
    assert "role 'web' already consumes cpus:2" in cluster.refusal()
    cluster.operate(quota(("web", {}, {"cpus": 1}), force=True))
    assert cluster.of(effects.Answer)


def test_what_is_reserved_to_a_role_is_consumed(cluster: Cluster) -> None:
    cluster.agent("cpus(web):2;cpus:4")
    cluster.operate(quota(("web", {}, {"cpus": 1})))
    assert "already consumes cpus:2" in cluster.refusal()


def test_offers_with_which_a_role_could_exceed_its_limits_are_rescinded(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:9"), cluster.framework("MULTI_ROLE", roles=["web/a", "web/b", "eng"])
    cluster.offer(framework, agent, "cpus:2", "web/a")
    second = cluster.offer(framework, agent, "cpus:2", "web/b")
    cluster.offer(framework, agent, "cpus:2", "eng")
    cluster.operate(quota(("web", {}, {"cpus": 3})))
    assert rescinded(cluster, framework) == [second.id.value]


def test_guarantee_makes_room_of_whole_agents(cluster: Cluster) -> None:
    agents = [cluster.agent("cpus:4") for _ in range(3)]
    framework = cluster.framework("MULTI_ROLE", roles=["other"])
    made = [cluster.offer(framework, agent, "cpus:2", "other").id.value for agent in agents for _ in range(2)]
    cluster.operate(quota(("web", {"cpus": 3}, {})))
    assert rescinded(cluster, framework) == made[:2]
    updates = [one.WhichOneof("message") for one in cluster.to_allocator()]
    assert updates == ["role_update", "recovered", "recovered"]


def test_guarantee_makes_room_on_as_many_agents_as_the_role_has_frameworks(cluster: Cluster) -> None:
    agents = [cluster.agent("cpus:4") for _ in range(3)]
    framework = cluster.framework("MULTI_ROLE", roles=["other"])
    for _ in range(2):
        cluster.framework("MULTI_ROLE", roles=["web/a"])
    made = [cluster.offer(framework, agent, "cpus:4", "other").id.value for agent in agents]
    cluster.operate(quota(("web", {"cpus": 1}, {})))
    assert rescinded(cluster, framework) == made[:2]


def test_guarantee_that_is_met_needs_no_room(cluster: Cluster) -> None:
    cluster.agent("cpus(web):2")
    agent, other = cluster.agent("cpus:4"), cluster.framework("MULTI_ROLE", roles=["other"])
    cluster.framework("MULTI_ROLE", roles=["web"])
    cluster.offer(other, agent, "cpus:4", "other")
    cluster.operate(quota(("web", {"cpus": 2}, {})))
    assert rescinded(cluster, other) == []


def test_quota_of_old_is_guarantee_and_limit(cluster: Cluster) -> None:
    cluster.agent("cpus:4;mem:100")
    cluster.operate(old_quota("web", "cpus:2;mem:50"))
    sent = cluster.roles_to_allocator()["web"]
    assert dict(sent.quota_guarantees) == dict(sent.quota_limits) == {"cpus": 2.0, "mem": 50.0}
    cluster.operate(old_quota("web", "cpus:1"))
    assert cluster.refusal().startswith("InvalidRequest: set_quota.quota_request.role: ")


@pytest.mark.parametrize(
    ("resources", "where"),
    [("", ": "), ("ports:[1-2]", "[0].type: "), ("cpus(eng):1", "[0].reservations: ")],
)
def test_quota_of_old_that_makes_no_sense_is_refused(cluster: Cluster, resources: str, where: str) -> None:
    cluster.operate(old_quota("web", resources) if resources else _empty_quota())
    assert cluster.refusal().startswith(f"InvalidRequest: set_quota.quota_request.guarantee{where}")


def _empty_quota() -> master.Call:
    call = Call(type=Call.SET_QUOTA)
    call.set_quota.quota_request.role = "web"
    return call


def test_removed_quota_is_told_and_forgotten(cluster: Cluster, make_cluster: MakeCluster) -> None:
    cluster.agent("cpus:4")
    cluster.operate(old_quota("web", "cpus:2"))
    cluster.handle(events.ObserverJoined(1))
    (known,) = cluster.published("role_changed")
    assert known.configured
    assert dict(known.quota_guarantees) == {"cpus": 2.0}
    cluster.operate(remove_quota("web"))
    assert cluster.roles_to_allocator() == {"web": allocator.RoleUpdate(role="web", weight=1.0)}
    (changed,) = cluster.published("role_changed")
    assert changed.forgotten
    assert not changed.configured
    assert not restarted(make_cluster, cluster).registry.state.configuration.quotas
    cluster.operate(remove_quota("web"))
    assert cluster.refusal() == "InvalidRequest: remove_quota.role: role 'web' has no quota"


def test_role_without_frameworks_and_configuration_is_forgotten(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    framework = cluster.framework("MULTI_ROLE", roles=["web", "eng"], failover_timeout=0.0)
    assert {one.role for one in cluster.published("role_changed") if not one.forgotten} == {"web", "eng"}
    cluster.operate(weights(eng=2.0))
    cluster.close(framework)
    cluster.advance(1.0)
    changed = {one.role: one for one in cluster.published("role_changed")}
    assert changed["web"].forgotten
    assert changed["eng"].configured
    assert not changed["eng"].forgotten


def test_call_without_its_field_is_refused(cluster: Cluster) -> None:
    for kind in (Call.UPDATE_WEIGHTS, Call.UPDATE_QUOTA, Call.SET_QUOTA, Call.REMOVE_QUOTA):
        cluster.operate(Call(type=kind))
        assert "is required for a call of type" in cluster.refusal()


def test_more_roles_than_a_transaction_of_the_store_holds_are_refused(cluster: Cluster) -> None:
    call = weights()
    for number in range(9_000):
        call.update_weights.weight_infos.add(role=f"{number:080d}", weight=1.0)
    cluster.operate(call)
    assert cluster.refusal().startswith("LimitExceeded: ")
    assert not cluster.registry.state.pending_configuration.weights
    del call.update_weights.weight_infos[6_000:]
    for _ in range(2):
        cluster.operate(call)
        assert cluster.of(effects.Answer), "the same again is no more than before"


def test_role_update_of_a_resource_is_no_quota_of_another(cluster: Cluster) -> None:
    cluster.agent("cpus:4;mem:100")
    cluster.operate(quota(("web", {"cpus": 1}, {"mem": 10})))
    assert cluster.of(effects.Answer)
    sent = cluster.roles_to_allocator()["web"]
    assert (dict(sent.quota_guarantees), dict(sent.quota_limits)) == ({"cpus": 1.0}, {"mem": 10.0})


def test_flags_of_the_allocator_are_told_with_the_registrys(cluster: Cluster) -> None:
    cluster.handle(events.ObserverJoined(1))
    cluster.handle(events.AllocatorReady({"role_sorter": "drf"}))
    (changed,) = cluster.published("flags_changed")
    assert dict(changed.flags) == {"role_sorter": "drf", **cluster.registry.identity.flags}
    assert cluster.handle(events.AllocatorReady({"role_sorter": "drf"})) == []
    cluster.handle(events.ObserverJoined(2))
    (begin,) = cluster.published("snapshot_begin")
    assert begin.flags == changed.flags
