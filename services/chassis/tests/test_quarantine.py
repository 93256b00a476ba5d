"""Quarantine: what ended an incarnation is refused for a while, longer each time, and let in again."""

from mezzo_chassis.quarantine import Quarantine, Suspect

CALL = Suspect("call", peer="framework f", subject="accept")


def test_what_ended_an_incarnation_is_refused_until_its_time_is_over() -> None:
    quarantine = Quarantine(seconds_min=60, seconds_max=600)
    assert quarantine.find(CALL, 0) is None
    quarantine.add(CALL, 100)
    entry = quarantine.find(CALL, 159)
    assert entry is not None
    assert (entry.suspect, entry.defects, entry.until) == (CALL, 1, 160)
    assert quarantine.find(CALL, 160) is None
    assert quarantine.until == 160


def test_another_event_of_the_same_peer_is_not_refused() -> None:
    quarantine = Quarantine()
    quarantine.add(CALL, 0)
    assert quarantine.find(Suspect("call", peer="framework f", subject="revive"), 0) is None


def test_the_time_doubles_with_each_defect_and_is_bounded() -> None:
    quarantine = Quarantine(seconds_min=60, seconds_max=300)
    seconds = []
    now = 0.0
    for _ in range(5):
        entry = quarantine.add(CALL, now)
        assert entry is not None
        seconds.append(entry.until - now)
        now = entry.until
    assert seconds == [60, 120, 240, 300, 300]


def test_what_has_done_no_harm_for_long_begins_anew() -> None:
    quarantine = Quarantine(seconds_min=60, seconds_max=300)
    for now in (0, 60):
        quarantine.add(CALL, now)
    entry = quarantine.add(CALL, 180 + 300)
    assert entry is not None
    assert (entry.defects, entry.until) == (1, 480 + 60)


def test_suspects_with_the_same_key_are_refused_together_and_those_without_never() -> None:
    quarantine = Quarantine(key=lambda suspect: suspect.peer)
    quarantine.add(CALL, 0)
    assert quarantine.find(Suspect("subscribe", peer="framework f"), 1) is not None
    assert quarantine.add(Suspect("timer"), 0) is None
    assert quarantine.find(Suspect("timer"), 0) is None
    assert len(quarantine.entries) == 1


def test_a_peer_that_comes_under_another_name_is_refused_too() -> None:
    quarantine = Quarantine(key=lambda suspect: suspect.peer)
    quarantine.add(Suspect("call", peer="framework 1", aliases=("name f",)), 0)
    assert quarantine.find(Suspect("subscribe", peer="name f"), 1) is not None
    # Another of the same name that is known by its own id is another.
    assert quarantine.find(Suspect("subscribe", peer="framework 2", aliases=("name f",)), 1) is None
    assert len(quarantine.entries) == 1
    assert Quarantine(key=lambda suspect: suspect.peer, entries=quarantine.entries).entries == quarantine.entries


def test_what_cannot_be_refused_itself_may_have_its_peer_refused() -> None:
    quarantine = Quarantine(key=lambda suspect: suspect.peer if suspect.event == "subscribe" else "")
    left = Suspect("left", peer="f", aliases=("f",))
    quarantine.add(left, 0)
    quarantine.add(left, 0)
    assert quarantine.find(left, 1) is None
    entry = quarantine.find(Suspect("subscribe", peer="f"), 1)
    assert entry is not None
    assert (entry.suspect, entry.defects) == (left, 2)


def test_a_clock_that_is_set_back_keeps_nobody_out() -> None:
    quarantine = Quarantine(seconds_min=60, seconds_max=3600)
    quarantine.add(Suspect("launch", "F"), now=1_000_000)
    assert quarantine.find(Suspect("launch", "F"), now=999_990) is not None, "a little matters little"
    assert quarantine.find(Suspect("launch", "F"), now=900_000) is None


def test_the_oldest_are_forgotten_first() -> None:
    quarantine = Quarantine(entries_max=2)
    suspects = [Suspect("call", subject=str(number)) for number in range(3)]
    for suspect in (suspects[0], suspects[1], suspects[0], suspects[2]):
        quarantine.add(suspect, 0)
    assert [entry.suspect for entry in quarantine.entries] == [suspects[0], suspects[2]]


def test_what_was_written_down_is_refused_by_the_next_process() -> None:
    before = Quarantine(seconds_min=60)
    before.add(CALL, 0)
    after = Quarantine(seconds_min=60, entries=before.entries)
    assert after.until == 60
    assert after.find(CALL, 30) is not None
    entry = after.add(CALL, 60)
    assert entry is not None
    assert (entry.defects, entry.until) == (2, 180)
