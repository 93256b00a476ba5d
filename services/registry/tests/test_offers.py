"""Offers: made of allocations, declined, rescinded, timed out."""

import math
from collections.abc import Callable

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.resources import Resources, parse
from mezzo_registry.core import Settings, events
from mezzo_registry.core.offers.offering import OFFER_TIMEOUT
from mezzo_registry.core.state import resource_cache, sums
from mezzo_registry.testing import REGISTRY_ID, Cluster

Call = scheduler.Call
MakeCluster = Callable[..., Cluster]


def test_allocation_becomes_an_offer(cluster: Cluster) -> None:
    agent = cluster.agent(pid="slave(1)@10.0.0.7:5051")
    framework = cluster.framework("MULTI_ROLE", roles=["web"])
    offer = cluster.offer(framework, agent, "cpus:2;mem:64", "web")
    assert offer.id.value == f"{REGISTRY_ID}-O0"
    assert offer.framework_id.value == framework.id
    assert offer.agent_id.value == agent.id
    assert offer.hostname == "node"
    assert (offer.url.address.ip, offer.url.address.port, offer.url.path) == ("10.0.0.7", 5051, "/slave(1)")
    assert offer.allocation_info.role == "web"
    assert {one.allocation_info.role for one in offer.resources} == {"web"}


def test_offers_carry_no_allocation_for_frameworks_without_multi_role(cluster: Cluster) -> None:
    offer = cluster.offer(cluster.framework(), cluster.agent())
    assert not offer.HasField("allocation_info")
    assert not any(one.HasField("allocation_info") for one in offer.resources)
    assert {one.role for one in offer.resources} == {"*"}


def test_offers_of_one_cycle_come_in_one_event(cluster: Cluster) -> None:
    framework = cluster.framework()
    numbers = [cluster.registry.state.agents[cluster.agent().id].number for _ in range(3)]
    allocations = allocator.Allocations()
    for number in numbers:
        one = allocations.allocations.add(framework=cluster.number_of(framework), agent=number, role="*")
        one.resources.extend(parse("cpus:1").messages())
    cluster.handle(events.AllocationsMade(allocations))
    (event,) = cluster.to_framework(framework)
    assert len(event.offers.offers) == 3


def test_allocation_that_does_not_fit_is_returned_to_the_allocator(cluster: Cluster) -> None:
    agent, framework = cluster.agent("cpus:4"), cluster.framework()
    cluster.offer(framework, agent, "cpus:3")
    cluster.allocate(framework, agent, "cpus:2")
    assert cluster.to_framework(framework) == []
    assert cluster.recovered() == ["cpus(allocated: *):2"]


@pytest.mark.parametrize("away", ["agent", "framework"])
def test_allocation_for_whoever_is_away_is_given_back(cluster: Cluster, away: str) -> None:
    agent, framework = cluster.agent(), cluster.framework(failover_timeout=60.0)
    if away == "agent":
        cluster.disconnect(agent)
    else:
        cluster.close(framework)
    cluster.allocate(framework, agent, "cpus:2")
    assert cluster.recovered() == ["cpus(allocated: *):2"]


def test_allocation_for_a_role_that_the_framework_left_is_given_back(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.allocate(framework, agent, "cpus:2", "other")
    assert cluster.recovered() == ["cpus(allocated: other):2"]


def test_offer_that_nobody_answers_is_rescinded_after_the_offer_timeout(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_timeout=30.0))
    cluster.allocator()
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.advance(31)
    assert [one.rescind.offer_id for one in cluster.to_framework(framework)] == [offer.id]
    assert cluster.recovered() == ["cpus(allocated: *):2; mem(allocated: *):1024"]
    assert [one.recovered.unanswered for one in cluster.to_allocator()] == [True]


def test_one_timer_serves_all_offers(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_timeout=30.0))
    agent, framework = cluster.agent("cpus:9"), cluster.framework()
    made = []
    for _ in range(3):
        made.append(cluster.offer(framework, agent, "cpus:1").id.value)
        cluster.advance(10)
    assert len([timer for timer in cluster.timers if timer.purpose == OFFER_TIMEOUT]) == 1
    cluster.call(framework, decline(made[1]))
    assert made[0] not in cluster.registry.state.offers
    assert list(cluster.registry.state.offers) == made[2:]
    cluster.advance(19)
    assert list(cluster.registry.state.offers) == made[2:]
    cluster.advance(2)
    assert [one.rescind.offer_id.value for one in cluster.to_framework(framework)] == made[2:]


