"""Why nothing is offered, on a running cluster: what is named stands in the way, and without it the offer comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.operator import MasterOperator
from mezzo.resources import parse
from mezzo.scheduler import GrpcTransport, SchedulerClient
from tests.cluster import Cluster
from tests.mezzo_command import MezzoCommand
from tests.polling import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.timeout(120)

Document = dict[str, Any]
EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNREACHABLE = 1, 66, 69


class Waiting:
    """A framework that keeps its offers until a test takes them."""

    def __init__(self, client: SchedulerClient) -> None:
        self.client = client
        self.offers: asyncio.Queue[mesos.Offer] = asyncio.Queue()
        self.statuses: asyncio.Queue[mesos.TaskStatus] = asyncio.Queue()
        self.subscribed = asyncio.Event()

    @property
    def id(self) -> str:
        return self.client.framework_info.id.value

    async def listen(self) -> None:
        async for event in self.client.events():
            if event.type == v1.Event.SUBSCRIBED:
                self.subscribed.set()
            elif event.type == v1.Event.OFFERS:
                for offer in event.offers.offers:
                    self.offers.put_nowait(offer)
            elif event.type == v1.Event.UPDATE:
                await self.client.acknowledge(event.update.status)
                self.statuses.put_nowait(event.update.status)

    async def offer(self) -> mesos.Offer:
        """The next offer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.offers.get()

    async def status(self) -> mesos.TaskStatus:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.statuses.get()


@asynccontextmanager
async def framework(
    cluster: Cluster, name: str, role: str, shape: Callable[[mesos.FrameworkInfo], None] = lambda info: None
) -> AsyncIterator[Waiting]:
    """A framework that is subscribed in one role; torn down in the end."""
    info = mesos.FrameworkInfo(user="", name=name, roles=[role])
    info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    shape(info)
    client = SchedulerClient(GrpcTransport(cluster.registry().grpc), info)
    waiting = Waiting(client)
    listening = asyncio.create_task(waiting.listen())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waiting.subscribed.wait()
        yield waiting
        await client.teardown()
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await client.close()


async def explained(cluster: Cluster, until: Callable[[Document], bool], **query: str) -> Document:
    """The explanation that the gateway gives, once it is as a test expects it."""

    async def ask() -> Document | None:
        async with session.get(f"{cluster.url}/api/v1/explain", params=query) as response:
            answers = (await response.json())["explanations"] if response.status == 200 else []
        found: Document | None = answers[0] if answers and until(answers[0]) else None
        return found

    async with aiohttp.ClientSession() as session:
        found = await eventually(ask, f"an explanation of {query}")
    assert found is not None
    return found


def sleeping(task_id: str, offer: mesos.Offer) -> mesos.TaskInfo:
    """A task that uses one CPU of the offer until it is killed."""
    task = mesos.TaskInfo(name="sleep", agent_id=offer.agent_id, resources=parse("cpus:1;mem:32").messages())
    task.task_id.value, task.command.value = task_id, "exec sleep 1000"
    return task


def turned_away_by(rule: str) -> Callable[[Document], bool]:
    return lambda told: told["agents_turned_away"] == {rule: 1}


def takes_at_least(cpus: float) -> Callable[[mesos.FrameworkInfo], None]:
    def shape(info: mesos.FrameworkInfo) -> None:
        filters = info.offer_filters[info.roles[0]].min_allocatable_resources
        del filters.quantities[:]
        filters.quantities.add().quantities["cpus"].value = cpus

    return shape


async def set_limit(cluster: Cluster, role: str, **limits: float) -> None:
    call = master.Call(type=master.Call.UPDATE_QUOTA)
    config = call.update_quota.quota_configs.add(role=role)
    for name, value in limits.items():
        config.limits[name].value = value
    async with MasterOperator(cluster.url) as operator:
        await operator.call(call)


async def test_a_demand_that_no_agent_satisfies_is_told_with_what_there_is(cluster: Cluster) -> None:
    async with framework(cluster, "large", "large", takes_at_least(8)) as large:
        told = await explained(cluster, turned_away_by("below_minimum"), framework="large")
        assert told["largest_free"]["cpus"] == 4
        assert told["verdict"] == (
            "large in role large is offered nothing: the agent has less free than the smallest offer it takes, cpus 8"
        )
        assert "last_offered_seconds" not in told
        assert large.offers.empty()
        info = mesos.FrameworkInfo()
        info.CopyFrom(large.client.framework_info)
        takes_at_least(4)(info)
        await large.client.update_framework(info)
        offer = await large.offer()
        told = await explained(cluster, turned_away_by("nothing_free"), framework=large.id)
        assert told["verdict"] == "large in role large has 1 offer to answer, and nothing more can be offered to it"
        assert told["last_offered_seconds"] < PATIENCE_SECONDS
        assert offer.allocation_info.role == "large"


