"""Whatever goes wrong, every task ends exactly once, nothing is started twice, and nothing is held for nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.simulation.options import FAULTS, draw
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.slow("simulates twenty-five clusters from their start to their end")

STEPS = 800
STEPS_OF_A_STORM = 5_000


def run(seed: int, steps: int = STEPS) -> Simulation:
    with Simulation(seed) as simulation:
        simulation.run(steps)
    return simulation


@pytest.mark.parametrize("seed", range(100, 125))
def test_every_task_ends_exactly_once_whatever_goes_wrong(seed: int) -> None:
    simulation = run(seed)
    assert all(framework.finished for framework in simulation.frameworks)
    assert any(agent.host.starts for agent in simulation.agents)


def test_a_seed_decides_everything() -> None:
    def story() -> tuple[float, int, dict[str, int], list[list[str]]]:
        simulation = run(7)
        states = [
            [state for task_id in framework.attempts for state in framework.states(task_id)]
            for framework in simulation.frameworks
        ]
        return simulation.loop.time(), simulation.loop.steps, dict(simulation.faults.counts), states

    assert story() == story()


def test_a_failure_says_how_to_see_it_again_and_leaves_nothing_that_runs() -> None:
    simulation = Simulation(8)
    simulation.loop.call_later(9.0, simulation.loop.fail, AssertionError("something is wrong"))
    with simulation, pytest.raises(AssertionError, match="something is wrong") as failed:
        simulation.run(STEPS_OF_A_STORM)
    [note] = failed.value.__notes__
    assert str(simulation.options) in note
    assert note.endswith(f"make sim SEED=8 STEPS={STEPS_OF_A_STORM}")
    assert asyncio.all_tasks(simulation.loop) == set()


def test_faults_of_every_kind_happen() -> None:
    options = replace(
        draw(3), agents=4, registries=3, frameworks=2, tasks_per_framework=60, faults=FAULTS, fault_seconds=(0.1, 1.0)
    )
    with Simulation(3, options) as simulation:
        simulation.run(STEPS_OF_A_STORM)
        assert set(simulation.faults.counts) == set(FAULTS)
