"""A pause is told from work, and from a check that comes in time."""

from mezzo_chassis.pauses import PauseDetector


class Machine:
    """Clocks that a test turns."""

    def __init__(self) -> None:
        self.now = 50.0
        self.used = 7.0
        self.detector = PauseDetector(4.0, lambda: self.now, lambda: self.used)

    def go_on(self, seconds: float, *, busy: float = 0.0) -> None:
        self.now += seconds
        self.used += busy


def test_checks_in_time_find_no_pause() -> None:
    machine = Machine()
    for _ in range(10):
        machine.go_on(machine.detector.check_interval_seconds)
        assert not machine.detector.overdue
        assert machine.detector.check() == 0.0


def test_a_process_that_stood_still_was_paused_and_only_once() -> None:
    machine = Machine()
    machine.go_on(5.0, busy=0.5)
    assert machine.detector.overdue
    assert machine.detector.check() == 4.5
    assert not machine.detector.overdue
    assert machine.detector.check() == 0.0


def test_a_process_that_was_busy_was_not_paused() -> None:
    machine = Machine()
    machine.go_on(60.0, busy=59.0)
    assert machine.detector.overdue
    assert machine.detector.check() == 0.0


def test_the_clocks_of_the_machine_are_of_one_kind() -> None:
    assert PauseDetector(3600.0).check() == 0.0
