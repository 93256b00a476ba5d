"""What ends an engine, what the next one refuses, and how the state is checked, by conversations with a toy core."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from mezzo.errors import InternalError, NotLeading
from mezzo_chassis.quarantine import Entry, Quarantine, Suspect
from services.chassis.tests.toy import (
    Answer,
    Effect,
    Event,
    Failed,
    Said,
    TimerFired,
    Toy,
    World,
    Write,
    ended,
    handled,
    suspect_of,
)

# --- defects ----------------------------------------------------------------------------------------------------------


async def test_a_defect_in_the_core_ends_the_incarnation_and_nothing_is_handled_after_it(world: World) -> None:
    engine = world.engine()
    engine.post(Said("a"))
    engine.post(Said("defect"), cause="call-7")
    after = asyncio.ensure_future(engine.request(Said("b")))
    defect = await ended(engine)
    assert str(defect) == "handle (said defect): KeyError: 'defect'"
    assert defect.suspects == (Suspect("said", subject="defect"),)
    assert defect.cause == "call-7"
    assert handled(engine) == ["a", "defect"]
    assert not world.story  # what came before in the same turn is as little done as after `kill -9`
    with pytest.raises(InternalError, match="toy-1 has ended"):
        await after
    assert world.metric("defects_total", event="said") == 1
    assert world.metric("defects_total", event="timer") == 0


async def test_a_defect_for_which_nobody_can_be_refused_has_no_culprit(world: World) -> None:
    nobody = Quarantine(key=lambda suspect: suspect.subject.removeprefix("defect"))
    world.engine(quarantine=nobody).post(Said("defect"))
    assert not (await ended(world.current)).has_culprit
    assert world.metric("defects_without_culprit_total") == 1
    world.engine().post(Said("defect"))
    assert (await ended(world.current)).has_culprit
    assert world.metric("defects_without_culprit_total") == 1


async def test_whoever_waits_at_a_defect_is_told_what_the_owner_chooses(world: World) -> None:
    engine = world.engine(closed=NotLeading)
    with pytest.raises(NotLeading):
        await engine.request(Said("defect"))


async def test_a_defect_in_an_effect_ends_the_incarnation_and_names_its_event(world: World) -> None:
    engine = world.engine()
    engine.post_all([Said("a"), Said("broken effect"), Said("b")])
    defect = await ended(engine)
    assert defect.doing == "effect Answer"
    assert defect.suspects == (Suspect("said", subject="broken effect"),)
    assert world.story == ["wrote a+broken effect+b", "answered a"]


async def test_a_cancellation_out_of_an_effect_is_a_defect_and_does_not_stall_the_engine(world: World) -> None:
    """Such as the result of a future that was cancelled long ago: it is no Exception to Python."""
    engine = world.engine()

    def ask(effect: Answer) -> None:
        raise asyncio.CancelledError

    engine._effects = {**engine._effects, Answer: ask}
    engine.post(Said("a"), cause="call-7")
    defect = await ended(engine)
    assert isinstance(defect.error, asyncio.CancelledError)
    assert defect.suspects == (Suspect("said", subject="a"),)


async def test_an_effect_that_nobody_carries_out_is_a_defect(world: World) -> None:
    engine = world.engine()
    engine._effects = {}
    engine.post(Said("a"))
    assert isinstance((await ended(engine)).error, KeyError)


@pytest.mark.parametrize("error", [TypeError("no bytes"), asyncio.CancelledError()], ids=["raised", "cancelled"])
async def test_a_defect_in_a_commit_suspects_all_that_was_to_be_written(world: World, error: BaseException) -> None:
    world.disk_error = error
    engine = world.engine()
    engine.post(Said("silence"))
    engine.post(Said("a"), cause="call-7")
    engine.post(Said("b"))
    defect = await ended(engine)
    assert defect.doing == "commit"
    assert [each.subject for each in defect.suspects] == ["a", "b"]
    assert defect.cause == "call-7"
    assert not world.story


async def test_a_defect_in_a_commit_suspects_only_what_spoils_it_where_that_is_known(world: World) -> None:
    def check_commit(effects: Sequence[Effect]) -> None:
        if Write("b") in effects:
            raise TypeError("no bytes")

    world.disk_error = TypeError("no bytes")
    engine = world.engine(check_commit=check_commit)
    for word in "abc":
        engine.post(Said(word))
    assert [each.subject for each in (await ended(engine)).suspects] == ["b"]


async def test_a_commit_that_cannot_begin_is_a_defect(world: World) -> None:
    def commit(effects: Sequence[Effect]) -> None:
        raise TypeError(f"cannot write {len(effects)} effects")

    engine = world.engine(commit=commit)
    engine.post(Said("a"))
    assert str((await ended(engine)).error) == "cannot write 2 effects"


async def test_a_timer_that_is_poison_is_named(world: World) -> None:
    engine = world.engine()
    engine.start_timer("defect", 0.0)
    defect = await ended(engine)
    assert defect.suspects == (Suspect("timer", subject="defect"),)
    assert defect.cause == "toy-1/timer_fired/1"


async def test_a_spawned_task_whose_failure_cannot_be_told_is_a_defect(world: World) -> None:
    engine = world.engine()

    def failed(error: Exception) -> Event:
        raise TypeError("nothing fits")

    engine.spawn(world.work("spawn failing"), failed, name="work")
    defect = await ended(engine)
    assert str(defect) == "outcome (): TypeError: nothing fits"
    assert world.metric("defects_total", event="outcome") == 1


async def test_a_timer_that_has_no_event_is_a_defect(world: World) -> None:
    def timer_fired(key: object) -> Event:
        raise TypeError(f"what is {key}?")

    engine = world.engine(timer_fired=timer_fired)
    engine.start_timer("t", 0.0)
    assert str(await ended(engine)) == "timer (): TypeError: what is t?"


async def test_events_that_cannot_be_described_are_handled_while_others_are_refused(world: World) -> None:
    def describe(event: Event) -> Suspect:
        if event == Said("a"):
            raise AttributeError("no word")
        return suspect_of(event)

    world.quarantine.add(suspect_of(Said("defect")), world.now)
    engine = world.engine(suspect_of=describe)
    await engine.request(Said("a"))
    assert handled(engine) == ["a"]


async def test_an_event_that_cannot_be_described_still_ends_the_incarnation(world: World) -> None:
    def describe(event: Event) -> Suspect:
        raise AttributeError("no word")

    engine = world.engine(suspect_of=describe)
    engine.post(Said("defect"))
    defect = await ended(engine)
    assert isinstance(defect.error, KeyError)
    assert defect.suspects == (Suspect("said"),)


async def test_an_error_without_words_still_ends_the_incarnation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wordless(Exception):
        def __str__(self) -> str:
            raise AttributeError("neither has this")

    def fail(_self: Toy, _event: Event, *, now: float) -> Sequence[Effect]:
        raise Wordless

    monkeypatch.setattr(Toy, "handle", fail)
    engine = world.engine()
    engine.post(Said("a"))
    assert "Wordless" in str(await ended(engine))


async def test_a_defect_that_cannot_be_logged_still_ends_the_incarnation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_kind: str, *, has_culprit: bool) -> None:
        raise ValueError(f"no such kind: {has_culprit}")

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    monkeypatch.setattr(world.metrics, "defect", fail)
    engine = world.engine()
    engine.post(Said("defect"))
    await ended(engine)
    assert [str(each) for each in complaints] == ["no such kind: True"]


async def test_an_owner_may_end_the_engine_before_an_event(world: World) -> None:
    def may_continue() -> bool:
        if "b" in handled(world.current):
            world.current.end(NotLeading())
        return not world.current.ended.done()

    engine = world.engine(may_continue=may_continue)
    engine.post_all([Said("a"), Said("b"), Said("c")])
    assert isinstance(await engine.ended, NotLeading)
    assert handled(engine) == ["a", "b"]
    assert not world.story


# --- quarantine -------------------------------------------------------------------------------------------------------


async def test_the_next_incarnation_refuses_what_ended_the_last_once_and_every_time(world: World) -> None:
    first = world.engine()
    first.post(Said("defect"))
    await first.ended
    second = world.engine()
    for _ in range(3):
        with pytest.raises(InternalError, match="refused for now: said has led to a defect before"):
            await second.request(Said("defect"))
    second.post(Said("defect"))
    await second.request(Said("a"))
    assert handled(second) == ["a"]
    assert not second.ended.done()
    assert world.metric("defects_refused_total", event="said") == 4
    assert world.metric("defects_total", event="said") == 1


async def test_what_is_refused_is_tried_again_when_its_time_is_over_and_then_refused_for_longer(world: World) -> None:
    for began, refused_for in ((1000, 60), (1060, 120), (1180, 240)):
        world.now = began
        engine = world.engine()
        engine.post(Said("defect"))
        await ended(engine)
        assert world.quarantine.until == began + refused_for


async def test_several_who_are_refused_in_turns_are_logged_once_each(world: World) -> None:
    for word in ("a", "b"):
        world.quarantine.add(Suspect("said", subject=word), world.now)
    engine = world.engine()
    with capture_logs() as logs:
        engine.post_all([Said(word) for word in "abababab"])
        await engine.drain()
    assert [each["subject"] for each in logs] == ["a", "b"]


async def test_the_owner_says_what_is_handled_in_place_of_what_is_refused(world: World) -> None:
    def substitute(event: Event, entry: Entry) -> Event:
        return Failed(f"{entry.suspect.subject} ended {entry.defects} incarnation")

    first = world.engine()
    first.post(Said("defect"))
    await first.ended
    second = world.engine(substitute=substitute)
    await second.request(Said("defect"), cause="call-8")
    assert world.story == ["answered failed: defect ended 1 incarnation"]
    assert world.causes == ["call-8"]


async def test_what_is_handled_instead_is_refused_too_when_it_is_poison(world: World) -> None:
    def substitute(event: Event, entry: Entry) -> Event:
        return TimerFired("defect")

    first = world.engine()
    first.post(Said("defect"))
    await first.ended
    second = world.engine(substitute=substitute)
    second.post(Said("defect"))
    await second.ended
    third = world.engine(substitute=substitute)
    with pytest.raises(InternalError, match="refused for now"):
        await third.request(Said("defect"))
    assert handled(third) == []


async def test_a_substitute_that_raises_is_a_defect(world: World) -> None:
    def substitute(event: Event, entry: Entry) -> Event:
        raise TypeError("nothing fits")

    first = world.engine()
    first.post(Said("defect"))
    await first.ended
    second = world.engine(substitute=substitute)
    second.post(Said("defect"))
    assert isinstance((await ended(second)).error, TypeError)


# --- the state --------------------------------------------------------------------------------------------------------


async def test_the_state_is_checked_every_few_turns_and_a_violation_ends_the_incarnation(world: World) -> None:
    engine = world.engine(validate_every_turns=2)
    assert isinstance(engine.core, Toy)
    engine.core.violation = "indexes differ"
    await engine.request(Said("a"))
    assert not engine.ended.done()
    await engine.request(Said("b"))
    defect = await ended(engine)
    assert str(defect) == "validate (): ValueError: indexes differ"
    assert world.metric("defects_total", event="validate") == 1


async def test_the_environment_says_how_often_the_state_is_checked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZO_VALIDATE_EVERY", "1")
    engine = world.engine()
    assert isinstance(engine.core, Toy)
    engine.core.violation = "indexes differ"
    engine.post(Said("a"))
    assert (await ended(engine)).doing == "validate"


async def test_the_state_is_checked_at_the_end_and_a_violation_is_counted(world: World) -> None:
    engine = world.engine()
    assert isinstance(engine.core, Toy)
    engine.core.violation = "indexes differ"
    engine.end(NotLeading())
    assert isinstance(await engine.ended, NotLeading)
    assert world.metric("defects_total", event="validate") == 1
