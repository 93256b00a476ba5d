"""What waits to be sent to one peer: many producers that never block, one writer that sends everything at once.

The cost of a stream is in its messages, not in what they contain. So items are collected, and whatever has come while
the last message was on its way leaves as the next one: no delay when idle, large batches under load.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")

BATCH_ITEMS_MAX = 512
QUEUE_ITEMS_MAX = 100_000


_outboxes: defaultdict[str, WeakSet[Outbox[Any]]] = defaultdict(WeakSet)
overflows: Counter[str] = Counter()
"""How many streams were cut off because their peers did not keep up, by kind of peer, in this process."""


def lengths() -> Iterator[tuple[str, list[int]]]:
    """How many items wait on each stream that is open, by kind of peer: of each kind that there ever was."""
    for peer, outboxes in sorted(_outboxes.items()):
        yield peer, [len(outbox) for outbox in outboxes if not outbox.closed]


class Overflow(Exception):
    """A peer does not keep up: it is to be disconnected, and to come back for a snapshot."""


class Outbox(Generic[T]):
    """A bounded queue with batches for its reader.

    When more than `items_max` wait, the queue is dropped and its reader is told by `Overflow`: nothing is ever left out
    silently from the middle of a stream. `peer` is the kind of reader, for the metrics.
    """

    def __init__(self, items_max: int = QUEUE_ITEMS_MAX, *, peer: str = "peer") -> None:
        self._peer = peer
        _outboxes[peer].add(self)
        self._items: list[T] = []
        self._items_max = items_max
        self._wake = asyncio.Event()
        self._closed = False
        self._overflowed = False

    def put(self, item: T) -> None:
        """Queue an item. After the end it is dropped: the peer is gone."""
        if self._closed or self._overflowed:
            return
        self._items.append(item)
        self._check()

    def put_all(self, items: Iterable[T]) -> None:
        if self._closed or self._overflowed:
            return
        self._items.extend(items)
        self._check()

    def _check(self) -> None:
        if len(self._items) > self._items_max:
            self._overflowed = True
            overflows[self._peer] += 1
            self._items.clear()
        self._wake.set()

    def close(self) -> None:
        """End the stream once what is queued has been sent."""
        self._closed = True
        self._wake.set()

    @property
    def closed(self) -> bool:
        return self._closed or self._overflowed

    def __len__(self) -> int:
        return len(self._items)

    async def __aiter__(self) -> AsyncIterator[list[T]]:
        """Batches of at most `BATCH_ITEMS_MAX`, until closed. Raises `Overflow`."""
        while True:
            if not self._items:
                if self._overflowed:
                    raise Overflow(f"more than {self._items_max} messages waited for the peer")
                if self._closed:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            if len(self._items) <= BATCH_ITEMS_MAX:
                batch, self._items = self._items, []
            else:
                batch = self._items[:BATCH_ITEMS_MAX]
                del self._items[:BATCH_ITEMS_MAX]
            yield batch
