"""What the agent's process does about its own end."""

import pytest

from mezzo_agent import app


def test_agents_that_all_end_on_a_defect_start_again_ever_more_seldom_until_one_has_lasted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(app.RESTARTS_VARIABLE, "0")
    pauses = [app.restart_seconds(lasted_seconds=1.0) for _ in range(8)]
    longest = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, longest, strict=True))
    assert app.restart_seconds(lasted_seconds=app.SETTLED_SECONDS) <= 1.0
    assert app.restart_seconds(lasted_seconds=1.0) <= 2.0
