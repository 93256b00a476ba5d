"""The story of agents, frameworks and tasks: which state each entered, when, and in which event.

A row is written where a state changes and holds nothing but small values: a message would keep memory, and may hold
secrets. The newest rows of all entities are kept, and read when something went wrong.
"""

import enum
from collections import deque
from typing import Final

from mesos.v1 import mesos_pb2 as mesos

ROWS_MAX: Final = 50_000
"""Rows kept, of all entities together: about 8 MB."""
LINES_MAX: Final = 20
"""Rows of one story, the newest: an error should fit on a screen."""

_TASK_STATES: Final[dict[int, str]] = {number: name for name, number in mesos.TaskState.items()}

Name = str | tuple[str, str]
"""The id of an agent or a framework; the framework's id and the id of a task."""
State = enum.Enum | int | None
"""Of an agent or a framework; the number of a task's; None before the entity is entered, and after it is dropped."""
Row = tuple[float, str, str, Name, State, State]
"""Seconds since the epoch, the event that was being handled, the correlation id of its request ("" for none), whose row
it is, and the states before and after.
"""


class Story:
    """The newest changes of state, the oldest first."""

    __slots__ = ("event", "now", "rows")

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=ROWS_MAX)
        self.now = 0.0
        """Seconds since the epoch, when the event being handled happened."""
        self.event: object = None
        """What is being handled."""

    def record(self, name: Name, before: State, after: State) -> None:
        """Record that an entity has entered a state."""
        event = self.event
        correlation_id = getattr(event, "correlation_id", "")
        self.rows.append((self.now, type(event).__name__, correlation_id, name, before, after))

    def of(self, *names: Name) -> tuple[str, ...]:
        """Return the newest rows of some entities as lines, the oldest first."""
        wanted = frozenset(names)
        return tuple(_line(row) for row in [row for row in self.rows if row[3] in wanted][-LINES_MAX:])


def _line(row: Row) -> str:
    at, event, correlation_id, name, before, after = row
    cause = f" ({correlation_id})" if correlation_id else ""
    shown = name if isinstance(name, str) else "/".join(name)
    return f"{at:.3f} {event}{cause}: {shown} {text(before)} -> {text(after)}"


def text(state: State) -> str:
    """Return the name of a state; "none" where there is no entity."""
    if state is None:
        return "none"
    return str(state.value) if isinstance(state, enum.Enum) else _TASK_STATES[state]
