"""The latest state of a value that changes, for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestValue(Generic[T]):
    """A value and its changes. A reader that is slow misses what was in between, never the last."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    def set(self, value: T) -> None:
        if value != self.value:
            self.value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """There will be no more changes: raise `error` in every reader."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[T]:
        """The value now, and then each change."""
        seen: list[T] = []
        while True:
            changed = self._changed
            if self._failure is not None:
                raise self._failure
            if seen != [self.value]:
                seen = [self.value]
                yield self.value
            else:
                await changed.wait()
