"""A tracker of launches: what it takes of offers, what it makes of updates."""

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import parse
from mezzo.scheduler.tracker import LaunchTracker, Received

RECONCILED = mesos.TaskStatus.REASON_RECONCILIATION


def task(name: str, resources: str = "cpus:1;mem:64") -> mesos.TaskInfo:
    info = mesos.TaskInfo(name=name, resources=parse(resources).messages())
    info.task_id.value = name
    return info


def offer(resources: str, number: int = 1) -> mesos.Offer:
    made = mesos.Offer(resources=parse(resources).allocated_to("web").messages())
    made.id.value, made.agent_id.value = f"O{number}", f"A{number}"
    return made


def status(
    task_id: str,
    state: "mesos.TaskState.ValueType",
    uuid: bytes | None = None,
    reason: "mesos.TaskStatus.Reason.ValueType | None" = None,
) -> mesos.TaskStatus:
    return mesos.TaskStatus(task_id=mesos.TaskID(value=task_id), state=state, uuid=uuid, reason=reason)


@pytest.fixture
def tracker() -> LaunchTracker:
    tracker = LaunchTracker()
    for name in ("a", "b", "c"):
        tracker.add(task(name))
    return tracker


def names(tasks: list[mesos.TaskInfo]) -> list[tuple[str, str]]:
    return [(each.task_id.value, each.agent_id.value) for each in tasks]


def test_an_offer_takes_the_oldest_that_fit_and_nothing_twice(tracker: LaunchTracker) -> None:
    assert names(tracker.take(offer("cpus:2.5;mem:1024"))) == [("a", "A1"), ("b", "A1")]
    assert names(tracker.take(offer("cpus:0.5;mem:1024", 2))) == []
    assert tracker.any_waiting
    assert names(tracker.take(offer("cpus:8;mem:1024", 3))) == [("c", "A3")]
    assert not tracker.any_waiting


def test_a_small_task_does_not_wait_for_a_large_one_before_it() -> None:
    tracker = LaunchTracker()
    tracker.add(task("large", "cpus:16"))
    tracker.add(task("small", "cpus:1"))
    assert names(tracker.take(offer("cpus:2"))) == [("small", "A1")]


def test_no_more_are_taken_than_asked_for(tracker: LaunchTracker) -> None:
    assert names(tracker.take(offer("cpus:8;mem:1024"), tasks_max=0)) == []
    assert names(tracker.take(offer("cpus:8;mem:1024"), tasks_max=2)) == [("a", "A1"), ("b", "A1")]


def test_what_an_executor_takes_counts_too() -> None:
    tracker = LaunchTracker()
    info = task("a", "cpus:1")
    info.executor.resources.extend(parse("cpus:0.5").messages())
    tracker.add(info)
    assert names(tracker.take(offer("cpus:1.4"))) == []
    assert names(tracker.take(offer("cpus:1.5"))) == [("a", "A1")]


def test_an_update_is_news_once(tracker: LaunchTracker) -> None:
    tracker.take(offer("cpus:8;mem:1024"))
    running = status("a", mesos.TASK_RUNNING, b"1")
    assert tracker.receive(running) is Received.NEW
    assert tracker.receive(running) is Received.REPEATED
    assert tracker.receive(status("a", mesos.TASK_RUNNING, reason=RECONCILED)) is Received.REPEATED
    assert tracker.receive(status("zzz", mesos.TASK_RUNNING, b"1")) is Received.FOREIGN
    assert tracker.receive(status("a", mesos.TASK_FINISHED, b"2")) is Received.NEW
    assert [launch.task_id for launch in tracker.unfinished()] == ["b", "c"]


def test_a_launch_that_nobody_knows_waits_again_under_another_id(tracker: LaunchTracker) -> None:
    (first, *_) = tracker.launches
    tracker.take(offer("cpus:8;mem:1024"))
    assert tracker.receive(status("a", mesos.TASK_UNKNOWN, reason=RECONCILED)) is Received.LAUNCH_LOST
    assert tracker.receive(status("a", mesos.TASK_UNKNOWN, reason=RECONCILED)) is Received.REPEATED
    assert first.waiting
    assert names(tracker.take(offer("cpus:1;mem:64", 2))) == [("a.2", "A2")]
    # What is said of the lost launch now is of no interest.
    assert tracker.receive(status("a", mesos.TASK_LOST, b"1")) is Received.FOREIGN
    assert tracker.receive(status("a.2", mesos.TASK_FINISHED, b"2")) is Received.NEW
    assert first.end is not None
    assert (first.name, first.attempts) == ("a", 2)


