"""A defect ends the agent's incarnation; the next one refuses or ends what it was about, and nothing else suffers.

The whole agent, with a defect put into its real core or shell. Whoever starts it starts it anew whenever it ends on a
defect, as Compose and Kubernetes do.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
import structlog

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo_agent import app
from mezzo_agent.core import events as happened
from mezzo_agent.core import subjects
from mezzo_agent.core.agent import Agent
from mezzo_agent.core.effects import LaunchContainer
from mezzo_agent.core.recovery import Reconnection, Restoration
from mezzo_agent.core.updates import Updates
from mezzo_agent.ports import ContainerConfig, Launched, LaunchError
from mezzo_agent.shell.effect_runner import EffectRunner
from mezzo_chassis.errors import Exit, StartupError
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry

_Status = mesos.TaskStatus
INCARNATIONS_MAX = 6
SECONDS_MAX = 20.0
TIMES = pytest.mark.parametrize("times", [1, 1000], ids=["once", "every time"])
IDS = {"framework_id": {"value": "F1"}, "executor_id": {"value": "E1"}}


class Defective:
    """A method of the real agent that meets a defect, so many times, where `hits` says so."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        owner: type,
        name: str,
        hits: Callable[..., bool],
        times: int,
        *,
        afterwards: bool = False,
    ) -> None:
        self.left = times
        real = getattr(owner, name)

        def replaced(this: Any, *args: Any, **fields: Any) -> Any:
            hit = self.left > 0 and hits(this, *args)
            if hit and not afterwards:
                self.fail()
            result = real(this, *args, **fields)
            if hit:
                self.fail()
            return result

        monkeypatch.setattr(owner, name, replaced)

    def fail(self) -> None:
        self.left -= 1
        raise ZeroDivisionError("a mistake of ours")


