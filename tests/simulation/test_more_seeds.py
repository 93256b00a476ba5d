"""The second half of the seeds: files of tests are spread over the cores, and one with all of them would end last."""

import pytest

from tests.simulation.test_simulation import run

pytestmark = pytest.mark.slow("simulates twenty-five clusters from their start to their end")


@pytest.mark.parametrize("seed", range(125, 150))
def test_every_task_ends_exactly_once_whatever_goes_wrong(seed: int) -> None:
    simulation = run(seed)
    assert all(framework.finished for framework in simulation.frameworks)
    assert any(agent.host.starts for agent in simulation.agents)