def test_a_launch_that_was_late_and_not_lost_is_not_made_again(tracker: LaunchTracker) -> None:
    (first, *_) = tracker.launches
    tracker.take(offer("cpus:8;mem:1024"))
    tracker.receive(status("a", mesos.TASK_UNKNOWN, reason=RECONCILED))
    assert tracker.receive(status("a", mesos.TASK_LOST)) is Received.FOREIGN
    assert first.waiting
    assert tracker.receive(status("a", mesos.TASK_RUNNING, b"1")) is Received.NEW
    assert not first.waiting
    assert names(tracker.take(offer("cpus:8;mem:1024", 2))) == []


def test_what_was_heard_of_once_is_not_launched_again(tracker: LaunchTracker) -> None:
    tracker.take(offer("cpus:8;mem:1024"))
    tracker.receive(status("a", mesos.TASK_RUNNING, b"1"))
    assert tracker.receive(status("a", mesos.TASK_UNKNOWN, reason=RECONCILED)) is Received.REPEATED
    assert not tracker.any_waiting


def test_a_launch_whose_agent_was_out_of_reach_at_once_is_made_again_when_nobody_has_it(
    tracker: LaunchTracker,
) -> None:
    tracker.take(offer("cpus:8;mem:1024"))
    assert tracker.receive(status("a", mesos.TASK_UNREACHABLE)) is Received.NEW
    assert tracker.receive(status("a", mesos.TASK_GONE, reason=RECONCILED)) is Received.LAUNCH_LOST


def test_what_its_agent_has_lost_has_ended(tracker: LaunchTracker) -> None:
    (first, *_) = tracker.launches
    tracker.take(offer("cpus:8;mem:1024"))
    tracker.receive(status("a", mesos.TASK_RUNNING, b"1"))
    assert tracker.receive(status("a", mesos.TASK_GONE, reason=RECONCILED)) is Received.NEW
    assert first.end is not None
    assert tracker.receive(status("a", mesos.TASK_GONE, reason=RECONCILED)) is Received.REPEATED


def test_it_is_finished_when_everything_has_ended(tracker: LaunchTracker) -> None:
    assert not tracker.finished
    tracker.take(offer("cpus:8;mem:1024"))
    for name in ("a", "b", "c"):
        assert not tracker.finished
        tracker.receive(status(name, mesos.TASK_FAILED, name.encode()))
    assert tracker.finished


def test_what_is_withdrawn_is_not_launched_any_more(tracker: LaunchTracker) -> None:
    tracker.withdraw(tracker.launches[1])
    assert names(tracker.take(offer("cpus:8;mem:1024"))) == [("a", "A1"), ("c", "A1")]
    for name in ("a", "c"):
        tracker.receive(status(name, mesos.TASK_FINISHED, b"1"))
    assert tracker.finished


def test_a_launch_that_was_lost_withdrawn_and_late_is_heard_of(tracker: LaunchTracker) -> None:
    assert tracker.take(offer("cpus:1;mem:64"))
    (launch,) = tracker.unfinished()
    assert tracker.receive(status("a", mesos.TASK_GONE, reason=RECONCILED)) is Received.LAUNCH_LOST
    tracker.withdraw(launch)
    assert tracker.receive(status("a", mesos.TASK_RUNNING, b"1")) is Received.NEW
    assert list(tracker.unfinished()) == [launch]


def test_another_process_goes_on_with_what_was_launched() -> None:
    tracker = LaunchTracker()
    launch = tracker.add(task("a"))
    tracker.restore(launch, "a.2", "A7", 2, [status("a.2", mesos.TASK_RUNNING, b"1")])
    assert not tracker.any_waiting
    assert [(each.task_id, each.task.agent_id.value) for each in tracker.unfinished()] == [("a.2", "A7")]
    # It has reached its agent: it is not launched once more because nobody knows it.
    assert tracker.receive(status("a.2", mesos.TASK_UNKNOWN, reason=RECONCILED)) is Received.REPEATED
    assert tracker.receive(status("a.2", mesos.TASK_RUNNING, b"1")) is Received.REPEATED
    assert tracker.receive(status("a.2", mesos.TASK_FINISHED, b"2")) is Received.NEW
    assert tracker.finished
