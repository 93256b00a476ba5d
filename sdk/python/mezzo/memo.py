"""What was computed lately, remembered within limits, in two generations.

Where everything is forgotten at once when a cache is full, all that is in use is computed anew in one moment, and one
client with many odd values makes that happen again and again. Here what is used stays: values are entered in the young
generation; when that is full it becomes the old one, whose values are forgotten unless they are asked for again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Values by key. Not for values that are None."""

    __slots__ = ("_generation_max", "_old", "_size_max", "_young")

    def __init__(self, entries_max: int, *, size_max: int | None = None) -> None:
        """Remember `entries_max` values at most, and at least the newest half of so many.

        `size_max` is the largest size of an entry, in whatever unit `keep` is told; None for any.
        """
        self._generation_max = max(1, entries_max // 2)
        self._size_max = size_max
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def find(self, key: K) -> V | None:
        """The value of a key, None where it is not remembered."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self._enter(key, value)
        return value

    def keep(self, key: K, value: V, size: int = 0) -> V:
        """Remember a value, unless its size is too large; return it in any case."""
        if self._size_max is None or size <= self._size_max:
            self._enter(key, value)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._young = {}
        self._old = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old.keys() - self._young.keys())

    def _enter(self, key: K, value: V) -> None:
        if len(self._young) >= self._generation_max and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value
