"""Whom a task runs as."""

from __future__ import annotations

import os
import pwd

import pytest

from mezzo_agent.adapters.users import UID_MAX, Credentials, UnknownUser


def test_a_name_has_the_groups_of_the_group_database() -> None:
    root = pwd.getpwnam("root")
    assert Credentials.of("root") == Credentials(0, root.pw_gid, tuple(os.getgrouplist("root", root.pw_gid)))


def test_a_number_is_the_user_of_that_uid() -> None:
    nobody = pwd.getpwnam("nobody")
    assert Credentials.of(str(nobody.pw_uid)) == Credentials.of("nobody")


def test_a_number_that_is_nobodys_is_a_user_alone_in_its_group() -> None:
    uid = next(number for number in range(40_000, UID_MAX) if number not in {user.pw_uid for user in pwd.getpwall()})
    assert Credentials.of(str(uid)) == Credentials(uid, uid, (uid,))


@pytest.mark.parametrize(
    "name", ["", "nobody-at-all", "-1", "4.5", str(UID_MAX + 1), "٣", "9" * 5000], ids=lambda name: name[:15]
)
def test_what_is_no_user_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UnknownUser, match="unknown user"):
        Credentials.of(name)
