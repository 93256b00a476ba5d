"""The agents: what each has, what is free of it, and who holds the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mesos.v1.mesos_pb2 import AgentInfo
from mezzo.resources import Resources
from mezzo_allocator.core.arrays import NEEDS_REVOCABLE, ROOT, Ints, Stock
from mezzo_allocator.core.roles import RoleTree
from mezzo_allocator.core.slices import NEEDS_SHARED, Columns, Portion, SliceKey, Slicer, widened

AGENTS_AT_START = 64
SLOT_RUN_MIN = 1


KNOWN = 0

Piece = tuple[int, Resources]
"""Resources that somebody holds, and the number of the cycle that gave them out; KNOWN: the registry knows of them."""


@dataclass(slots=True, eq=False)
class Agent:
    """One agent. Its slices have the slots `first` to `first + len(keys)` of the stock."""

    number: int
    row: int
    id: str = ""
    profile: bytes = b""
    """Of its AgentInfo what offer constraints may ask about, serialised: a message takes ten times the memory."""
    total: Resources = Resources.EMPTY
    portions: tuple[Portion, ...] = ()
    shared: Resources = Resources.EMPTY
    active: bool = False
    keys: list[SliceKey] = field(default_factory=list)
    first: int = 0
    room: int = 0
    overdraft: Resources = Resources.EMPTY
    """What is held of revocable resources beyond what there is: an estimate of them may shrink below what was lent."""
    held: dict[int, list[Piece]] = field(default_factory=dict)
    """Who holds what of it, by client."""

    def describe(self, info: AgentInfo) -> None:
        """Replace what is known of it."""
        profile = AgentInfo(hostname=info.hostname, attributes=info.attributes)
        if info.HasField("domain"):
            profile.domain.CopyFrom(info.domain)
        self.id, self.profile = info.id.value, profile.SerializeToString()

    def info(self) -> AgentInfo:
        """Its host, attributes and domain."""
        return AgentInfo.FromString(self.profile)

    def held_by(self, client: int) -> Resources:
        """All that a client holds of it."""
        pieces = self.held.get(client, ())
        if len(pieces) == 1:
            return pieces[0][1]
        return Resources.sum([resources for _, resources in pieces])


class AgentTable:
    """All agents and the stock, the arrays of what is free.

    Each slice of an agent has a slot: `contents[p]` is exactly what is free in slot p, `arrays.free[p]` its scalars.
    Both change together.
    """

    def __init__(self, columns: Columns, tree: RoleTree, slicer: Slicer) -> None:
        self._tree = tree
        self._slicer = slicer
        self.by_number: dict[int, Agent] = {}
        self.by_row: list[Agent | None] = []
        self.active = np.zeros(AGENTS_AT_START, dtype=bool)
        self.contents: list[Resources] = []
        self._free_rows: list[int] = []
        self._free_runs: dict[int, list[int]] = {}  # length -> first rows
        self._slots_used = 0
        self.slices_max = 1
        self.arrays = Stock(
            slice_first=np.zeros(AGENTS_AT_START, dtype=np.int32),
            slice_count=np.zeros(AGENTS_AT_START, dtype=np.int32),
            slice_role=np.zeros(AGENTS_AT_START, dtype=np.int32),
            slice_needs=np.zeros(AGENTS_AT_START, dtype=np.uint8),
            slice_atomic=np.zeros(AGENTS_AT_START, dtype=np.uint8),
            stocked=np.zeros(AGENTS_AT_START, dtype=np.uint8),
            free=np.zeros((AGENTS_AT_START, columns.width), dtype=np.int64),
        )
        columns.on_widen.append(self._widen)

    @property
    def capacity(self) -> int:
        """How many agents the arrays have room for."""
        return int(self.arrays.slice_first.shape[0])

    def _widen(self, width: int) -> None:
        self.arrays = self.arrays._replace(free=widened(self.arrays.free, width))
        for agent in self.by_number.values():
            agent.portions = tuple(p._replace(vector=widened(p.vector, width)) for p in agent.portions)

    # -- agents --------------------------------------------------------------------------------------------------------

    def add(self, number: int) -> Agent:
        """Add an agent that has nothing yet."""
        row = self._free_rows.pop() if self._free_rows else len(self.by_row)
        agent = Agent(number, row)
        if row == len(self.by_row):
            self.by_row.append(agent)
            if row >= self.capacity:
                self.active = np.concatenate([self.active, np.zeros(self.capacity, dtype=bool)])
                more = np.zeros(self.capacity, dtype=np.int32)
                self.arrays = self.arrays._replace(
                    slice_first=np.concatenate([self.arrays.slice_first, more]),
                    slice_count=np.concatenate([self.arrays.slice_count, more]),
                )
        self.by_row[row] = agent
        self.by_number[number] = agent
        self.arrays.slice_count[row] = 0
        return agent

    def remove(self, agent: Agent) -> None:
        """Forget an agent that nobody holds anything of any more."""
        self.set_total(agent, Resources.EMPTY)
        self._vacate(agent)
        self.set_active(agent, active=False)
        del self.by_number[agent.number]
        self.by_row[agent.row] = None
        self._free_rows.append(agent.row)

    def set_active(self, agent: Agent, *, active: bool) -> None:
        """Set whether an agent may be offered."""
        agent.active = active
        self.active[agent.row] = active

    def set_total(self, agent: Agent, total: Resources) -> None:
        """Set what an agent has; all of it is free afterwards, so holdings are to be taken off again."""
        portions = self._slicer.split(total)
        for portion in portions:
            self._tree.add_total(portion.vector)
            if portion.key.role:
                self._tree.use_role(portion.key.role)
        self._shelve(agent, [p for p in portions if not p.key.needs & NEEDS_SHARED])
        for portion in agent.portions:
            self._tree.add_total(-portion.vector)
            if portion.key.role:
                self._tree.release_role(self._tree.roles[portion.key.role])
        agent.total = total
        agent.portions = portions
        agent.shared = total.shared()
        agent.overdraft = Resources.EMPTY

    def _shelve(self, agent: Agent, portions: list[Portion]) -> None:
        """Lay out the slices of an agent, everything free."""
        if len(portions) > agent.room:
            self._vacate(agent)
            self._occupy(agent, len(portions))
        agent.keys = [portion.key for portion in portions]
        arrays = self.arrays
        for slot, portion in enumerate(portions, start=agent.first):
            arrays.slice_role[slot] = self._tree.roles[portion.key.role]
            arrays.slice_needs[slot] = portion.key.needs
            arrays.slice_atomic[slot] = bool(portion.key.atomic)
            arrays.stocked[slot] = 1
            arrays.free[slot] = portion.vector
            self.contents[slot] = portion.resources
        arrays.slice_first[agent.row] = agent.first
        arrays.slice_count[agent.row] = len(portions)
        self._blank(agent.first + len(portions), agent.first + agent.room)

    def _occupy(self, agent: Agent, slots: int) -> None:
        room = SLOT_RUN_MIN
        while room < slots:
            room *= 2
        runs = self._free_runs.get(room)
        if runs:
            agent.first = runs.pop()
        else:
            agent.first = self._slots_used
            self._slots_used += room
            self.contents.extend([Resources.EMPTY] * room)
            while self._slots_used > self.arrays.free.shape[0]:
                self._grow_slots()
        agent.room = room
        self.slices_max = max(self.slices_max, room)

    def _grow_slots(self) -> None:
        old = self.arrays
        length = old.free.shape[0] * 2
        grown = {}
        for name in ("slice_role", "slice_needs", "slice_atomic", "stocked", "free"):
            source = getattr(old, name)
            target = np.zeros((length, *source.shape[1:]), dtype=source.dtype)
            target[: source.shape[0]] = source
            grown[name] = target
        self.arrays = old._replace(**grown)

    def _vacate(self, agent: Agent) -> None:
        if agent.room:
            self._blank(agent.first, agent.first + agent.room)
            self._free_runs.setdefault(agent.room, []).append(agent.first)
            agent.room = 0
            agent.keys = []
            self.arrays.slice_count[agent.row] = 0

    def _blank(self, begin: int, end: int) -> None:
        self.arrays.stocked[begin:end] = 0
        self.arrays.slice_role[begin:end] = ROOT
        self.arrays.free[begin:end] = 0
        for slot in range(begin, end):
            self.contents[slot] = Resources.EMPTY

    # -- stock ---------------------------------------------------------------------------------------------------------

    def slot_of(self, agent: Agent, key: SliceKey) -> int | None:
        """The slot of a slice; None where the agent has no such slice."""
        try:
            return agent.first + agent.keys.index(key)
        except ValueError:
            return None

    def restore(self, slot: int, portion: Portion) -> None:
        """Add to what is free in a slice."""
        self.contents[slot] = self.contents[slot] + portion.resources
        self.arrays.free[slot] += portion.vector
        self.arrays.stocked[slot] = 1

    def deduct(self, slot: int, portion: Portion) -> None:
        """Take from what is free in a slice.

        Raises:
            ResourceError: so much is not free there.
        """
        rest = self.contents[slot] - portion.resources
        self.contents[slot] = rest
        self.arrays.free[slot] -= portion.vector
        self.arrays.stocked[slot] = 1 if rest else 0

    def slots(self, agent: Agent) -> Iterator[tuple[int, SliceKey]]:
        """The slots and keys of an agent's slices."""
        return enumerate(agent.keys, start=agent.first)

    def free_of(self, agent: Agent) -> Resources:
        """All that is free of an agent, what is shared left out."""
        return Resources.sum(self.contents[slot] for slot, _ in self.slots(agent))

    def plain_free(self) -> Ints:
        """What is free, unreserved and not revocable on all active agents together: [R]."""
        arrays = self.arrays
        rows = np.flatnonzero(self.active)
        lengths = arrays.slice_count[rows]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        slots = np.repeat(arrays.slice_first[rows], lengths) + offsets
        plain = (arrays.slice_role[slots] == ROOT) & (arrays.slice_needs[slots] & NEEDS_REVOCABLE == 0)
        total: Ints = arrays.free[slots[plain]].sum(axis=0)
        return total
