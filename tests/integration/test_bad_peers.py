"""Frameworks, agents and executors that say what is not so: they are told what, and nobody else notices."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import grpc
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.resources import parse
from mezzo.scheduler import GrpcTransport, SchedulerClient
from mezzo_chassis.rpc import open_channel
from mezzo_registry.testing import PlayedAgent
from tests.cluster import Cluster
from tests.framework import PATIENCE_SECONDS, Framework

pytestmark = pytest.mark.timeout(120)


def agents(cluster: Cluster) -> list[Any]:
    with urllib.request.urlopen(f"{cluster.url}/slaves", timeout=30) as response:
        return [(agent["id"], agent["active"], agent["resources"]) for agent in json.load(response)["slaves"]]


@pytest.fixture
async def framework(cluster: Cluster) -> AsyncIterator[Framework]:
    async with Framework(GrpcTransport(cluster.registry().grpc)) as framework:
        yield framework


# ------------------------------------------------------------------------------------------------------- frameworks


def resource(name: str, value: float) -> Callable[[mesos.TaskInfo], None]:
    def shape(task: mesos.TaskInfo) -> None:
        task.resources.add(name=name, type=mesos.Value.SCALAR, scalar=mesos.Value.Scalar(value=value))

    return shape


def both(task: mesos.TaskInfo) -> None:
    task.executor.executor_id.value = "e"
    task.executor.command.value = "true"


def slash(task: mesos.TaskInfo) -> None:
    task.task_id.value = "a/b"


def elsewhere(task: mesos.TaskInfo) -> None:
    task.agent_id.value = "another"


def no_command(task: mesos.TaskInfo) -> None:
    task.ClearField("command")


def nothing_used(task: mesos.TaskInfo) -> None:
    del task.resources[:]


def negative_grace(task: mesos.TaskInfo) -> None:
    task.kill_policy.grace_period.nanoseconds = -1


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        (resource("gpus", -1.0), ".resources[2].scalar.value"),
        (resource("gpus", math.nan), ".resources[2].scalar.value"),
        (resource("gpus", math.inf), ".resources[2].scalar.value"),
        (resource("gpus", 1.0), ".resources"),
        (nothing_used, ".resources"),
        (both, ": exactly one of 'command' and 'executor' is required"),
        (no_command, ": exactly one of 'command' and 'executor' is required"),
        (slash, ".task_id.value"),
        (elsewhere, ".agent_id.value"),
        (negative_grace, ".kill_policy.grace_period"),
    ],
    ids=["negative", "nan", "infinite", "more", "nothing", "both", "no-command", "slash", "elsewhere", "grace"],
)
async def test_a_task_that_makes_no_sense_is_an_error_that_names_the_field(
    shape: Callable[[mesos.TaskInfo], None], field: str, framework: Framework
) -> None:
    # The tracker of launches says which agent: what is wrong with that comes after it.
    wrong = framework.add("true", at_launch=shape) if shape is elsewhere else framework.add("true", shape=shape)
    fine = framework.add("true")
    await framework.finish()
    assert wrong.end is not None
    assert (wrong.end.state, wrong.end.reason) == (mesos.TASK_ERROR, mesos.TaskStatus.REASON_TASK_INVALID)
    assert f"task_infos[0]{field}" in wrong.end.message
    # The one beside it in the same call is not touched.
    assert fine.end is not None
    assert fine.end.state == mesos.TASK_FINISHED


async def hear(events: AsyncIterator[v1.Event], kind: v1.Event.Type.ValueType) -> v1.Event:
    """The next event of a kind; others are passed over."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in events:
            if event.type == kind:
                return event
    raise AssertionError("the stream has ended")


async def test_anothers_offer_starts_nothing_and_stays_good(cluster: Cluster) -> None:
    address = cluster.registry().grpc
    thief_info = mesos.FrameworkInfo(user="", name="thief")
    thief_info.capabilities.add(type=mesos.FrameworkInfo.Capability.PARTITION_AWARE)
    async with (
        SchedulerClient(GrpcTransport(address), mesos.FrameworkInfo(user="", name="owner")) as owner,
        SchedulerClient(GrpcTransport(address), thief_info) as thief,
    ):
        owned, stolen = owner.events(), thief.events()
        offer = (await hear(owned, v1.Event.OFFERS)).offers.offers[0]
        await hear(stolen, v1.Event.SUBSCRIBED)
        await thief.launch(offer, [task_of(offer, "stolen")], 0)
        status = (await hear(stolen, v1.Event.UPDATE)).update.status
        assert (status.state, status.reason) == (mesos.TASK_DROPPED, mesos.TaskStatus.REASON_INVALID_OFFERS)
        assert offer.id.value in status.message
        await owner.launch(offer, [task_of(offer, "own")], 0)
        status = (await hear(owned, v1.Event.UPDATE)).update.status
        assert (status.task_id.value, status.state) == ("own", mesos.TASK_STARTING)
        await thief.teardown()
        await owner.teardown()


