"""Work with a leader ends when another one is named, and for no other reason of the election's."""

import asyncio

import pytest

from mezzo_chassis.leadership import Superseded, while_leading
from mezzo_chassis.testing import AnnouncedLeader


async def hang() -> str:
    await asyncio.Event().wait()
    raise AssertionError("nothing sets it")


async def started(work: "asyncio.Future[str]") -> None:
    """Let the work begin, and whatever is ready happen."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert not work.done()


async def test_work_that_hangs_is_cancelled_when_another_leads() -> None:
    detector = AnnouncedLeader("a:1")
    work = asyncio.ensure_future(while_leading(detector, "a:1", hang()))
    await started(work)
    detector.announce(None)
    await started(work)
    detector.announce("a:1")
    await started(work)
    detector.announce("b:2")
    with pytest.raises(Superseded, match="b:2 leads now") as superseded:
        await work
    assert superseded.value.leader == "b:2"


async def test_a_leader_that_was_known_before_it_was_named_is_stayed_with() -> None:
    detector = AnnouncedLeader("a:1")
    work = asyncio.ensure_future(while_leading(detector, "b:2", hang(), named="a:1"))
    await started(work)
    detector.announce("b:2")
    await started(work)
    detector.announce("a:1")
    with pytest.raises(Superseded, match="a:1 leads now"):
        await work


async def test_a_change_before_the_work_begins_is_not_missed() -> None:
    detector = AnnouncedLeader("b:2")
    with pytest.raises(Superseded):
        await while_leading(detector, "a:1", hang())


async def test_what_the_work_returns_and_raises_is_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("no")

    detector = AnnouncedLeader("a:1")
    assert await while_leading(detector, "a:1", asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="no"):
        await while_leading(detector, "a:1", fail())


async def test_cancelling_it_cancels_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    doing = asyncio.create_task(while_leading(AnnouncedLeader("a:1"), "a:1", work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert ended.is_set()
