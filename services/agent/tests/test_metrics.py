"""What the agent tells Prometheus of its containers."""

import pytest

from mezzo_agent.metrics import AgentMetrics


def launches(metrics: AgentMetrics, outcome: str) -> float | None:
    return metrics.registry.get_sample_value("mezzo_agent_container_launch_seconds_count", {"outcome": outcome})


@pytest.mark.parametrize(("failed", "outcome"), [(False, "started"), (True, "failed")])
def test_launches_are_counted_from_the_start_by_how_they_went(failed: bool, outcome: str) -> None:
    metrics = AgentMetrics("1.2.3")
    assert launches(metrics, "started") == launches(metrics, "failed") == 0

    metrics.launched(0.25, failed=failed)

    assert launches(metrics, outcome) == 1
    assert metrics.registry.get_sample_value("mezzo_agent_container_launch_seconds_sum", {"outcome": outcome}) == 0.25


def test_the_time_that_destroying_takes_is_told() -> None:
    metrics = AgentMetrics("1.2.3")
    metrics.destroyed(1.5)
    assert metrics.registry.get_sample_value("mezzo_agent_container_destroy_seconds_sum") == 1.5


def test_turns_and_their_events_are_told() -> None:
    metrics = AgentMetrics("1.2.3")
    metrics.engine.turn(3, 0.5)
    metrics.engine.turn(2, 0.25)
    assert metrics.registry.get_sample_value("mezzo_agent_events_total") == 5
    assert metrics.registry.get_sample_value("mezzo_agent_turn_duration_seconds_count") == 2
    assert metrics.registry.get_sample_value("mezzo_agent_turn_duration_seconds_sum") == 0.75
