"""What is begun ends in an event, whatever the containerizer raises: a whole agent, whose containerizer fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import NotFound, Unavailable
from mezzo.resources import parse
from mezzo_agent.containers import retries
from mezzo_agent.core.effects import (
    DestroyContainer,
    Effect,
    KillContainer,
    LaunchContainer,
    UpdateContainer,
    WatchContainer,
)
from mezzo_agent.core.events import ContainerActionFailed, ContainerEnded, Event, TimerFired
from mezzo_agent.metrics import AgentMetrics
from mezzo_agent.ports import ContainerConfig, Termination
from mezzo_agent.shell.effect_runner import UNKNOWN_CONTAINER, EffectRunner
from mezzo_agent.shell.executor_streams import ExecutorStreams
from mezzo_chassis.engine import Engine
from mezzo_chassis.quarantine import Quarantine, Suspect
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry

ERRORS = [OverflowError("int too large"), RuntimeError(), ValueError("x" * 5000), KeyError("who"), NotFound("what")]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "RETRY_SECONDS_MAX", 0.001)


def last_status(registry: ScriptedRegistry, task_id: str = "t1") -> mesos.TaskStatus:
    statuses = [each.task_update.status for each in registry.received if each.HasField("task_update")]
    return [status for status in statuses if status.task_id.value == task_id][-1]


def replace(containers: PretendedContainers, **methods: Any) -> None:
    """Have some of its methods do something else."""
    for name, method in methods.items():
        setattr(containers, name, method)


def raises(error: Exception) -> Callable[..., Any]:
    async def failing(*_: Any) -> None:
        raise error

    return failing


@pytest.fixture
async def started(agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks]) -> RunningAgent:
    """A task of a framework that is told of TASK_KILLING runs."""
    killing = mesos.FrameworkInfo.Capability(type=mesos.FrameworkInfo.Capability.TASK_KILLING_STATE)
    registry.add_framework("F1", capabilities=[killing])
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_RUNNING")
    return agent


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_launch_that_raises_anything_fails_the_task(
    agent: RunningAgent,
    containers: PretendedContainers,
    registry: ScriptedRegistry,
    tasks: type[Tasks],
    error: Exception,
) -> None:
    replace(containers, launch=raises(error))
    registry.add_framework()
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_FAILED")
    status = last_status(registry)
    assert status.reason == mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    assert type(error).__name__ in status.message
    assert len(status.message) <= 1000


async def test_executor_whose_launch_raises_anything_is_over_with_its_tasks(
    agent: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    replace(containers, launch=raises(OverflowError()))
    registry.add_framework()
    registry.run(tasks.executor("t1"))
    await registry.until_state("t1", "TASK_FAILED")
    await registry.until(lambda: any(each.HasField("executor_exited") for each in registry.received))


async def test_what_a_launch_left_when_it_raised_is_destroyed(
    agent: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    launch = containers.launch

    async def half_launched(config: ContainerConfig) -> None:
        await launch(config)
        raise OverflowError

    replace(containers, launch=half_launched)
    registry.add_framework()
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_FAILED")
    assert containers.running() == []


async def test_watch_that_raises_ends_the_container_and_the_task(
    agent: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    replace(containers, wait=raises(OSError(24, "Too many open files")))
    registry.add_framework()
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_FAILED")
    assert "Too many open files" in last_status(registry).message
    assert containers.running() == []


async def test_destroy_that_fails_for_a_moment_is_tried_again(
    started: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry
) -> None:
    destroy, attempts = containers.destroy, []

    async def destroy_the_third_time(container_id: str) -> None:
        attempts.append(container_id)
        if len(attempts) < 3:
            raise OSError(24, "Too many open files")
        await destroy(container_id)

    replace(containers, kill=raises(OSError(24, "Too many open files")))
    replace(containers, destroy=destroy_the_third_time)
    registry.kill("t1", grace_seconds=0.0)
    await registry.until_state("t1", "TASK_KILLED")
    assert len(attempts) == 3


async def test_container_that_cannot_be_destroyed_fails_its_task_and_says_why(
    started: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry
) -> None:
    attempts = []

    async def destroy(container_id: str) -> None:
        attempts.append(container_id)
        raise RuntimeError("the kernel does not listen")

    replace(containers, destroy=destroy)
    replace(containers, kill=raises(RuntimeError()))
    registry.kill("t1", grace_seconds=0.0)
    await registry.until_state("t1", "TASK_FAILED")
    assert registry.states("t1")[-2:] == ["TASK_KILLING", "TASK_FAILED"]
    assert last_status(registry).message.endswith("RuntimeError: the kernel does not listen")
    assert len(attempts) == retries.ATTEMPTS_MAX


async def test_destroy_that_hangs_counts_as_failed(
    started: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "ATTEMPT_SECONDS_MAX", 0.01)

    async def hang(_: Any) -> None:
        await asyncio.Event().wait()

    replace(containers, kill=raises(RuntimeError()))
    replace(containers, destroy=hang)
    registry.kill("t1", grace_seconds=0.0)
    await registry.until_state("t1", "TASK_FAILED")
    assert "no success within" in last_status(registry).message


async def test_container_that_the_containerizer_does_not_know_any_more_has_ended(
    started: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry
) -> None:
    """Recovered as running, and gone when the agent begins to wait for it."""
    await started.stop()
    recover = containers.recover

    async def recover_and_forget(checkpointed: Any) -> Any:
        recovered = await recover(checkpointed)
        containers.terminations.clear()
        return recovered

    replace(containers, recover=recover_and_forget)
    await started.start()
    await registry.until_state("t1", "TASK_FAILED")
    assert "Container unknown to the containerizer" in last_status(registry).message


async def test_agent_told_to_leave_leaves_though_a_launch_raised(
    agent: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    replace(containers, launch=raises(OverflowError()))
    registry.add_framework()
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_STARTING")
    registry.send(shutdown={"reason": "the test"})
    await registry.until(lambda: any(each.HasField("leave") for each in registry.received))
    await agent.ended()


async def test_launch_that_raises_after_a_restart_fails_the_task(
    agent: RunningAgent, containers: PretendedContainers, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    """The agent died between the journal and the launch: the next one launches, and that fails."""
    never = asyncio.Event()

    async def launch_that_hangs(_: Any) -> None:
        await never.wait()

    replace(containers, launch=launch_that_hangs)
    registry.add_framework()
    registry.run(tasks.command("t1"))
    await registry.until_state("t1", "TASK_STARTING")
    await agent.stop()
    replace(containers, launch=raises(OverflowError("int too large")))
    await agent.start()
    await registry.until_state("t1", "TASK_FAILED")
    assert "OverflowError" in last_status(registry).message


async def test_limit_without_sense_is_refused_by_name(
    agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    task = tasks.command("t1")
    task.limits["mem"].value = 1e308
    registry.run(task)
    await registry.until_state("t1", "TASK_ERROR")
    assert "task.limits['mem']" in last_status(registry).message


class Listener:
    """A core that orders nothing, and keeps what it is told."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def handle(self, event: Event, *, now: float) -> Sequence[Effect]:
        self.events.put_nowait(event)
        return ()

    def validate(self) -> None:
        """Nothing can be wrong."""


