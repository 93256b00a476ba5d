"""Names of roles, and the tree that they make."""

import pytest

from mezzo.resources import ResourceError, check_role, parse
from mezzo.resources.role import is_below


@pytest.mark.parametrize(
    "role",
    ["foo", "123", "foo_123", "*", "foo-bar", "foo.bar", "foo..bar", "...", "foo/bar", "foo/.bar", "a/b/c/d/e/f/g/h"],
)
def test_a_role_may_be_called_so(role: str) -> None:
    check_role(role, "role")


@pytest.mark.parametrize(
    "role",
    [
        *("", "/", "/foo", "foo/", "foo//bar", "foo/bar/"),
        *("foo bar", "foo\tbar", "foo\nbar", "foo\\bar", "foo\x7fbar"),
        *(".", "..", "./.", "../..", "./foo", "../foo", "foo/.", "foo/..", "foo/./bar", "foo/../bar"),
        *("-foo", "foo/-bar", "foo/*", "foo/*/bar", "*/foo"),
    ],
)
def test_a_role_may_not_be_called_so(role: str) -> None:
    with pytest.raises(ResourceError) as raised:
        check_role(role, "framework_info.roles[0]")
    assert raised.value.field == "framework_info.roles[0]"


def test_a_role_is_below_those_whose_path_its_own_continues() -> None:
    assert is_below("foo/bar", "foo")
    assert is_below("foo/bar/baz", "foo")
    assert not is_below("foo", "foo")
    assert not is_below("bar", "foo")
    assert not is_below("foobar", "foo")
    assert not is_below("foo", "foo/bar")


def test_what_may_be_offered_to_a_role_is_unreserved_or_reserved_for_it_or_above_it() -> None:
    shared, above, own, beside, below = (
        parse(f"cpus{role}:{amount};mem{role}:{amount}")
        for role, amount in (("", 1), ("(a)", 2), ("(a/bx)", 4), ("(a/b)", 8), ("(a/bx/c)", 16))
    )
    family = shared + above + own + beside + below
    assert family.allocatable_to("*") == shared
    assert family.allocatable_to("a") == shared + above
    assert family.allocatable_to("a/bx") == shared + above + own
    assert family.allocatable_to("a/bx/c") == shared + above + own + below
    assert family.reserved_by_role() == {"a": above, "a/bx": own, "a/b": beside, "a/bx/c": below}
    assert not family.reserved("*")
    assert family.unreserved() == shared