def test_ends_of_offers_are_counted_by_outcome(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_timeout=30.0))
    agent, framework = cluster.agent("cpus:9"), cluster.framework(failover_timeout=100.0)
    cluster.accept(framework, [cluster.offer(framework, agent, "cpus:1")])
    cluster.call(framework, decline(cluster.offer(framework, agent, "cpus:1").id.value))
    cluster.offer(framework, agent, "cpus:1")
    cluster.advance(31)
    cluster.offer(framework, agent, "cpus:1")
    cluster.disconnect(agent)
    cluster.come_back(agent)
    cluster.offer(framework, agent, "cpus:1")
    cluster.close(framework)
    numbers = cluster.registry.measure(now=cluster.now)
    outcomes = ("accepted", "declined", "timed_out", "rescinded", "withdrawn")
    assert {name: numbers[f"master/offers_{name}"] for name in outcomes} == dict.fromkeys(outcomes, 1.0)
    assert numbers["master/offers_sent"] == 5


def test_offer_that_was_used_is_not_rescinded(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(Settings(offer_timeout=30.0))
    agent, framework = cluster.agent(), cluster.framework()
    cluster.accept(framework, [cluster.offer(framework, agent)])
    cluster.advance(31)
    assert cluster.to_framework(framework) == []


def decline(*offers: str, refuse: float | None = None) -> scheduler.Call:
    call = Call(type=Call.DECLINE)
    call.decline.SetInParent()
    call.decline.offer_ids.extend(mesos.OfferID(value=offer) for offer in offers)
    if refuse is not None:
        call.decline.filters.refuse_seconds = refuse
    return call


def test_declined_offer_goes_back_with_its_filter(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.call(framework, decline(offer.id.value, refuse=120.0))
    (message,) = cluster.to_allocator()
    assert message.recovered.filters.refuse_seconds == 120.0
    assert cluster.registry.state.offers == {}


def test_offer_that_is_declined_without_a_filter_is_refused_for_five_seconds(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.call(framework, decline(offer.id.value))
    assert [one.recovered.filters.refuse_seconds for one in cluster.to_allocator()] == [5.0]


def test_declining_nothing_and_the_unknown_is_no_error(cluster: Cluster) -> None:
    framework = cluster.framework()
    assert cluster.call(framework, decline()) == []
    assert cluster.call(framework, decline("no-such-offer")) == []


def test_offer_of_another_framework_cannot_be_declined(cluster: Cluster) -> None:
    agent, framework, other = cluster.agent(), cluster.framework(), cluster.framework()
    offer = cluster.offer(framework, agent)
    cluster.call(other, decline(offer.id.value))
    assert offer.id.value in cluster.registry.state.offers


# --- ACCEPT -----------------------------------------------------------------------------------------------------------


# --- the allocator ----------------------------------------------------------------------------------------------------


def test_new_allocator_is_given_everything(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.offer(framework, agent, "cpus:1")
    cluster.allocator()
    begin, told_framework, told_agent, end = cluster.to_allocator()
    assert begin.begin.registry_id == REGISTRY_ID
    assert told_framework.framework_update.framework == cluster.number_of(framework)
    (holding,) = told_agent.agent_update.holdings
    assert holding.framework == cluster.number_of(framework)
    assert str(Resources.of(holding.resources)) == "cpus(allocated: *):2; mem(allocated: *):128"
    assert end.HasField("snapshot_end")


def test_running_tasks_do_not_need_an_allocator(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    cluster.handle(events.AllocatorDisconnected())
    identifier, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    assert cluster.states(framework) == [("t1", "TASK_FINISHED")]
    assert cluster.to_allocator() == []
    cluster.acknowledge(framework, agent, "t1", identifier)
    assert cluster.registry.state.frameworks[framework.id].tasks == {}


def test_requests_are_passed_on(cluster: Cluster) -> None:
    framework = cluster.framework()
    call = Call(type=Call.REQUEST)
    call.request.requests.add().resources.extend(parse("cpus:1").messages())
    cluster.call(framework, call)
    assert [len(one.request.requests) for one in cluster.to_allocator()] == [1]


def test_what_large_resources_mean_is_not_remembered() -> None:
    resource = parse("ports:[1-1]").messages()[0]
    for port in range(3, 3_000, 2):
        resource.ranges.range.add(begin=port, end=port)
    value = resource_cache.value_of([resource])
    assert value.pieces() == 1_500
    assert resource_cache.value_of([resource]) is not value
    assert resource_cache.plain(value) is not resource_cache.plain(value)
    assert sums.amounts(value) == ((("ports", 1_500_000),), ())
    assert sums.amounts(value)[0] is not sums.amounts(value)[0]


def test_refusal_for_a_time_that_is_no_number_is_refused_before_anything_changes(cluster: Cluster) -> None:
    framework, agent = cluster.framework(), cluster.agent()
    offer = cluster.offer(framework, agent)
    cluster.call(framework, decline(offer.id.value, refuse=math.nan))
    assert cluster.refusal() == "InvalidRequest: decline.filters.refuse_seconds: is not a number"
    cluster.accept(framework, [offer], cluster.task_info(offer), refuse=math.nan)
    assert cluster.refusal() == "InvalidRequest: accept.filters.refuse_seconds: is not a number"
    assert offer.id.value in cluster.registry.state.offers
