"""A registry that leads: what comes of a term whose store or loop fails in a way that nobody thought of."""

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mezzo.errors import NotLeading
from mezzo_chassis.leadership import FixedDetector, StandaloneCandidate
from mezzo_registry.core import Registry, Settings, events
from mezzo_registry.core.records import TABLES, Write
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.ports import Tables
from mezzo_registry.shell import leader_loop
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.term import Term
from mezzo_registry.testing import PATIENCE_SECONDS

STUCK = "no term without a defect; the next one waits"


class BrokenStore:
    """Holds nothing, and cannot be written, for a reason that is a mistake of ours."""

    async def open_term(self) -> Tables:
        return {table: {} for table in TABLES}

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        raise TypeError(f"cannot write {len(groups)} groups")

    async def close(self) -> None:
        """There is nothing to close."""


async def announce(*_: object) -> None:
    """Nobody looks for this leader."""


@pytest.fixture
def hindrances() -> list[bool]:
    """Whether something kept the registry from leading, each time that it was told."""
    return []


@pytest.fixture
def current_term() -> CurrentTerm:
    """Where the terms of a registry with a broken store are found."""
    return CurrentTerm()


@pytest.fixture(autouse=True)
async def leading(
    monkeypatch: pytest.MonkeyPatch, hindrances: list[bool], current_term: CurrentTerm
) -> AsyncIterator[leader_loop.LeaderLoop]:
    """A registry with a broken store, which leads."""
    monkeypatch.setattr(leader_loop, "RETRY_SECONDS_MIN", 0.01)
    candidate = StandaloneCandidate()

    async def hinder(hindered: bool) -> None:
        hindrances.append(hindered)

    leading = leader_loop.LeaderLoop(
        settings=Settings(),
        flags={},
        first_info=mesos.MasterInfo(id="first", ip=1, port=1),
        started_at=time.time(),
        candidate=candidate,
        allocators=FixedDetector("127.0.0.1:1"),
        store_of=lambda _leadership: BrokenStore(),
        current_term=current_term,
        metrics=RegistryMetrics("test"),
        announce=announce,
        hinder=hinder,
    )
    await candidate.start()
    running = asyncio.create_task(leading.run())
    yield leading
    await leading.end(NotLeading())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def term_after(current_term: CurrentTerm, before: Term | None = None) -> Term:
    """The term that leads, once it is another than `before`."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(NotLeading):
                if (term := current_term.get()) is not before:
                    return term
            await asyncio.sleep(0.01)


async def test_a_store_that_fails_as_nobody_expected_ends_the_term_and_another_begins(
    current_term: CurrentTerm, hindrances: list[bool]
) -> None:
    term = await term_after(current_term)
    call = master.Call(type=master.Call.UPDATE_WEIGHTS)
    call.update_weights.weight_infos.add(role="web", weight=2)
    number = term.number()
    with pytest.raises(NotLeading):
        await asyncio.wait_for(term.request(events.OperatorCalled(number, call)), PATIENCE_SECONDS)
    await term_after(current_term, term)
    assert hindrances[:2] == [False, True], "health is told that nothing leads here, until the next term begins"


async def test_a_loop_that_fails_ends_the_term_and_another_begins(
    current_term: CurrentTerm, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = await term_after(current_term)
    monkeypatch.setattr(term._engine, "_effects", {})
    number = term.number()
    call = master.Call(type=master.Call.UPDATE_WEIGHTS)
    with pytest.raises(NotLeading):
        await asyncio.wait_for(term.request(events.OperatorCalled(number, call)), PATIENCE_SECONDS)
    await term_after(current_term, term)


async def test_terms_that_all_end_on_a_defect_of_nobody_begin_ever_more_seldom(
    leading: leader_loop.LeaderLoop, current_term: CurrentTerm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TypeError("a mistake of ours")

    async def hinder(hindered: bool) -> None:
        ends.append(hindered)
        if ends.count(True) > 5:
            many_ended.set()

    ends: list[bool] = []
    many_ended = asyncio.Event()
    term = await term_after(current_term)
    monkeypatch.setattr(Registry, "handle", fail)
    monkeypatch.setattr(leading, "_hinder", hinder)
    with capture_logs() as logs:
        term.end(NotLeading())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await many_ended.wait()
    waits = [line for line in logs if line["event"] == STUCK]
    assert [line["terms"] for line in waits[:4]] == [1, 2, 3, 4]
    assert {line["log_level"] for line in waits} == {"error"}
    assert waits[3]["retry_seconds"] > waits[0]["retry_seconds"]


async def test_nothing_is_kept_of_a_term_that_has_ended(current_term: CurrentTerm) -> None:
    term = await term_after(current_term)
    freed = asyncio.Event()
    weakref.finalize(term.core.state, freed.set)
    term.end(NotLeading())
    del term
    await asyncio.wait_for(freed.wait(), PATIENCE_SECONDS)


@pytest.mark.parametrize("turns", range(10))
async def test_the_end_of_an_epoch_is_not_missed_while_a_term_ends_by_itself(
    leading: leader_loop.LeaderLoop, current_term: CurrentTerm, turns: int
) -> None:
    term = await term_after(current_term)
    term.end(NotLeading())
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.wait_for(leading.end(NotLeading()), PATIENCE_SECONDS)
    assert not current_term.leads
