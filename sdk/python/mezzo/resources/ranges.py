"""Sets of whole numbers as sorted tuples of `(begin, end)`, both included, that neither overlap nor touch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain

Ranges = tuple[tuple[int, int], ...]


def normalise(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort, and join what overlaps or touches. Each begin is at most its end."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if joined and begin <= joined[-1][1] + 1:
            if end > joined[-1][1]:
                joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return tuple(joined)


def union(left: Ranges, right: Ranges) -> Ranges:
    if not left or not right:
        return left or right
    low, high = _window(left, right)
    return left[:low] + normalise(chain(left[low:high], right)) + left[high:]


def subtract(left: Ranges, right: Ranges) -> Ranges:
    """What is in `left` and not in `right`."""
    if not left or not right:
        return left
    low, high = _window(left, right)
    return left[:low] + _subtract(left[low:high], right) + left[high:]


def _window(left: Ranges, right: Ranges) -> tuple[int, int]:
    """Which ranges of `left` can overlap or touch those of `right`: a task's few ports are not held against all."""
    low = bisect_left(left, (right[0][0],))
    if low and left[low - 1][1] >= right[0][0] - 1:
        low -= 1
    return low, bisect_left(left, (right[-1][1] + 2,), lo=low)


def _subtract(left: Ranges, right: Ranges) -> Ranges:
    rest: list[tuple[int, int]] = []
    holes = iter(right)
    hole = next(holes, None)
    for begin, end in left:
        start = begin
        while hole is not None and hole[1] < start:
            hole = next(holes, None)
        while hole is not None and hole[0] <= end:
            if hole[0] > start:
                rest.append((start, hole[0] - 1))
            start = hole[1] + 1
            if hole[1] > end:
                break  # the hole reaches into the next range
            hole = next(holes, None)
        if start <= end:
            rest.append((start, end))
    return tuple(rest)


def contains(left: Ranges, right: Ranges) -> bool:
    """Whether every number of `right` is in `left`."""
    if not right:
        return True
    low, high = _window(left, right)
    candidates = iter(left[low:high])
    candidate = next(candidates, None)
    for begin, end in right:
        while candidate is not None and candidate[1] < begin:
            candidate = next(candidates, None)
        if candidate is None or candidate[0] > begin or candidate[1] < end:
            return False
    return True


def intersection(left: Ranges, right: Ranges) -> Ranges:
    return subtract(left, subtract(left, right))


def count(ranges: Ranges) -> int:
    return sum(end - begin + 1 for begin, end in ranges)


def text_of(ranges: Ranges) -> str:
    """As in `--resources`: `[31000-32000, 40000-40000]`."""
    return "[" + ", ".join(f"{begin}-{end}" for begin, end in ranges) + "]"
