"""What is used stays remembered, what is not is forgotten, and no more is kept than was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mezzo.memo import Memo


def test_what_was_kept_is_found() -> None:
    memo: Memo[str, int] = Memo(4)
    assert memo.find("a") is None
    assert memo.keep("a", 1) == 1
    assert memo.find("a") == 1


def test_what_is_asked_for_again_and_again_outlives_any_number_of_others() -> None:
    memo: Memo[object, int] = Memo(8)
    memo.keep("hot", 1)
    for number in range(1_000):
        memo.keep(number, number)
        assert memo.find("hot") == 1


def test_what_nobody_asks_for_is_forgotten() -> None:
    memo: Memo[object, int] = Memo(8)
    memo.keep("cold", 1)
    for number in range(8):
        memo.keep(number, number)
    assert memo.find("cold") is None


def test_the_newest_half_is_always_there() -> None:
    memo: Memo[int, int] = Memo(8)
    for number in range(100):
        memo.keep(number, number)
        newest = range(max(0, number - 3), number + 1)
        assert [memo.find(each) for each in newest] == list(newest)


def test_what_is_too_large_is_not_remembered_and_returned_all_the_same() -> None:
    memo: Memo[str, int] = Memo(8, size_max=10)
    assert [memo.keep("small", 1, size=10), memo.keep("large", 2, size=11)] == [1, 2]
    assert [memo.find("small"), memo.find("large")] == [1, None]


def test_a_value_that_is_kept_again_replaces_the_one_before() -> None:
    memo: Memo[str, int] = Memo(2)
    memo.keep("a", 1)
    memo.keep("b", 2)
    memo.keep("a", 3)
    assert memo.find("a") == 3


def test_cleared_it_knows_nothing() -> None:
    memo: Memo[str, int] = Memo(2)
    memo.keep("a", 1)
    memo.keep("b", 2)
    memo.clear()
    assert (memo.find("a"), memo.find("b"), len(memo)) == (None, None, 0)


@given(st.integers(1, 9), st.lists(st.tuples(st.booleans(), st.integers(0, 20))))
def test_never_more_than_its_limit_and_never_a_wrong_value(entries_max: int, steps: list[tuple[bool, int]]) -> None:
    memo: Memo[int, str] = Memo(entries_max)
    for keeps, key in steps:
        if keeps:
            memo.keep(key, str(key))
            assert memo.find(key) == str(key)
        else:
            assert memo.find(key) in (None, str(key))
        assert len(memo) <= max(2, entries_max)
