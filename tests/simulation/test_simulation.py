"""Whatever goes wrong, the books agree with each other, every task ends exactly once, and nothing is started twice."""

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1.checkpoint_pb2 import CheckpointRecord
from mezzo_agent.core import Agent
from tests.simulation.framework import ContradictionError
from tests.simulation.world import World

SEEDS = range(100, 110)
STEPS = 3_000


@pytest.mark.parametrize("seed", SEEDS)
def test_every_task_ends_exactly_once_whatever_goes_wrong(seed: int) -> None:
    world = World(seed)
    world.run(STEPS)
    launches = [launch for node in world.framework_nodes for launch in node.tracker.launches]
    assert len(launches) == world.frameworks * world.tasks_per_framework
    assert all(launch.end is not None for launch in launches)


def test_a_seed_decides_everything() -> None:
    def run() -> tuple[float, int, list[list[str]]]:
        world = World(7, tasks_per_framework=20)
        world.run(1_000)
        states = [
            [mesos.TaskState.Name(status.state) for attempt in node.attempts.values() for status in attempt.statuses]
            for node in world.framework_nodes
        ]
        return world.clock.now, world.steps, states

    assert run() == run()


def test_faults_of_every_kind_happen() -> None:
    world = World(3, tasks_per_framework=200)
    world.run(12_000)
    assert len(world.faults) == 8


def test_an_agent_that_forgets_its_tasks_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator would notice."""
    restore = Agent.restore

    def forgetful(self: Agent, records: list[CheckpointRecord]) -> None:
        restore(self, [record for record in records if record.HasField("agent")])

    monkeypatch.setattr(Agent, "restore", forgetful)
    with pytest.raises(ContradictionError, match="was lost although its agent had it"):
        World(2, tasks_per_framework=250).run(15_000)
