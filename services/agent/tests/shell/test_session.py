"""The session with the registry: found again whatever happens to it, and nothing lost on the way."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as session
from mezzo.errors import NotLeading, Unavailable
from mezzo_agent.config import Config
from mezzo_agent.core.events import SessionClosed
from mezzo_agent.shell import registry_session
from mezzo_agent.shell.registry_session import RegistrySession
from mezzo_chassis.errors import StartupError
from services.agent.tests.conftest import Tasks
from services.agent.tests.shell.conftest import PretendedContainers, RunningAgent, ScriptedRegistry


async def test_agent_says_who_it_is(agent: RunningAgent, registry: ScriptedRegistry) -> None:
    (register,) = registry.registrations()
    info = register.agent_info
    assert (info.hostname, info.port) == ("127.0.0.1", agent.config.port)
    assert not info.HasField("id")
    assert [resource.name for resource in info.resources] == ["cpus", "mem", "disk", "ports"]
    assert info.resources == register.total_resources
    assert [attribute.name for attribute in info.attributes] == ["rack", "level"]
    assert register.pid == f"slave(1)@127.0.0.1:{agent.config.port}"
    capabilities = {mesos.AgentInfo.Capability.Type.Name(each.type) for each in register.capabilities}
    assert "TASK_RESOURCE_LIMITS" in capabilities


async def test_task_runs_from_order_to_last_acknowledgement(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    containers.finish(containers.of_task("t1"), 3 << 8)
    await registry.until_state("t1", "TASK_FAILED")
    assert registry.states("t1") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"]


async def test_registry_that_comes_back_gets_a_snapshot_and_what_it_has_not_acknowledged(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.acknowledging = False
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_STARTING")
    port = registry.port
    await registry.stop()
    registry.received.clear()
    registry.acknowledging = True
    await registry.start(port)
    await registry.until_state("t1", "TASK_RUNNING")
    (register,) = registry.registrations()
    assert register.agent_info.id.value == "S0"
    (task,) = register.tasks
    assert task.status_update_state == mesos.TASK_STARTING
    assert [framework.id.value for framework in register.frameworks] == ["F1"]


async def test_agent_follows_a_registry_that_does_not_lead_to_the_one_that_does(
    agent: RunningAgent, registry: ScriptedRegistry, config: Config, tasks: type[Tasks]
) -> None:
    follower = type(registry)()
    await follower.start()
    follower.refusal = NotLeading(f"127.0.0.1:{registry.port}")
    await agent.stop()
    registry.received.clear()
    await agent.start(master=("127.0.0.1", follower.port))
    await registry.until(registry.registrations)
    assert follower.sessions == 0
    await follower.stop()


async def test_agent_knocks_until_the_registry_opens(agent: RunningAgent, registry: ScriptedRegistry) -> None:
    await agent.stop()
    registry.received.clear()
    registry.refusal = Unavailable("not yet")
    await agent.start()
    await registry.until(lambda: registry.refused >= 2)
    assert registry.registrations() == []
    registry.refusal = None
    await registry.until(registry.registrations)


async def test_agent_that_hears_nothing_begins_again(agent: RunningAgent, registry: ScriptedRegistry) -> None:
    registry.heartbeat_timeout_seconds = 0.05
    port = registry.port
    await registry.stop()
    registry.received.clear()
    await registry.start(port)
    await registry.until(lambda: len(registry.registrations()) >= 2)


async def test_agent_gives_signs_of_life(agent: RunningAgent, registry: ScriptedRegistry) -> None:
    registry.heartbeat_interval_seconds = 0.01
    port = registry.port
    await registry.stop()
    await registry.start(port)
    await registry.until(lambda: sum(each.HasField("heartbeat") for each in registry.received) >= 3)


async def test_registry_that_does_not_answer_is_given_up(
    agent: RunningAgent, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_session, "REGISTRATION_TIMEOUT_SECONDS", 0.05)
    port = registry.port
    await registry.stop()
    registry.received.clear()
    registry.silent = True
    await registry.start(port)
    await registry.until(lambda: len(registry.registrations()) >= 2)


async def test_agent_that_is_shut_down_ends_what_runs_says_goodbye_and_forgets_itself(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    registry.send(shutdown=session.Shutdown(reason="it was marked gone"))
    await agent.ended()
    assert containers.running() == []
    assert any(each.HasField("leave") for each in registry.received)
    await agent.stop()
    registry.received.clear()
    await agent.start()
    await registry.until(registry.registrations)
    assert not registry.registrations()[0].agent_info.HasField("id")


async def test_message_that_cannot_be_applied_is_dropped_and_counted_and_the_session_goes_on(
    agent: RunningAgent, registry: ScriptedRegistry, http: aiohttp.ClientSession, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    good = session.RunTask(framework_id=mesos.FrameworkID(value="F1"), task=tasks.command("t1"))
    registry.send(run_task=session.RunTask.FromString(good.SerializeToString().replace(b"t1", b"\xff1")))
    registry.run(tasks.command("t2"))
    await registry.until_state("t2", "TASK_RUNNING")
    assert len(registry.registrations()) == 1
    async with http.get(f"http://127.0.0.1:{agent.config.metrics_port}/metrics") as response:
        text = await response.text()
    assert 'mezzo_agent_registry_messages_dropped_total{message="run_task"} 1.0' in text
    assert 'mezzo_agent_registry_messages_dropped_total{message="kill_task"} 0.0' in text


async def test_agent_that_stops_leaves_its_containers_alone(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    await agent.stop()
    assert len(containers.running()) == 1
    containers.finish(containers.of_task("t1"))
    await agent.start()
    await registry.until_state("t1", "TASK_FINISHED")
    assert containers.forgotten == [containers.of_task("t1")]


async def test_agent_that_another_registry_takes_for_another_ends_and_says_so(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:

    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    registry.agent_id = "S9"
    port = registry.port
    await registry.stop()
    await registry.start(port)
    with pytest.raises(StartupError, match="assigned the id S9, but tasks of agent S0 are running"):
        await agent.ended()
    assert len(containers.running()) == 1


async def test_cleanup_ends_everything_and_the_agent(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    await agent.stop()
    await agent.start(recover="cleanup")
    await agent.ended()
    assert containers.running() == []


@pytest.mark.parametrize("flags", [{"resources": "cpus:2;mem:512;disk:512"}, {"attributes": "rack:r9"}])
async def test_restart_with_other_flags_is_fine_while_what_runs_still_fits(
    agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks], flags: Any
) -> None:
    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    await agent.stop()
    registry.received.clear()
    await agent.start(**flags)
    await registry.until(registry.registrations)
    info = registry.registrations()[0].agent_info
    assert info.id.value == "S0"
    if "attributes" in flags:
        assert info.attributes[0].text.value == "r9"


async def test_restart_on_a_full_disk_goes_on_with_the_long_journal(
    agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks], monkeypatch: pytest.MonkeyPatch
) -> None:
    await agent.stop()

    def fail(_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)  # of a new journal; appends are synced otherwise
        await agent.start()
        await registry.until(lambda: len(registry.registrations()) == 2)
    assert registry.registrations()[1].agent_info.id.value == "S0"


async def test_restart_with_too_little_says_exactly_what_does_not_fit(
    agent: RunningAgent, registry: ScriptedRegistry, tasks: type[Tasks]
) -> None:

    registry.add_framework()
    registry.run(tasks.command())
    await registry.until_state("t1", "TASK_RUNNING")
    await agent.stop()
    with pytest.raises(StartupError) as refused:
        await agent.start(resources="cpus:0.5;mem:1024;disk:1024")
    assert "cpus: running tasks use cpus:1, the agent now has cpus:0.5" in str(refused.value)
    assert "mem" not in str(refused.value)


async def test_session_that_breaks_while_the_agent_ends_is_still_heard(
    agent: RunningAgent, registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []

    async def run(self: RegistrySession, turns: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns.request(SessionClosed())
            said.append("closed")

    await agent.stop()
    monkeypatch.setattr(RegistrySession, "run", run)
    await agent.start()
    await agent.stop()
    assert said == ["closed"]


async def test_many_tasks_at_once_all_end(
    agent: RunningAgent, registry: ScriptedRegistry, containers: PretendedContainers, tasks: type[Tasks]
) -> None:
    registry.add_framework()
    ids = [f"t{number}" for number in range(200)]
    for task_id in ids:
        registry.run(tasks.command(task_id))
    for task_id in ids:
        await registry.until_state(task_id, "TASK_RUNNING")
        containers.finish(containers.of_task(task_id))
    for task_id in ids:
        await registry.until_state(task_id, "TASK_FINISHED")
        assert registry.states(task_id) == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    await asyncio.sleep(0)