async def test_a_long_refusal_is_told_with_its_end_and_ended_by_revive(cluster: Cluster) -> None:
    async with framework(cluster, "choosy", "choosy") as choosy:
        await choosy.client.decline([(await choosy.offer()).id], 3600)
        told = await explained(cluster, turned_away_by("refused"), framework="choosy", role="choosy")
        assert (told["refusals"], told["agents_offerable"]) == (1, 0)
        assert 3000 < told["next_refusal_ends_seconds"] < 3700
        assert told["summary"][0] == (
            "the agent is refused by the framework; the refusal ends in 60 min, or when the framework revives"
        )
        assert choosy.offers.empty()
        await choosy.client.revive()
        assert (await choosy.offer()).allocation_info.role == "choosy"


async def test_a_framework_that_suppressed_offers_is_told_so_until_it_revives(cluster: Cluster) -> None:
    async with framework(cluster, "silent", "silent") as silent:
        offer = await silent.offer()
        await silent.client.suppress()
        await silent.client.decline([offer.id], 0)
        told = await explained(cluster, lambda told: not told["active"], framework="silent")
        assert told["summary"][0] == "the framework suppressed offers in the role; it has to revive"
        assert told["inactive_reason"] == "INACTIVE_REASON_SUPPRESSED"
        assert silent.offers.empty()
        await silent.client.revive()
        await silent.offer()
        told = await explained(cluster, lambda told: told["active"], framework="silent")
        assert (told["inactive_because"], "inactive_reason" in told) == ("", False)


async def test_who_holds_an_offer_that_others_wait_for_is_told_and_since_when(cluster: Cluster) -> None:
    mezzo = MezzoCommand(cluster.gateway().http)
    async with framework(cluster, "holder", "held") as holder:
        offer = await holder.offer()
        async with framework(cluster, "beggar", "held/below"):
            told = await explained(cluster, lambda told: "holder has 1 offer" in told["verdict"], framework="beggar")
            (held,) = (await asyncio.to_thread(mezzo.json, "why", "beggar"))["unanswered_offers"]
            assert (held["framework_id"], held["framework_name"]) == (holder.id, "holder")
            assert (held["role"], held["offers"]) == ("held", 1)
            assert 0 <= held["oldest_seconds"] < PATIENCE_SECONDS
            assert told["verdict"].startswith(
                "beggar in role held/below is offered nothing: the agent has nothing free, "
                "and holder has 1 offer unanswered for "
            )
            lines = (await asyncio.to_thread(mezzo.output, "why", "beggar")).splitlines()
            (row,) = [line.split() for line in lines if line.startswith("holder ")]
            assert row[:3] == ["holder", "held", "1"]
            assert row[-2:] == ["s", "ago"]
            told = await explained(cluster, lambda told: True, framework="holder")
            kinds = [(place["name"], place["kind"]) for place in told["places"]]
            assert kinds == [("held", "ROLE"), (".", "OWN_FRAMEWORKS"), (holder.id, "FRAMEWORK")]
            assert "the frameworks of held itself" in await asyncio.to_thread(mezzo.output, "why", "holder")
            await holder.client.decline([offer.id], 3600)
            told = await explained(cluster, lambda told: "beggar has 1 offer" in told["verdict"], framework="holder")
            (held,) = (await asyncio.to_thread(mezzo.json, "why"))["unanswered_offers"]
            assert (held["framework_name"], held["role"]) == ("beggar", "held/below")


async def test_a_limit_that_binds_is_told_with_who_uses_it_and_leaves_room_when_it_is_raised(
    cluster: Cluster,
) -> None:
    await set_limit(cluster, "capped", cpus=1)
    async with framework(cluster, "user", "capped/one") as user:
        offer = await user.offer()
        await user.client.launch(offer, [sleeping("capped-1", offer)], refuse_seconds=0)
        assert (await user.status()).state in (mesos.TASK_STARTING, mesos.TASK_RUNNING)
        await user.client.suppress()
        async with framework(cluster, "waiter", "capped/two", takes_at_least(1)) as waiter:
            told = await explained(cluster, turned_away_by("quota_limit"), framework="waiter")
            (quota,) = told["binding_quotas"]
            assert (quota["role"], quota["resource"], quota["limit"], quota["consumed"]) == ("capped", "cpus", 1, 1)
            assert "quota limit of role capped: cpus 1 of 1 used (by capped/one 1)" in told["summary"]
            assert told["summary"][0] == (
                "the agent would be offered, but a quota limit leaves no room; "
                "the limit has to be raised, or something of that role to end"
            )
            assert waiter.offers.empty()
            await set_limit(cluster, "capped", cpus=3)
            assert {one.scalar.value for one in (await waiter.offer()).resources if one.name == "cpus"} == {2}
    await set_limit(cluster, "capped")


