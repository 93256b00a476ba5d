"""A toy core, and the world around its engine: a disk, timers and somebody who hears the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from mezzo.errors import InvalidRequest, MezzoError
from mezzo_chassis.defect import Defect
from mezzo_chassis.engine import Engine
from mezzo_chassis.log import current_cause
from mezzo_chassis.metrics import EngineMetrics
from mezzo_chassis.quarantine import Quarantine, Suspect


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


async def ended(engine: Engine[Event, Effect]) -> Defect:
    defect = await engine.ended
    assert isinstance(defect, Defect)
    return defect


def handled(engine: Engine[Event, Effect]) -> list[str]:
    assert isinstance(engine.core, Toy)
    return [event.word if isinstance(event, Said) else type(event).__name__ for event in engine.core.handled]
