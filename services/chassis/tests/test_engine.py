"""The engine, by conversations with a toy core: order, durability before effects, timers, causes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mezzo.errors import InvalidRequest, NotLeading
from mezzo_chassis import log
from mezzo_chassis.log import current_cause
from services.chassis.tests.toy import Answer, Failed, Said, Start, World, ended, handled

# --- turns ------------------------------------------------------------------------------------------------------------


async def test_what_waits_is_written_at_once_and_answered_in_order(world: World) -> None:
    engine = world.engine()
    engine.post(Said("a"))
    engine.post_all([Said("b"), Said("c")])
    assert engine.events_waiting == 3
    await engine.drain()
    assert world.story == ["wrote a+b+c", "answered a", "answered b", "answered c"]
    assert world.metric("events_total") == 4  # with the one that waited
    assert world.metric("turn_duration_seconds_count") == 1


async def test_effects_wait_for_the_disk_and_the_inbox_fills_meanwhile(world: World) -> None:
    engine = world.engine()
    world.disk_may_go_on.clear()
    first = asyncio.ensure_future(engine.request(Said("a")))
    await world.disk_is_busy.wait()
    engine.post(Said("b"))
    rest = asyncio.ensure_future(engine.request(Said("c")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert handled(engine) == ["a"]
    assert not world.story
    assert not first.done()
    world.disk_may_go_on.set()
    await asyncio.gather(first, rest)
    assert world.story == ["wrote a", "answered a", "wrote b+c", "answered b", "answered c"]


async def test_a_turn_takes_a_bounded_number_of_events(world: World) -> None:
    engine = world.engine(events_per_turn_max=2)
    engine.post_all([Said("a"), Said("b"), Said("c")])
    await engine.drain()
    assert world.story == ["wrote a+b", "answered a", "answered b", "wrote c", "answered c"]


async def test_others_have_the_loop_between_turns(world: World) -> None:
    engine = world.engine(events_per_turn_max=1, commit=lambda _effects: None)
    engine.post_all([Said("a"), Said("b")])
    asyncio.get_running_loop().call_soon(world.story.append, "somebody else")
    await engine.drain()
    assert world.story == ["answered a", "somebody else", "answered b"]


async def test_whoever_posts_from_an_effect_has_it_handled_in_a_later_turn(world: World) -> None:
    engine = world.engine()

    def echo(effect: Answer) -> None:
        world.answer(effect)
        if effect.word == "a":
            engine.post(Said("echo"))

    engine = world.engine()
    engine._effects = {**engine._effects, Answer: echo}
    engine.post_all([Said("a"), Said("b")])
    await engine.drain()
    await engine.drain()
    assert world.story == ["wrote a+b", "answered a", "answered b", "wrote echo", "answered echo"]


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_a_request_is_refused_and_nothing_else_suffers(world: World) -> None:
    engine = world.engine()
    refused, fine = await asyncio.gather(
        engine.request(Said("no")), engine.request(Said("yes")), return_exceptions=True
    )
    assert isinstance(refused, InvalidRequest)
    assert fine is None
    assert world.story == ["wrote yes", "answered yes"]
    assert not engine.ended.done()


async def test_a_refusal_that_nobody_waits_for_is_told(world: World) -> None:
    engine = world.engine()
    engine.post(Said("no"))
    await engine.drain()
    [(event, error)] = world.refusals
    assert event == Said("no")
    assert str(error) == "word: must not be no"


async def test_an_error_is_no_refusal_where_the_core_has_none(world: World) -> None:
    engine = world.engine(refusals=())
    engine.post(Said("no"))
    assert isinstance((await ended(engine)).error, InvalidRequest)


async def test_whoever_gives_up_a_request_harms_nobody(world: World) -> None:
    engine = world.engine()
    request = asyncio.ensure_future(engine.request(Said("a")))
    await asyncio.sleep(0)
    request.cancel()
    await engine.request(Said("b"))
    assert world.story == ["wrote a+b", "answered a", "answered b"]


async def test_the_end_is_told_to_all_who_wait_and_all_who_come(world: World) -> None:
    engine = world.engine()
    world.disk_may_go_on.clear()
    waiting = [asyncio.ensure_future(each) for each in (engine.request(Said("a")), engine.drain(), engine.promise())]
    await world.disk_is_busy.wait()
    await engine.close(NotLeading("h:1"))
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, NotLeading)
        assert error.leader == "h:1"
    with pytest.raises(NotLeading):
        await engine.request(Said("late"))
    with pytest.raises(NotLeading):
        await engine.drain()
    engine.post(Said("late"))
    await asyncio.sleep(0)
    assert handled(engine) == ["a"]
    assert not world.disk
    assert not world.story


# --- time, and what takes long ----------------------------------------------------------------------------------------


async def test_a_timer_ends_in_its_event(world: World) -> None:
    engine = world.engine()
    engine.post(Said("timer"))
    assert await world.answers.get() == "t fired at 1000"


async def test_a_timer_is_started_anew_and_cancelled(world: World) -> None:
    engine = world.engine()
    engine.start_timer("a", 0.0)
    engine.start_timer("a", 3600.0)
    engine.start_timer("b", 0.0)
    engine.cancel_timer("b")
    engine.cancel_timer("never started")
    engine.start_timer("c", 0.0)
    assert await world.answers.get() == "c fired at 1000"
    await engine.drain()
    assert world.answers.empty()


@pytest.mark.parametrize("word", ["last", "defect"])
async def test_nothing_is_kept_of_what_is_posted_after_the_end(world: World, word: str) -> None:
    engine = world.engine()
    engine.post(Said(word))
    if word == "defect":
        await ended(engine)
    else:
        engine.end(NotLeading())
    engine.post_all([Said("a"), Said("b")])
    engine.post(Said("c"))
    assert engine.events_waiting == 0
    await asyncio.sleep(0)
    assert "a" not in handled(engine)


async def test_no_timer_fires_after_the_end(world: World) -> None:
    engine = world.engine()
    engine.start_timer("a", 0.0)
    engine.end(NotLeading())
    engine.start_timer("b", 0.0)
    await asyncio.sleep(0.001)  # a timer of the loop that comes after both
    assert handled(engine) == []


@pytest.mark.parametrize(
    ("word", "outcome"),
    [("spawn", "outcome"), ("spawn failing", "failed: ZeroDivisionError('in a task')")],
)
async def test_what_is_spawned_ends_in_an_event_whatever_it_raises(world: World, word: str, outcome: str) -> None:
    engine = world.engine()
    engine.post(Said(word), cause="call-7")
    assert await world.answers.get() == outcome
    assert world.causes == ["call-7"]
    assert not engine.ended.done()


async def test_what_is_spawned_and_cancelled_by_others_ends_in_an_event_too(world: World) -> None:
    engine = world.engine()
    engine.post(Said("spawn for ever"))
    await engine.drain()
    [task] = [each for each in asyncio.all_tasks() if each.get_name() == "spawn for ever"]
    task.cancel()
    assert await world.answers.get() == "failed: InternalError('spawn for ever was cancelled')"


async def test_what_is_spawned_ends_with_the_engine(world: World) -> None:
    engine = world.engine()
    engine.post(Said("spawn for ever"), cause="call-7")
    await engine.drain()
    await asyncio.sleep(0)
    await engine.close(NotLeading())
    assert world.cleaned_up == ["spawn for ever because of call-7"]
    engine.spawn(world.work("spawn"), lambda error: Failed(repr(error)), name="too late")
    await asyncio.sleep(0)
    assert world.cleaned_up == ["spawn for ever because of call-7"]
    assert handled(engine) == ["spawn for ever"]


# --- causes -----------------------------------------------------------------------------------------------------------


async def test_a_cause_is_what_the_poster_says_or_made_of_the_event(world: World) -> None:
    engine = world.engine()
    engine.post(Said("a"), cause="call-7")
    engine.post(Said("b"))
    engine.post_all([Said("c"), Said("d")], cause="wire-1")
    await engine.request(Said("e"), cause="http-3")
    assert world.causes == ["call-7", "toy-1/said/1", "wire-1", "wire-1", "http-3"]
    assert engine.cause == ""


async def test_what_an_effect_posts_has_its_cause(world: World) -> None:
    engine = world.engine()
    engine._effects = {**engine._effects, Start: lambda _: engine.post(Said("follows"))}
    engine.post(Said("timer"), cause="call-7")
    await engine.drain()
    await engine.drain()
    assert world.causes == ["call-7"]


async def test_a_turn_is_not_of_the_request_that_woke_it(world: World) -> None:
    """The log lines of effects carry the cause of their event, and nothing of whoever posted first."""
    told: list[dict[str, Any]] = []

    def tell(effect: Answer) -> None:
        told.append({"word": effect.word, "correlation_id": log.correlation_id(), "cause": current_cause()})

    engine = world.engine()
    engine._effects = {**engine._effects, Answer: tell}
    log.bind_correlation_id("of-the-first")
    engine.post(Said("a"), cause="call-1")
    engine.post(Said("b"), cause="call-2")
    await engine.drain()
    assert told == [
        {"word": "a", "correlation_id": "", "cause": "call-1"},
        {"word": "b", "correlation_id": "", "cause": "call-2"},
    ]
    assert current_cause() == ""