class Supervisor:
    """Keeps an agent up. `defects` counts how often it has ended on one."""

    def __init__(self, agent: RunningAgent, http: aiohttp.ClientSession) -> None:
        self.agent = agent
        self.defects = 0
        self._http = http
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        while self.defects < INCARNATIONS_MAX:
            error = await self.agent.end()
            assert isinstance(error, StartupError), error
            assert error.code is Exit.DEFECT, error
            self.defects += 1
            self._news.set()
            await self._start()

    async def _start(self) -> None:
        await self.agent.stop()
        with contextlib.suppress(StartupError):  # it is seen by whoever keeps the agent up
            await self.agent.start()

    async def restart(self) -> None:
        """By whoever operates it."""
        await self._let_go()
        await self._start()
        self._task = asyncio.create_task(self._keep_up())

    async def stop(self) -> None:
        await self._let_go()
        await self.agent.stop()

    async def _let_go(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def ended_on_defects(self, count: int) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            while self.defects < count:
                self._news.clear()
                await self._news.wait()
        assert self.defects == count

    async def metric(self, name: str, expected: Callable[[float], bool]) -> None:
        """Ask for a metric until it is what is expected."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self._http.get(f"http://127.0.0.1:{self.agent.config.metrics_port}/metrics") as response:
                        lines = (await response.text()).splitlines()
                    if any(line.startswith(f"{name} ") and expected(float(line.split()[-1])) for line in lines):
                        return
                await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def short_tracebacks() -> Iterator[None]:
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    structlog.reset_defaults()


@dataclasses.dataclass(frozen=True)
class Scene:
    """An agent that is kept up, its registry and its containers."""

    supervisor: Supervisor
    registry: ScriptedRegistry
    containers: PretendedContainers
    tasks: type[Tasks]

    async def others_end_well(self) -> None:
        """They ran undisturbed all the time, and end when they do."""
        for task_id in ("sibling", "other"):
            self.containers.finish(self.containers.of_task(task_id))
            await self.registry.until_state(task_id, "TASK_FINISHED")
            assert self.registry.states(task_id) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]


@pytest.fixture
async def scene(
    agent: RunningAgent,
    registry: ScriptedRegistry,
    containers: PretendedContainers,
    tasks: type[Tasks],
    http: aiohttp.ClientSession,
) -> AsyncIterator[Scene]:
    """With a task of each of two frameworks running that nothing is to happen to."""
    registry.resyncs = True
    registry.add_framework("F1")
    registry.add_framework("F2")
    registry.run(tasks.command("sibling"))
    registry.run(tasks.command("other"), "F2")
    for task_id in ("sibling", "other"):
        await registry.until_state(task_id, "TASK_RUNNING")
    supervisor = Supervisor(agent, http)
    yield Scene(supervisor, registry, containers, tasks)
    await supervisor.stop()


def about(*task_ids: str) -> Callable[..., bool]:
    """Events whose subject is one of these tasks."""

    def hits(agent: Agent, event: happened.Event) -> bool:
        return not set(task_ids).isdisjoint(subjects.of_event(event, agent.state).task_ids)

    return hits


def of_kind(*kinds: str) -> Callable[..., bool]:
    def hits(agent: Agent, event: happened.Event) -> bool:
        return subjects.of_event(event, agent.state).event in kinds

    return hits


def launch_of(*task_ids: str) -> Callable[..., bool]:
    def hits(agent: Agent, event: happened.Event) -> bool:
        return about(*task_ids)(agent, event) and of_kind("run_task")(agent, event)

    return hits


# --- launches


@TIMES
@pytest.mark.parametrize("afterwards", [False, True], ids=["before", "half-way"])
async def test_launch_that_leads_to_a_defect_ends_its_task_in_error(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    afterwards: bool,
) -> None:
    Defective(monkeypatch, Agent, "handle", launch_of("bad"), times, afterwards=afterwards)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_ERROR")
    status = scene.registry.last("bad")
    assert status.reason == _Status.REASON_TASK_INVALID
    assert "ZeroDivisionError: a mistake of ours" in status.message
    assert scene.supervisor.defects == 1
    assert scene.registry.states("bad") == ["TASK_ERROR"]
    scene.registry.run(scene.tasks.command("good"))
    await scene.registry.until_state("good", "TASK_RUNNING")
    await scene.others_end_well()


async def test_group_that_leads_to_a_defect_ends_all_its_tasks_in_error(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("run_task_group"), 1000)
    executor = mesos.ExecutorInfo(type=mesos.ExecutorInfo.DEFAULT, executor_id=mesos.ExecutorID(value="P1"))
    group = mesos.TaskGroupInfo(tasks=[scene.tasks.command(task_id) for task_id in ("a", "b")])
    order = session.RunTaskGroup(framework_id=mesos.FrameworkID(value="F1"), executor=executor, task_group=group)
    scene.registry.orders["a"] = {"run_task_group": order}
    scene.registry.send(run_task_group=order)
    for task_id in ("a", "b"):
        await scene.registry.until_state(task_id, "TASK_ERROR")
        assert scene.registry.last(task_id).reason == _Status.REASON_TASK_GROUP_INVALID
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


async def test_launch_whose_refusal_is_a_defect_too_is_declined(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hits(agent: Agent, event: happened.Event) -> bool:
        return about("bad")(agent, event) and not isinstance(event, happened.LaunchDeclined)

    Defective(monkeypatch, Agent, "handle", hits, 1000)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_ERROR")
    assert scene.supervisor.defects == 2
    await scene.others_end_well()


@TIMES
async def test_launch_whose_effect_leads_to_a_defect_fails_its_task(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    def hits(_: Any, effect: LaunchContainer) -> bool:
        return effect.config.task_id == "bad"

    Defective(monkeypatch, EffectRunner, "_launch_container", hits, times)
    await scene.supervisor.restart()
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_FAILED")
    status = scene.registry.last("bad")
    assert status.reason == _Status.REASON_EXECUTOR_TERMINATED
    assert "ZeroDivisionError: a mistake of ours" in status.message
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


async def test_framework_that_leads_to_one_defect_after_the_other_launches_nothing_for_a_while(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = ("bad1", "bad2", "bad3")
    Defective(monkeypatch, Agent, "handle", launch_of(*bad), 1000)
    for task_id in bad:
        scene.registry.run(scene.tasks.command(task_id))
        await scene.registry.until_state(task_id, "TASK_ERROR")
    assert scene.supervisor.defects == 3
    scene.registry.run(scene.tasks.command("good"))
    scene.registry.run(scene.tasks.command("elsewhere"), "F2")
    await scene.registry.until_state("good", "TASK_ERROR")
    assert "too many defects over this framework" in scene.registry.last("good").message
    await scene.registry.until_state("elsewhere", "TASK_RUNNING")
    await scene.others_end_well()


# --- executors


@pytest.fixture
async def subscribed(
    scene: Scene,
    agent: RunningAgent,
    http: aiohttp.ClientSession,
) -> Any:
    """A custom executor with two tasks, that has subscribed."""
    scene.registry.run(scene.tasks.executor("e1"))
    scene.registry.run(scene.tasks.executor("e2"))
    await scene.containers.until_launched("E1")
    call = {**IDS, "type": "SUBSCRIBE", "subscribe": {}}
    async with http.post(f"{agent.url}/api/v1/executor", json=call) as stream:
        assert stream.status == 200
        yield scene


async def say_running(agent: RunningAgent, http: aiohttp.ClientSession, task_id: str) -> Any:
    status = {"task_id": {"value": task_id}, "state": "TASK_RUNNING", "uuid": "dXV1dXV1dXV1dXV1dXV1dQ=="}
    async with http.post(
        f"{agent.url}/api/v1/executor", json={**IDS, "type": "UPDATE", "update": {"status": status}}
    ) as response:
        return response.status


@TIMES
async def test_executor_whose_update_leads_to_a_defect_is_ended_with_its_tasks(
    subscribed: Scene,
    agent: RunningAgent,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("executor_update"), times)
    assert await say_running(agent, http, "e1") == 503
    for task_id in ("e1", "e2"):
        await subscribed.registry.until_state(task_id, "TASK_FAILED")
        status = subscribed.registry.last(task_id)
        assert status.reason == _Status.REASON_EXECUTOR_TERMINATED
        assert "handling executor_update: ZeroDivisionError" in status.message
    assert subscribed.supervisor.defects == 1
    assert {subscribed.containers.configs[each].executor_id for each in subscribed.containers.running()} == {
        "sibling",
        "other",
    }
    await subscribed.others_end_well()


async def test_executor_of_the_same_name_that_is_launched_afterwards_is_heard(
    subscribed: Scene,
    agent: RunningAgent,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("executor_update"), 1)
    await say_running(agent, http, "e1")
    await subscribed.registry.until_state("e1", "TASK_FAILED")
    subscribed.registry.run(subscribed.tasks.executor("e3"))
    await subscribed.containers.until_launched("E1", times=2)
    call = {**IDS, "type": "SUBSCRIBE", "subscribe": {}}
    async with http.post(f"{agent.url}/api/v1/executor", json=call):
        assert await say_running(agent, http, "e3") == 202
    await subscribed.registry.until_state("e3", "TASK_RUNNING")


# --- kills


async def test_task_whose_kill_leads_to_a_defect_ends_and_one_of_the_same_name_can_be_killed(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("kill_task"), 1)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    scene.registry.kill("bad")
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert "handling kill_task" in scene.registry.last("bad").message
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until(lambda: scene.registry.states("bad").count("TASK_RUNNING") == 2)
    scene.registry.kill("bad")
    await scene.registry.until_state("bad", "TASK_KILLED")
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


# --- time


@TIMES
async def test_task_whose_grace_period_leads_to_a_defect_is_destroyed(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("timer_kill_grace"), times)
    scene.containers.deaf = True
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    scene.registry.kill("bad", grace_seconds=0.0)
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert "handling timer_kill_grace" in scene.registry.last("bad").message
    assert scene.supervisor.defects == 1
    assert scene.containers.of_task("bad") not in scene.containers.running()
    await scene.others_end_well()


@TIMES
async def test_task_whose_update_cannot_be_sent_again_ends(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    settings = app.settings
    monkeypatch.setattr(app, "settings", lambda *args: dataclasses.replace(settings(*args), update_retry_min=0.01))
    Defective(monkeypatch, Updates, "retry", lambda _, _framework_id, task_id: task_id == "bad", times)
    await scene.supervisor.restart()
    scene.registry.acknowledging = False
    scene.registry.run(scene.tasks.command("bad"))
    await scene.supervisor.ended_on_defects(1)
    scene.registry.acknowledging = True
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


# --- recovery


@TIMES
async def test_task_that_cannot_be_recovered_ends_and_the_rest_recovers(
    scene: Scene,
    agent: RunningAgent,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    Defective(monkeypatch, Reconnection, "task", lambda _, task, _found: task.id == "bad", times)
    await scene.supervisor.restart()
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert "handling containers_recovered" in scene.registry.last("bad").message
    assert scene.supervisor.defects == 1
    assert scene.containers.of_task("bad") not in scene.containers.running()
    await scene.others_end_well()


@TIMES
@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("_task", lambda record: record.task.task_id.value),
        ("_update", lambda record: record.status.task_id.value),
    ],
    ids=["task", "update"],
)
async def test_task_whose_record_cannot_be_applied_ends_and_the_rest_recovers(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    method: str,
    names: Callable[[CheckpointRecord], str],
) -> None:
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    Defective(monkeypatch, Restoration, method, lambda _, record: names(record) == "bad", times)
    await scene.supervisor.restart()
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert "handling journal_record" in scene.registry.last("bad").message
    assert scene.supervisor.defects == 1
    assert scene.containers.of_task("bad") not in scene.containers.running()
    await scene.supervisor.restart()
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


async def test_task_that_can_neither_be_recovered_nor_reported_is_left_out(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    Defective(monkeypatch, Reconnection, "task", lambda _, task, _found: task.id == "bad", 1000)
    Defective(monkeypatch, Reconnection, "_report_condemned", lambda _, _framework, task, _each: task.id == "bad", 1000)
    await scene.supervisor.restart()
    await scene.supervisor.ended_on_defects(2)
    await scene.registry.until(lambda: "bad" not in [task.name for task in scene.registry.registrations()[-1].tasks])
    await scene.others_end_well()


# --- containers


@TIMES
async def test_task_whose_failed_launch_leads_to_a_defect_fails(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    launch = scene.containers.launch

    async def launch_others(config: ContainerConfig) -> Launched:
        if config.task_id == "bad":
            raise LaunchError(_Status.REASON_CONTAINER_LAUNCH_FAILED, "no such user")
        return await launch(config)

    monkeypatch.setattr(scene.containers, "launch", launch_others)
    Defective(monkeypatch, Agent, "handle", of_kind("container_not_started"), times)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_FAILED")
    assert "ZeroDivisionError: a mistake of ours" in scene.registry.last("bad").message
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


@pytest.mark.parametrize("kind", ["container_started", "container_ended"])
async def test_what_happens_to_a_container_is_heard_of_after_a_defect_too(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind(kind), 1)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_RUNNING")
    scene.containers.finish(scene.containers.of_task("bad"))
    await scene.registry.until_state("bad", "TASK_FINISHED")
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


async def test_recovery_is_tried_again_at_once(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("containers_recovered"), 1)
    await scene.supervisor.restart()
    await scene.others_end_well()
    assert scene.supervisor.defects == 1


# --- the session


async def test_end_of_a_session_that_leads_to_a_defect_is_dropped(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind("session_closed"), 1000)
    port = scene.registry.port
    await scene.registry.stop()
    await scene.supervisor.metric('mezzo_agent_defects_refused_total{event="session_closed"}', lambda count: count > 1)
    await scene.registry.start(port)
    await scene.others_end_well()
    assert scene.supervisor.defects == 1


@pytest.mark.parametrize("kind", ["session_opened", "registered"])
async def test_session_that_leads_to_a_defect_is_refused_for_a_while_and_tasks_run_on(
    scene: Scene,
    agent: RunningAgent,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    Defective(monkeypatch, Agent, "handle", of_kind(kind), 1000)
    await scene.supervisor.restart()
    await scene.supervisor.metric(f'mezzo_agent_defects_refused_total{{event="{kind}"}}', lambda count: count > 1)
    await scene.supervisor.metric(f'mezzo_agent_defects_total{{event="{kind}"}}', lambda count: count == 1)
    assert scene.supervisor.defects == 1
    assert len(scene.containers.running()) == 2


async def test_acknowledgement_that_leads_to_a_defect_is_dropped(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hits(agent: Agent, event: happened.Event) -> bool:
        return of_kind("acknowledge_update")(agent, event) and about("bad")(agent, event)

    Defective(monkeypatch, Agent, "handle", hits, 1000)
    scene.registry.run(scene.tasks.command("bad"))
    refused = 'mezzo_agent_defects_refused_total{event="acknowledge_update"}'
    await scene.supervisor.metric(refused, lambda count: count >= 1)
    assert scene.supervisor.defects == 1
    await scene.others_end_well()


# --- what is written down


async def test_defect_is_written_down_for_people(
    scene: Scene,
    agent: RunningAgent,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Defective(monkeypatch, Agent, "handle", launch_of("bad"), 1)
    scene.registry.run(scene.tasks.command("bad"))
    await scene.registry.until_state("bad", "TASK_ERROR")
    path = agent.config.work_dir / "meta" / "defects.json"
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(path.read_text())
    (defect,) = document["defects"]
    assert document["counts"] == {"run_task": 1}
    assert defect["subject"] == {"event": "run_task", "framework_id": "F1", "executor_id": "", "task_ids": ["bad"]}
    assert defect["error"] == "ZeroDivisionError: a mistake of ours"
    assert defect["cause"]
    assert defect["count"] == 1


async def test_defects_that_cannot_be_read_are_set_aside(
    scene: Scene, agent: RunningAgent, containers: PretendedContainers
) -> None:
    path = agent.config.work_dir / "meta" / "defects.json"
    path.write_text("{")
    await scene.supervisor.restart()
    assert scene.supervisor.defects == 0
    assert not path.exists()
    assert path.with_name("defects.json-damaged").read_text() == "{"
    await scene.others_end_well()