async def test_the_default_role_is_there_even_with_nobody_in_it(cluster: Cluster) -> None:
    mezzo = MezzoCommand(cluster.gateway().http)
    told = await asyncio.to_thread(mezzo.output, "why", "*")
    assert told.splitlines() == ["no framework is subscribed"]


async def test_mezzo_tells_why_of_frameworks_roles_and_tasks(cluster: Cluster) -> None:
    mezzo = MezzoCommand(cluster.gateway().http)

    async def why(*words: str) -> list[str]:
        return (await asyncio.to_thread(mezzo.output, "why", *words)).splitlines()

    async with framework(cluster, "spark", "eng/backend") as spark:
        offer = await spark.offer()
        await spark.client.launch(offer, [sleeping("spark.1", offer)], refuse_seconds=3600)
        while (await spark.status()).state != mesos.TASK_RUNNING:
            pass
        await explained(cluster, turned_away_by("refused"), framework="spark")
        verdict = "spark in role eng/backend is offered nothing: the agent is refused by the framework"
        for words in (["spark"], [spark.id], ["eng/backend"], ["eng"], ["spark", "--role", "eng/backend"], []):
            told = await why(*words)
            assert told[0] == verdict
        assert [line.split() for line in told if line.startswith(("refused", "may be"))] == [
            ["refused", "1"],
            ["may", "be", "offered", "0"],
        ]
        answer = await asyncio.to_thread(mezzo.json, "why", "spark", "--agent", "127.0.0.1")
        assert [one["verdict"] for one in answer["explanations"]] == [verdict]
        assert (await why("spark.1"))[0] == "task spark.1 of spark runs on 127.0.0.1"
        assert (await asyncio.to_thread(mezzo.json, "why", "spark.1", "-f", "spark"))["agent"]["state"] == "connected"
        nobodys = await why("spark-77")
        assert nobodys[:2] == ["no scheduler has launched a task spark-77; so this is about its framework", verdict]
        async with framework(cluster, "other", "other"):
            ended = await asyncio.to_thread(mezzo, "why", "app.77")
            assert ended.code == EXIT_NOT_FOUND
            assert "no framework, role or task is called app.77" in ended.stderr
            named = await why("app.77", "--framework", "spark")
            assert named[1].startswith("spark in role eng/backend is offered nothing")
            ended = await asyncio.to_thread(mezzo, "why", "spark", "--agent", "nowhere")
            assert (ended.code, "agent nowhere not found" in ended.stderr) == (EXIT_NOT_FOUND, True)


async def test_of_many_explanations_the_verdicts_are_told_and_all_of_each_when_wide(cluster: Cluster) -> None:
    mezzo = MezzoCommand(cluster.gateway().http)
    async with AsyncExitStack() as stack:
        for number in range(4):
            await stack.enter_async_context(framework(cluster, "twin", f"many/r{number}", takes_at_least(100)))
        for number in range(4):
            await explained(cluster, turned_away_by("below_minimum"), role=f"many/r{number}")
        short = (await asyncio.to_thread(mezzo.output, "why", "many")).splitlines()
        assert [line.split()[3] for line in short[:4]] == [f"many/r{number}" for number in range(4)]
        assert (len(short), "-o wide" in short[-1]) == (6, True)
        wide = await asyncio.to_thread(mezzo.output, "why", "many", "-o", "wide")
        assert wide.count("the smallest offer it takes is cpus 100") == 4
        ended = await asyncio.to_thread(mezzo, "why", "twin")
        assert (ended.code, "4 frameworks are called twin" in ended.stderr) == (EXIT_FAILED, True)


async def test_without_an_allocator_that_is_the_answer(cluster: Cluster) -> None:
    """The last of this module: the allocator does not come back."""
    mezzo = MezzoCommand(cluster.gateway().http)
    cluster.allocator().process.kill()

    async def refused() -> bool:
        ended = await asyncio.to_thread(mezzo, "why")
        return ended.code == EXIT_UNREACHABLE and "allocator" in ended.stderr

    await eventually(refused, "the word that there is no allocator")
