"""What is known of the defects of earlier incarnations: for how long something is refused, and what is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzo_agent.adapters.defects_file import DefectsFile
from mezzo_agent.core.subjects import NEVER_REFUSED, Subject
from mezzo_agent.shell import defects as module
from mezzo_agent.shell.defects import AgentSuspect, Defects
from mezzo_chassis.defect import Defect

ACKNOWLEDGEMENT = Subject("acknowledge_update", "F1", task_ids=("t1",))
EXECUTOR = Subject("executor_update", "F1", "E1")
MINUTE = 60.0


def launch(task_id: str, framework_id: str = "F1") -> Subject:
    return Subject("run_task", framework_id, task_ids=(task_id,))


class Agent:
    """One incarnation after the other on the same disk, with a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.defects = self._begin()

    def _begin(self) -> Defects:
        defects = Defects(DefectsFile(self.folder), lambda: self.now)
        defects.load()
        return defects

    def restart(self) -> None:
        self.defects = self._begin()

    def end_on(self, subject: Subject, error: Exception | None = None) -> None:
        """As the engine does, whoever starts the agent again."""
        suspect = AgentSuspect.of(subject)
        self.defects.quarantine.add(suspect, self.now)
        self.defects.add(Defect("handle", (suspect,), "call-1", error or ValueError("boom")))

    def refuses(self, subject: Subject) -> bool:
        return self.defects.quarantine.find(AgentSuspect.of(subject), self.now) is not None


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_nothing_is_known_at_first(agent: Agent) -> None:
    assert not agent.refuses(launch("t1"))
    assert agent.defects.subjects_to_end() == {}
    assert agent.defects.counts == {}


def test_event_is_refused_for_a_minute_and_twice_as_long_each_time(agent: Agent) -> None:
    for minutes in (1, 2, 4):
        agent.end_on(ACKNOWLEDGEMENT)
        agent.restart()
        agent.now += minutes * MINUTE - 1
        assert agent.refuses(ACKNOWLEDGEMENT)
        agent.now += 2
        assert not agent.refuses(ACKNOWLEDGEMENT)


def test_time_until_the_agent_is_started_again_does_not_count(agent: Agent) -> None:
    agent.end_on(ACKNOWLEDGEMENT)
    agent.now += 10 * MINUTE
    agent.restart()
    assert agent.refuses(ACKNOWLEDGEMENT)
    agent.now += MINUTE
    agent.restart()  # for another reason
    assert not agent.refuses(ACKNOWLEDGEMENT)


def test_other_events_are_not_refused(agent: Agent) -> None:
    agent.end_on(launch("t1"))
    agent.restart()
    assert agent.refuses(launch("t1"))
    assert not agent.refuses(launch("t2"))
    assert not agent.refuses(launch("t1", "F2"))


def test_whom_the_recovery_ends_is_known_until_that_is_on_the_disk(agent: Agent) -> None:
    agent.end_on(EXECUTOR)
    for _ in range(2):
        agent.restart()
        reason = "the agent met a defect while handling executor_update: ValueError: boom"
        assert agent.defects.subjects_to_end() == {EXECUTOR: reason}
    agent.defects.mark_ended()
    agent.restart()
    assert agent.defects.subjects_to_end() == {}


def test_executor_of_the_same_name_is_not_refused(agent: Agent) -> None:
    agent.end_on(EXECUTOR)
    agent.restart()
    assert not agent.refuses(EXECUTOR)


@pytest.mark.parametrize("event", sorted(NEVER_REFUSED))
def test_what_is_told_once_is_not_refused(agent: Agent, event: str) -> None:
    subject = Subject(event, "F1", task_ids=("t1",))
    agent.end_on(subject)
    agent.restart()
    assert not agent.refuses(subject), "of another task of the same name, say"


def test_framework_with_three_defects_in_ten_minutes_launches_nothing_for_a_while(agent: Agent) -> None:
    for task_id in ("t1", "t2", "t3"):
        assert not agent.refuses(launch("another"))
        agent.end_on(launch(task_id))
        agent.now += 1
        agent.restart()
    assert agent.refuses(launch("another"))
    assert not agent.refuses(launch("another", "F2"))
    assert not agent.refuses(Subject("kill_task", "F1", task_ids=("another",)))
    assert agent.defects.reason(AgentSuspect.of(launch(""))).startswith(
        "too many defects over this framework; the last:"
    )
    agent.now += MINUTE
    assert not agent.refuses(launch("another"))


def test_defects_that_lie_far_apart_are_no_reason_against_a_framework(agent: Agent) -> None:
    for task_id in ("t1", "t2", "t3", "t4"):
        agent.end_on(launch(task_id))
        agent.restart()
        agent.now += 6 * MINUTE
    agent.restart()
    assert not agent.refuses(launch("another"))


def test_counts_go_on_across_processes(agent: Agent) -> None:
    for subject in (EXECUTOR, ACKNOWLEDGEMENT, EXECUTOR):
        agent.end_on(subject)
        agent.restart()
    assert agent.defects.counts == {"executor_update": 2, "acknowledge_update": 1}


def test_what_is_over_for_long_is_forgotten(agent: Agent) -> None:
    agent.end_on(EXECUTOR)
    agent.restart()
    agent.defects.mark_ended()
    agent.end_on(ACKNOWLEDGEMENT)
    agent.now += 3 * 60 * MINUTE
    agent.restart()  # that time does not count
    agent.now += 3 * 60 * MINUTE
    agent.restart()
    assert DefectsFile(agent.folder).read()["defects"] == []


def test_only_so_many_are_kept(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS_MAX", 3)
    for number in range(5):
        agent.end_on(launch(f"t{number}"))
    kept = [record["subject"]["task_ids"] for record in DefectsFile(agent.folder).read()["defects"]]
    assert kept == [["t2"], ["t3"], ["t4"]]


def test_long_errors_are_cut(agent: Agent) -> None:
    agent.end_on(EXECUTOR, ValueError("x" * 5000))
    (record,) = DefectsFile(agent.folder).read()["defects"]
    assert len(record["error"]) == 1000
    agent.restart()
    assert all(len(reason) <= 1000 for reason in agent.defects.subjects_to_end().values())


def test_defect_that_cannot_be_written_down_keeps_nobody_from_ending(tmp_path: Path) -> None:
    agent = Agent(tmp_path / "gone")
    agent.end_on(EXECUTOR)
    assert agent.defects.counts == {"executor_update": 1}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"defects": 1}', '{"defects": [{}], "counts": {}}', '{"defects": [{"subject": {}}]}']
)
def test_file_that_makes_no_sense_is_set_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "defects.json").write_text(text)
    agent = Agent(tmp_path)
    assert agent.defects.subjects_to_end() == {}
    assert (tmp_path / "defects.json-damaged").read_text() == text
    agent.end_on(EXECUTOR)
    agent.restart()
    assert list(agent.defects.subjects_to_end()) == [EXECUTOR]
