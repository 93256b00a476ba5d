"""The defects of earlier incarnations: what this one refuses, and whom its recovery ends.

They are written down when a defect ends the agent, and read by the next agent on the same work_dir before anything
else. A file that cannot be read is set aside, and nothing is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from mezzo.errors import shorten
from mezzo_agent.adapters.defects_file import DefectsFile
from mezzo_agent.core.subjects import LAUNCHES, NEVER_REFUSED, Subject
from mezzo_chassis.defect import Defect, in_words
from mezzo_chassis.log import get_logger
from mezzo_chassis.quarantine import SECONDS_MAX, SECONDS_MIN, Entry, Quarantine, Suspect

RECORDS_MAX = 100
"""How many are kept; the oldest are forgotten."""
FRAMEWORK_DEFECTS_MAX = 3
"""After so many defects within FRAMEWORK_WINDOW_SECONDS a framework launches nothing on this agent for a while."""
FRAMEWORK_WINDOW_SECONDS = 600.0
REFUSED_TOO = LAUNCHES | {"kill_task", "shutdown_executor", "shutdown_framework"}
"""Sent again by the registry after the recovery has ended whom they are about."""
_ABOUT_THE_LIVING = frozenset({"kill_task", "shutdown_executor"})
"""Not refused where they are about somebody who lives: the recovery has ended whom the defect was about, and this is
another of the same name."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentSuspect(Suspect):
    """An event of the agent's core as the next incarnation knows it again."""

    about: Subject = field(default_factory=lambda: Subject(""))
    lives: bool = field(default=False, compare=False)
    """Whether whom it is about is there, and has not ended."""

    @classmethod
    def of(cls, subject: Subject, *, lives: bool = False) -> Self:
        return cls(subject.event, subject.framework_id, subject.name, about=subject, lives=lives)


