"""Outboxes: everything that waits leaves together, in order, and a peer that does not keep up is told."""

import asyncio

import pytest

from mezzo_chassis.outbox import BATCH_ITEMS_MAX, Outbox, Overflow


async def drain(outbox: Outbox[int]) -> list[list[int]]:
    return [batch async for batch in outbox]


async def test_what_waits_leaves_as_one_batch() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.put(1)
    outbox.put_all([2, 3])
    outbox.close()
    assert await drain(outbox) == [[1, 2, 3]]


async def test_a_batch_is_bounded_and_order_is_kept() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.put_all(range(BATCH_ITEMS_MAX + 1))
    outbox.close()
    batches = await drain(outbox)
    assert [len(batch) for batch in batches] == [BATCH_ITEMS_MAX, 1]
    assert [item for batch in batches for item in batch] == list(range(BATCH_ITEMS_MAX + 1))


async def test_a_reader_that_waits_gets_an_item_at_once() -> None:
    outbox: Outbox[int] = Outbox()
    reader = asyncio.ensure_future(anext(aiter(outbox)))
    await asyncio.sleep(0)
    outbox.put(7)
    assert await asyncio.wait_for(reader, 5) == [7]


async def test_overflow_is_told_and_nothing_more_is_taken() -> None:
    outbox: Outbox[int] = Outbox(items_max=2)
    outbox.put_all([1, 2, 3])
    outbox.put(4)
    assert outbox.closed
    with pytest.raises(Overflow, match="more than 2"):
        await drain(outbox)


async def test_nothing_is_taken_after_the_end() -> None:
    outbox: Outbox[int] = Outbox()
    outbox.close()
    outbox.put(1)
    assert await drain(outbox) == []
