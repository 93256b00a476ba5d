"""States change along their tables alone; what cannot follow is a defect, and its error tells the story."""

import ast
import enum
from pathlib import Path

import pytest

import mezzo_registry.core
from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.task_states import TERMINAL
from mezzo_registry.core import InvalidTransition, effects, events
from mezzo_registry.core.state.entities import Agent, Framework, Task
from mezzo_registry.core.state.story import LINES_MAX, ROWS_MAX, Story
from mezzo_registry.core.state.transitions import TASK_TRANSITIONS, AgentState, FrameworkState
from mezzo_registry.testing import Cluster, FakeAgent, FakeFramework

Call = scheduler.Call
State = mesos.TaskState


def entities(cluster: Cluster, framework: FakeFramework, agent: FakeAgent) -> tuple[Agent, Framework, Task]:
    state = cluster.registry.state
    known = state.frameworks[framework.id]
    return state.agents[agent.id], known, known.tasks["t1"]


def states_of(cluster: Cluster, *names: str | tuple[str, str]) -> list[tuple[str, str]]:
    """Of a story: the event and the states of each line."""
    lines = [line.split() for line in cluster.registry.state.story.of(*names)]
    return [(words[1].rstrip(":"), " ".join(words[-3:])) for words in lines]


def test_story_of_a_task_says_in_which_event_it_entered_each_state(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    uuid, _ = cluster.update(framework, agent, "t1", "TASK_FINISHED")
    cluster.acknowledge(framework, agent, "t1", uuid)
    assert states_of(cluster, (framework.id, "t1")) == [
        ("FrameworkCalled", "none -> TASK_STAGING"),
        ("TaskUpdated", "TASK_STAGING -> TASK_RUNNING"),
        ("TaskUpdated", "TASK_RUNNING -> TASK_FINISHED"),
        ("FrameworkCalled", "TASK_FINISHED -> none"),
    ]


def test_story_of_an_agent_goes_on_when_it_comes_back(cluster: Cluster) -> None:
    agent = cluster.agent()
    cluster.disconnect(agent)
    cluster.advance(3600)
    cluster.come_back(agent)
    assert states_of(cluster, agent.id) == [
        ("AgentRegistering", "none -> registering"),
        ("AgentStored", "registering -> connected"),
        ("AgentDisconnected", "connected -> disconnected"),
        ("AgentMarkedUnreachable", "disconnected -> removed"),
        ("AgentRegistering", "none -> registering"),
        ("AgentStored", "registering -> connected"),
    ]


def test_story_says_whose_request_it_was(cluster: Cluster) -> None:
    framework = cluster.framework()
    call = Call(type=Call.TEARDOWN)
    call.framework_id.value = framework.id
    cluster.handle(events.FrameworkCalled(7, framework.stream_id, call, "request-7"))
    assert cluster.registry.state.story.of(framework.id)[-1].endswith(
        f" FrameworkCalled (request-7): {framework.id} connected -> completed"
    )


def test_task_that_has_ended_enters_no_other_state(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    cluster.update(framework, agent, "t1", "TASK_FINISHED")
    _, _, task = entities(cluster, framework, agent)
    with pytest.raises(InvalidTransition) as raised:
        cluster.registry.state.move_task(task, mesos.TASK_RUNNING)
    first, *story = str(raised.value).splitlines()
    assert first == f"task {framework.id}/t1 cannot go from TASK_FINISHED to TASK_RUNNING"
    assert story[0].endswith(f" AgentRegistering: {agent.id} none -> registering"), "of its agent and framework, too"
    assert story[-1].endswith(f" TaskUpdated: {framework.id}/t1 TASK_RUNNING -> TASK_FINISHED")
    assert tuple(line.strip() for line in story) == raised.value.story
    assert task.state == mesos.TASK_FINISHED


def test_agent_that_is_connected_cannot_be_recovered(cluster: Cluster) -> None:
    agent, state = cluster.agent(), cluster.registry.state
    with pytest.raises(InvalidTransition, match=rf"^agent {agent.id} cannot go from connected to recovered\n"):
        state.move_agent(state.agents[agent.id], AgentState.RECOVERED)


def test_framework_that_is_connected_cannot_be_recovered(cluster: Cluster) -> None:
    framework, state = cluster.framework(), cluster.registry.state
    with pytest.raises(InvalidTransition, match=rf"^framework {framework.id} cannot go from connected to recovered\n"):
        state.move_framework(state.frameworks[framework.id], FrameworkState.RECOVERED)


def test_task_cannot_begin_out_of_reach() -> None:
    cluster = Cluster()
    cluster.allocator()
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    _, _, task = entities(cluster, framework, agent)
    cluster.registry.state.drop_task(task)
    task.state = mesos.TASK_UNREACHABLE
    with pytest.raises(InvalidTransition, match="cannot go from none to TASK_UNREACHABLE"):
        cluster.registry.state.add_task(task)


def test_impossible_transition_within_a_call_is_a_defect_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal says that nothing has changed, and nobody knows that any more."""
    cluster = Cluster()
    cluster.allocator()
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    monkeypatch.setitem(TASK_TRANSITIONS, mesos.TASK_RUNNING, frozenset())
    call = Call(type=Call.TEARDOWN)
    call.framework_id.value = framework.id
    with pytest.raises(InvalidTransition, match="from TASK_RUNNING to TASK_KILLED"):
        cluster.handle(events.FrameworkCalled(1, framework.stream_id, call))


def test_table_has_every_state_that_a_task_can_be_in() -> None:
    never = {mesos.TASK_UNKNOWN, mesos.TASK_GONE_BY_OPERATOR}
    assert TASK_TRANSITIONS.keys() == {None, *State.values()} - never
    for before, after in TASK_TRANSITIONS.items():
        assert not after & never
        assert bool(after) == (before not in TERMINAL | {mesos.TASK_UNREACHABLE}), before


def test_state_of_an_entity_is_set_where_the_table_is_asked() -> None:
    """And nowhere else in the core: whoever sets it directly leaves indices and story behind."""
    core = Path(mezzo_registry.core.__file__).parent
    places = set()
    for path in core.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else ()
            flat = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
            if any(
                isinstance(one, ast.Attribute)
                and one.attr == "state"
                and isinstance(one.value, ast.Name)
                and one.value.id in {"agent", "framework", "task"}
                for one in flat
            ):
                places.add(path.relative_to(core).as_posix())
    assert places == {"state/cluster.py"}


# --- what agents say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["TASK_STAGING", "TASK_UNREACHABLE", "TASK_UNKNOWN", "TASK_GONE_BY_OPERATOR"])
def test_update_in_a_state_that_is_not_the_agents_to_say_is_dropped(cluster: Cluster, state: str) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.running(framework, agent)
    _, sent = cluster.update(framework, agent, "t1", state)
    assert sent == []
    _, sent = cluster.update(framework, agent, "t1", "TASK_RUNNING", latest=state)
    assert sent == [], "nor is it taken for the latest state"
    assert cluster.registry.measure(now=cluster.now)["master/invalid_status_updates"] == 2
    assert entities(cluster, framework, agent)[2].state == mesos.TASK_RUNNING


@pytest.mark.parametrize("state", ["TASK_UNREACHABLE", "TASK_UNKNOWN", "TASK_GONE_BY_OPERATOR"])
def test_agent_whose_snapshot_has_a_state_that_is_not_its_to_say_is_refused(cluster: Cluster, state: str) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    reported = cluster.snapshot_task(framework, agent, info, state)
    cluster.come_back(agent, tasks=[reported], frameworks=[framework.info])
    assert "register.tasks[0].state" in str(cluster.of(effects.CloseAgentSession)[0].error)


def test_snapshot_that_is_behind_takes_no_task_back(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    info = cluster.running(framework, agent)
    behind = cluster.snapshot_task(framework, agent, info, "TASK_STAGING")
    cluster.come_back(agent, tasks=[behind], frameworks=[framework.info])
    assert entities(cluster, framework, agent)[2].state == mesos.TASK_RUNNING


@pytest.mark.parametrize("order", [("TASK_RUNNING", "TASK_STARTING"), ("TASK_KILLING", "TASK_RUNNING")])
def test_executors_report_states_in_any_order(cluster: Cluster, order: tuple[str, str]) -> None:
    agent, framework = cluster.agent(), cluster.framework()
    cluster.launched(framework, agent)
    for state in order:
        cluster.update(framework, agent, "t1", state)
    assert entities(cluster, framework, agent)[2].state == State.Value(order[-1])


# --- what a story holds -----------------------------------------------------------------------------------------------


def test_story_holds_no_message_and_no_secret(cluster: Cluster) -> None:
    agent, framework = cluster.agent(), cluster.framework(principal="hidden")
    offer = cluster.offer(framework, agent)
    info = cluster.task_info(offer)
    info.command.environment.variables.add(name="TOKEN", value="hidden")
    info.data = b"hidden"
    cluster.accept(framework, [offer], info)
    cluster.update(framework, agent, "t1", "TASK_FINISHED", message="hidden", data=b"hidden")
    story = cluster.registry.state.story
    kinds = {type(value) for row in story.rows for value in row}
    assert {kind for kind in kinds if not issubclass(kind, enum.Enum)} <= {float, str, tuple, int, type(None)}
    assert len(story.rows) > 3
    assert "hidden" not in repr(story.rows)


def test_story_forgets_the_oldest() -> None:
    story = Story()
    for number in range(ROWS_MAX + LINES_MAX):
        story.record(f"{number}", None, mesos.TASK_STAGING)
    assert len(story.rows) == ROWS_MAX
    assert not story.of("0")
    assert story.of(str(LINES_MAX))


def test_story_is_told_from_its_end() -> None:
    story = Story()
    for state in (mesos.TASK_STARTING, mesos.TASK_RUNNING) * LINES_MAX:
        story.record("agent", None, state)
    assert len(story.of("agent")) == LINES_MAX
    assert story.of("agent")[-1].endswith("none -> TASK_RUNNING")