@dataclass(frozen=True, slots=True)
class Record:
    """One or more defects over the same thing. Times are in seconds since the epoch."""

    subject: Subject
    cause: str
    """Where the event came from, and what was raised: the class of the exception, and its message."""
    error: str
    count: int
    at: float
    until: float
    """Until when such an event is refused."""
    ended: bool = False
    """Whom it was about has been ended; that is on the disk."""

    @property
    def reason(self) -> str:
        """What frameworks are told."""
        return shorten(f"the agent met a defect while handling {self.subject.event}: {self.error}")

    def matters(self, now: float) -> bool:
        """Whether somebody is still to be ended; or it counts for how long the next one like it is refused."""
        return (self.subject.ends and not self.ended) or self.until + SECONDS_MAX > now

    def encode(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def decode(cls, record: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or AttributeError."""
        subject = record.pop("subject")
        subject["task_ids"] = tuple(subject["task_ids"])
        return cls(Subject(**subject), **record)


class Defects:
    """Every defect that still matters. `load` first."""

    def __init__(self, file: DefectsFile, now: Callable[[], float]) -> None:
        self._file = file
        self._now = now
        self._records: dict[Subject, Record] = {}
        self.counts: Counter[str] = Counter()
        """How many there were, by the kind of event, of all incarnations on this work_dir."""
        self.quarantine = Quarantine()

    def load(self) -> None:
        """Read what earlier incarnations left. The time until the first start after a defect does not count."""
        try:
            document = self._file.read()
            if document is None:
                return
            records = [Record.decode(each) for each in document["defects"]]
            self.counts = Counter(document["counts"])
            pause = 0.0 if document["resumed"] else self._now() - document["written_at"]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.error("cannot read the defects of earlier incarnations", file=str(self._file.path), error=str(error))
            self._set_aside()
            return
        self._records = {each.subject: replace(each, until=each.until + max(pause, 0.0)) for each in records}
        self.quarantine = _Quarantine(self._entries())
        self._save(resumed=True)

    def subjects_to_end(self) -> dict[Subject, str]:
        """Whom the recovery ends, where the journal knows them, with what their frameworks are told."""
        return {each.subject: each.reason for each in self._records.values() if not each.ended and each.subject.ends}

    def mark_ended(self) -> None:
        """They have been ended, and the journal says nothing else of them any more."""
        for subject in self.subjects_to_end():
            self._records[subject] = replace(self._records[subject], ended=True)
        self._save(resumed=True)

    def reason(self, suspect: Suspect) -> str:
        """What frameworks are told of a launch that is refused."""
        about = suspect.about if isinstance(suspect, AgentSuspect) else Subject(suspect.event)
        own = self._records.get(about)
        if own is not None:
            return own.reason
        last = max(self._of_framework(about.framework_id), key=lambda each: each.at, default=None)
        return f"too many defects over this framework; the last: {last.reason}" if last else "refused after a defect"

    def add(self, defect: Defect) -> None:
        """Write down what ended this incarnation, which the engine has put into the quarantine already."""
        now, text = self._now(), in_words(defect.error)
        self.counts[defect.suspects[0].event if defect.suspects else defect.doing] += 1
        for suspect in dict.fromkeys(defect.suspects):
            about = suspect.about if isinstance(suspect, AgentSuspect) else Subject(suspect.event)
            before = self._records.pop(about, None)
            entry = self.quarantine.find(AgentSuspect.of(about), now)
            until = entry.until if entry is not None else now
            count = before.count + 1 if before is not None else 1
            self._records[about] = Record(about, defect.cause, text, count, now, until)
        self._save(resumed=False)

    def _entries(self) -> Iterable[Entry]:
        """What is refused for a while, if it may be. Those whom the recovery ends come again as others, if at all."""
        frameworks: dict[str, Record] = {}
        for each in self._records.values():
            event = each.subject.event
            refused = event not in NEVER_REFUSED and (not each.subject.ends or event in REFUSED_TOO)
            yield Entry(AgentSuspect.of(each.subject), each.count, each.until if refused else 0.0)
            frameworks[each.subject.framework_id] = each
        for framework_id, last in frameworks.items():
            own = self._of_framework(framework_id)
            count = sum(each.count for each in own if last.at - each.at <= FRAMEWORK_WINDOW_SECONDS)
            if framework_id and count >= FRAMEWORK_DEFECTS_MAX:
                more = min(SECONDS_MIN * (2.0 ** (count - FRAMEWORK_DEFECTS_MAX) - 1.0), SECONDS_MAX)
                yield Entry(_launches_of(framework_id), count, last.until + more)

    def _of_framework(self, framework_id: str) -> list[Record]:
        return [each for each in self._records.values() if each.subject.framework_id == framework_id]

    def _save(self, *, resumed: bool) -> None:
        """A defect that cannot be written down is met again, at worst: the agent goes on without."""
        now = self._now()
        kept = [each for each in self._records.values() if each.matters(now)]
        self._records = {each.subject: each for each in kept[-RECORDS_MAX:]}
        document = {
            "written_at": now,
            "resumed": resumed,
            "counts": dict(self.counts),
            "defects": [each.encode() for each in self._records.values()],
        }
        try:
            self._file.write(document)
        except OSError as error:
            log.error("cannot write down a defect", file=str(self._file.path), error=str(error))

    def _set_aside(self) -> None:
        try:
            self._file.set_aside()
        except OSError as error:
            log.error("cannot set a damaged file aside", file=str(self._file.path), error=str(error))


class _Quarantine(Quarantine):
    """Refuses the launches of a framework that has led to one defect after the other, whatever their tasks.

    And nothing that is about somebody else than the defect was.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        super().__init__(entries=entries)

    def find(self, suspect: Suspect, now: float) -> Entry | None:
        """See `Quarantine`."""
        if isinstance(suspect, AgentSuspect) and suspect.lives and suspect.event in _ABOUT_THE_LIVING:
            return None
        entry = super().find(suspect, now)
        if entry is None and suspect.event in LAUNCHES:
            return super().find(_launches_of(suspect.peer), now)
        return entry


def _launches_of(framework_id: str) -> Suspect:
    return AgentSuspect.of(Subject("run_task", framework_id))