async def test_an_id_that_is_taken_is_an_error_and_the_first_task_runs_on(cluster: Cluster) -> None:
    info = mesos.FrameworkInfo(user="", name="twice")
    async with SchedulerClient(GrpcTransport(cluster.registry().grpc), info) as client:
        events = client.events()
        offer = (await hear(events, v1.Event.OFFERS)).offers.offers[0]
        tasks = [task_of(offer, "same"), task_of(offer, "same")]
        for task in tasks:
            task.command.value = "exec sleep 1000"
        await client.launch(offer, tasks, 0)
        heard: list[mesos.TaskStatus] = []
        while {mesos.TASK_ERROR, mesos.TASK_RUNNING} - {status.state for status in heard}:
            heard.append((await hear(events, v1.Event.UPDATE)).update.status)
            await client.acknowledge(heard[-1])
        (error,) = [status for status in heard if status.state == mesos.TASK_ERROR]
        assert error.reason == mesos.TaskStatus.REASON_TASK_INVALID
        assert "task_infos[1].task_id.value" in error.message
        await client.kill("same")
        while heard[-1].state != mesos.TASK_KILLED:
            heard.append((await hear(events, v1.Event.UPDATE)).update.status)
            await client.acknowledge(heard[-1])
        await client.teardown()


def task_of(offer: mesos.Offer, name: str) -> mesos.TaskInfo:
    task = mesos.TaskInfo(name=name, agent_id=offer.agent_id, resources=parse("cpus:0.1;mem:32").messages())
    task.task_id.value = name
    task.command.value = "true"
    return task


# ----------------------------------------------------------------------------------------------------------- agents


def register() -> session.Register:
    message = session.Register(version="0.1.0", pid="slave(1)@127.0.0.1:1")
    message.agent_info.hostname = "liar"
    message.total_resources.extend(parse("cpus:4;mem:1024;ports:[1-5]").messages())
    message.agent_info.resources.extend(message.total_resources)
    return message


def cpus(value: float) -> Callable[[session.Register], None]:
    def lie(message: session.Register) -> None:
        message.total_resources[0].scalar.value = value

    return lie


def backwards(message: session.Register) -> None:
    message.total_resources[2].ranges.range[0].begin = 9


def given_away(message: session.Register) -> None:
    message.total_resources[0].allocation_info.role = "mine"


def wrong_kind(message: session.Register) -> None:
    message.total_resources[0].type = mesos.Value.RANGES


def nameless(message: session.Register) -> None:
    message.agent_info.hostname = ""


def stranger(message: session.Register) -> None:
    message.agent_info.id.value = "../S0"


def overbooked(message: session.Register) -> None:
    message.agent_info.id.value = "liar-S0"
    message.frameworks.add(user="", name="f").id.value = "f"
    task = message.tasks.add(name="t", state=mesos.TASK_RUNNING)
    task.task_id.value, task.framework_id.value, task.agent_id.value = "t", "f", "liar-S0"
    task.resources.extend(parse("cpus:400").allocated_to("*").messages())


def anothers(message: session.Register) -> None:
    overbooked(message)
    message.tasks[0].agent_id.value = "another-S1"


@pytest.mark.parametrize(
    ("lie", "field"),
    [
        (cpus(-1.0), "register.total_resources[0].scalar.value"),
        (cpus(math.nan), "register.total_resources[0].scalar.value"),
        (cpus(math.inf), "register.total_resources[0].scalar.value"),
        (backwards, "register.total_resources[2].ranges.range[0]"),
        (given_away, "register.total_resources"),
        (wrong_kind, "register.total_resources[0]"),
        (nameless, "register.agent_info.hostname"),
        (stranger, "register.agent_info.id.value"),
        (overbooked, "register.total_resources"),
        (anothers, "register.tasks[0].agent_id.value"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_an_agent_that_lies_is_refused_by_the_field(
    lie: Callable[[session.Register], None], field: str, cluster: Cluster
) -> None:
    before = agents(cluster)
    message = register()
    lie(message)
    async with open_channel(cluster.registry().grpc) as channel:
        played = PlayedAgent(channel)
        played.send(session.AgentMessage(register=message))
        assert await played.ended() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in await played.details()
    assert agents(cluster) == before


# -------------------------------------------------------------------------------------------------------- executors


async def test_an_executor_nobody_started_can_say_nothing_of_anybodys_task(
    cluster: Cluster, framework: Framework
) -> None:
    job = framework.add("exec sleep 1000")
    await framework.job_is(job, mesos.TASK_RUNNING)
    framework_id = framework.client.framework_id
    status = {"task_id": {"value": job.task_id}, "state": "TASK_FINISHED", "uuid": base64.b64encode(b"u" * 16).decode()}
    async with aiohttp.ClientSession() as http:
        for executor_id in ("nobody", job.task_id):
            ids = {"framework_id": {"value": framework_id}, "executor_id": {"value": executor_id}}
            update = {**ids, "type": "UPDATE", "update": {"status": status}}
            for call in ({**ids, "type": "SUBSCRIBE", "subscribe": {}}, update):
                async with http.post(f"http://{cluster.agent().http}/api/v1/executor", json=call) as response:
                    assert response.status in (400, 403, 404)
                    assert executor_id in await response.text()
    assert [mesos.TaskState.Name(each.state) for each in job.statuses] == ["TASK_STARTING", "TASK_RUNNING"]
    await framework.client.kill(job.task_id)
    await framework.job_is(job, mesos.TASK_KILLED)
