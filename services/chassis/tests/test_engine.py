"""The engine, by conversations with a toy core: order, durability before effects, defects, quarantine, causes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from mezzo.errors import InternalError, InvalidRequest, MezzoError, NotLeading
from mezzo_chassis import log
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import Engine
from mezzo_chassis.log import current_cause
from mezzo_chassis.metrics import EngineMetrics
from mezzo_chassis.quarantine import Entry, Quarantine, Suspect

SOON_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Said:
    """Something is to be written, and answered. Some words are special: see `Toy`."""

    word: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    key: str


@dataclass(frozen=True, slots=True)
class Failed:
    error: str


@dataclass(frozen=True, slots=True)
class Write:
    word: str


@dataclass(frozen=True, slots=True)
class Answer:
    word: str


@dataclass(frozen=True, slots=True)
class Start:
    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Spawn:
    word: str


Event = Said | TimerFired | Failed
Effect = Write | Answer | Start | Spawn


class Toy:
    """Answers each word once it is written down."""

    def __init__(self) -> None:
        self.handled: list[Event] = []
        self.violation = ""

    def handle(self, event: Event, *, now: float) -> Sequence[Effect]:
        self.handled.append(event)
        match event:
            case Said("no"):
                raise InvalidRequest("word", "must not be no")
            case Said("defect") | TimerFired("defect"):
                raise KeyError("defect")
            case Said("silence"):
                return []
            case Said("timer"):
                return [Start("t", 0.0)]
            case Said("spawn" | "spawn failing" | "spawn for ever"):
                return [Spawn(event.word)]
            case Said(word):
                return [Write(word), Answer(word)]
            case TimerFired(key):
                return [Answer(f"{key} fired at {now:g}")]
            case Failed(error):
                return [Answer(f"failed: {error}")]

    def validate(self) -> None:
        if self.violation:
            raise ValueError(self.violation)


@dataclass
class World:
    """What lies around a toy: a disk that can be held or broken, and somebody who hears the answers."""

    quarantine: Quarantine = field(default_factory=lambda: Quarantine(seconds_min=60))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    now: float = 1000.0
    disk: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    """What happened, in order."""
    causes: list[str] = field(default_factory=list)
    """Of each answer."""
    refusals: list[tuple[Event, MezzoError]] = field(default_factory=list)
    answers: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    disk_may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    disk_is_busy: asyncio.Event = field(default_factory=asyncio.Event)
    disk_error: BaseException | None = None
    engines: list[Engine[Event, Effect]] = field(default_factory=list)
    cleaned_up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.disk_may_go_on.set()
        self.metrics = EngineMetrics(self.registry, "toy", kinds=("said", "timer"))

    def engine(self, **options: Any) -> Engine[Event, Effect]:
        """Another incarnation."""
        engine: Engine[Event, Effect] = Engine(
            Toy(),
            {Write: lambda _: None, Answer: self.answer, Start: self.start, Spawn: self.spawn},
            **{
                "name": f"toy-{len(self.engines) + 1}",
                "metrics": self.metrics,
                "timer_fired": TimerFired,
                "suspect_of": suspect_of,
                "quarantine": self.quarantine,
                "refusals": (InvalidRequest,),
                "refused": lambda event, error: self.refusals.append((event, error)),
                "commit": self.commit,
                "now": lambda: self.now,
                **options,
            },
        )
        self.engines.append(engine)
        return engine

    @property
    def current(self) -> Engine[Event, Effect]:
        return self.engines[-1]

    def commit(self, effects: Sequence[Effect]) -> Coroutine[Any, Any, None] | None:
        words = [effect.word for effect in effects if isinstance(effect, Write)]
        return self.write(words) if words else None

    async def write(self, words: list[str]) -> None:
        self.disk_is_busy.set()
        await self.disk_may_go_on.wait()
        if self.disk_error is not None:
            raise self.disk_error
        self.disk += words
        self.story.append(f"wrote {'+'.join(words)}")

    def answer(self, effect: Answer) -> None:
        if effect.word == "broken effect":
            raise OSError("cannot answer")
        self.story.append(f"answered {effect.word}")
        self.causes.append(self.current.cause)
        self.answers.put_nowait(effect.word)

    def start(self, effect: Start) -> None:
        self.current.start_timer(effect.key, effect.seconds)

    def spawn(self, effect: Spawn) -> None:
        self.current.spawn(self.work(effect.word), lambda error: Failed(repr(error)), name=effect.word)

    async def work(self, word: str) -> Event | None:
        if word == "spawn failing":
            raise ZeroDivisionError("in a task")
        try:
            await (asyncio.Event().wait() if word == "spawn for ever" else asyncio.sleep(0))
        finally:
            self.cleaned_up.append(f"{word} because of {current_cause()}")
        return Said("outcome")

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"mezzo_toy_{name}", labels)


def suspect_of(event: Event) -> Suspect:
    match event:
        case Said(word):
            return Suspect("said", subject=word)
        case TimerFired(key):
            return Suspect("timer", subject=key)
        case Failed(error):
            return Suspect("failed", subject=error)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with asyncio.timeout(SOON_SECONDS):
        yield world
    for engine in world.engines:
        await engine.close(NotLeading())


async def ended(engine: Engine[Event, Effect]) -> Defect:
    defect = await engine.ended
    assert isinstance(defect, Defect)
    return defect


def handled(engine: Engine[Event, Effect]) -> list[str]:
    assert isinstance(engine.core, Toy)
    return [event.word if isinstance(event, Said) else type(event).__name__ for event in engine.core.handled]


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
