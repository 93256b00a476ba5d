"""What ended an incarnation of an engine is known to the next, which refuses it for a while instead of ending again.

Pure: the time is given. Who restarts in the same process hands the object on; who ends with the process writes
`entries` down, and begins with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

SECONDS_MIN = 60.0
SECONDS_MAX = 3600.0
ENTRIES_MAX = 256


@dataclass(frozen=True, slots=True)
class Suspect:
    """An event as it can be known again."""

    event: str
    """Its kind: one of a few, since metrics have it as a label."""
    peer: str = ""
    """Who sent it; empty where nobody did."""
    subject: str = ""
    """What it is about, such as the id of a task."""
    aliases: tuple[str, ...] = ()
    """Other keys under which it is refused as well, such as the name under which its peer may come anew."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One that is, or was, refused."""

    suspect: Suspect
    """The newest with its key."""
    defects: int
    """How often it has ended an incarnation."""
    until: float
    """Until when it is refused, in the seconds of the owner's clock."""


def _itself(suspect: Suspect) -> object:
    return suspect


class Quarantine:
    """Suspects, and until when each is refused: for twice as long each time, within bounds."""

    def __init__(
        self,
        *,
        key: Callable[[Suspect], object] = _itself,
        seconds_min: float = SECONDS_MIN,
        seconds_max: float = SECONDS_MAX,
        entries_max: int = ENTRIES_MAX,
        entries: Iterable[Entry] = (),
    ) -> None:
        """`key`: suspects with the same key are refused together; one whose key is empty is not, whatever its aliases.

        `entries_max` bounds the number of keys, aliases among them.
        """
        self._key = key
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._entries_max = entries_max
        self._entries: dict[object, Entry] = {}
        for entry in entries:
            self._enter(entry)
        self.until = max((each.until for each in self._entries.values()), default=0.0)
        """From then on nothing is refused, as far as is known."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that is known, oldest first; for whoever writes it down."""
        return tuple(dict.fromkeys(self._entries.values()))

    def add(self, suspect: Suspect, now: float) -> Entry | None:
        """Refuse what has ended an incarnation at `now`. Returns None for what cannot be refused."""
        keys = self._keys(suspect)
        if not keys:
            return None
        self._forget(now)
        defects = 1 + max(self._entries[key].defects if key in self._entries else 0 for key in keys)
        seconds = min(self._seconds_min * 2.0 ** min(defects - 1, 64), self._seconds_max)
        entry = Entry(suspect, defects, now + seconds)
        self._enter(entry)
        self.until = max(self.until, entry.until)
        while len(self._entries) > self._entries_max:
            del self._entries[next(iter(self._entries))]
        return entry

    def _keys(self, suspect: Suspect) -> list[object]:
        return [key for key in (self._key(suspect), *suspect.aliases) if key]

    def _enter(self, entry: Entry) -> None:
        for key in self._keys(entry.suspect):
            self._entries.pop(key, None)
            self._entries[key] = entry

    def find(self, suspect: Suspect, now: float) -> Entry | None:
        """Why an event is to be refused at `now`; None where it is not."""
        entry = self._entries.get(self._key(suspect))
        # One that ends much later than it can was made before the clock was set back. It must not hold as long as that.
        return entry if entry is not None and now < entry.until <= now + 2.0 * self._seconds_max else None

    def _forget(self, now: float) -> None:
        """Forget the count of what has been let in again for a long time, and has done no harm."""
        for key in [key for key, each in self._entries.items() if each.until + self._seconds_max <= now]:
            del self._entries[key]