@pytest.fixture
async def alone(containers: PretendedContainers) -> AsyncIterator[SimpleNamespace]:
    """An effect runner without an agent; what comes of effects is in `events`."""
    metrics, listener = AgentMetrics("0"), Listener()
    effect_runner = EffectRunner(containers, ExecutorStreams(), send=print, discard=print, end=print, observer=metrics)
    engine = Engine(
        listener,
        effect_runner.effects,
        name="agent",
        metrics=metrics.engine,
        timer_fired=TimerFired,
        suspect_of=lambda event: Suspect(type(event).__name__),
        quarantine=Quarantine(),
    )
    effect_runner.bind(engine)
    yield SimpleNamespace(run=effect_runner.run, events=listener.events, engine=engine)
    await engine.close(Unavailable("the test is over"))


@pytest.mark.parametrize(
    "effect", [KillContainer("lost", 15), KillContainer("lost", 9), DestroyContainer("lost"), WatchContainer("lost")]
)
async def test_to_kill_or_destroy_or_watch_an_unknown_container_is_to_learn_that_it_has_ended(
    alone: SimpleNamespace, effect: Effect
) -> None:
    alone.run(effect)
    async with asyncio.timeout(20):
        assert await alone.events.get() == ContainerEnded("lost", Termination(None, UNKNOWN_CONTAINER))


@pytest.mark.parametrize("effect", [DestroyContainer("known"), KillContainer("known", 15)])
async def test_how_a_watched_container_ended_is_told_by_who_watches_it(
    alone: SimpleNamespace, containers: PretendedContainers, effect: Effect
) -> None:
    ended = containers.terminations["known"] = asyncio.get_running_loop().create_future()
    replace(containers, kill=raises(NotFound("known")))
    alone.run(WatchContainer("known"))
    alone.run(effect)
    for _ in range(10):
        await asyncio.sleep(0)  # the effect is carried out
    if not ended.done():
        ended.set_result(Termination(9))
    async with asyncio.timeout(20):
        assert await alone.events.get() == ContainerEnded("known", Termination(9))
    await alone.engine.drain()
    assert alone.events.empty()


@pytest.mark.parametrize(
    ("effect", "method"),
    [(KillContainer("c", 15), "kill"), (UpdateContainer("c", parse("cpus:1")), "update")],
    ids=["kill", "update"],
)
async def test_action_that_nothing_depends_on_ends_in_an_event_too(
    alone: SimpleNamespace, containers: PretendedContainers, effect: Effect, method: str
) -> None:
    setattr(containers, method, raises(RuntimeError("the kernel does not listen")))
    alone.run(effect)
    async with asyncio.timeout(20):
        event = await alone.events.get()
    assert event == ContainerActionFailed("c", method, "RuntimeError: the kernel does not listen")


@pytest.mark.parametrize(
    ("effect", "method", "action"),
    [
        (WatchContainer("c"), "_watch", "watch"),
        (DestroyContainer("c"), "_destroy", "destroy"),
        (LaunchContainer(cast("ContainerConfig", SimpleNamespace(container_id="c"))), "_launch", "launch"),
    ],
    ids=["watch", "destroy", "launch"],
)
async def test_defect_of_what_was_spawned_ends_the_container_of_the_core(
    alone: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, effect: Effect, method: str, action: str
) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(EffectRunner, method, fail)
    alone.run(effect)
    async with asyncio.timeout(20):
        event = await alone.events.get()
    assert event.container_id == "c"
    assert event.termination.message == (
        f"Abnormal executor termination: cannot {action} the container: ZeroDivisionError: a mistake of ours"
    )
