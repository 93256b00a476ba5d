"""Who a task runs as: a user's name resolved to the numbers that the kernel wants."""

import os
import pwd
from dataclasses import dataclass


class UnknownUser(Exception):
    """The machine has no user of that name."""


UID_MAX = 2**32 - 2
"""One more stands for no user."""


class UserNotPermitted(Exception):
    """The agent has not the rights to run anything as that user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, name: str) -> "Credentials":
        """Look the user up, with all the groups that the group database gives it (what initgroups(3) would set).

        A name in digits that is nobody's is a uid, as in Docker; one that this machine does not know is a user with a
        group of the same number, and no other. May block, where the databases are on the network: call it off the event
        loop.

        Raises:
            UnknownUser: the machine has no such user.
        """
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            if not (name.isascii() and name.isdigit() and len(name) <= 10) or int(name) > UID_MAX:
                raise UnknownUser(f"unknown user '{name}'") from None
            uid = int(name)
            try:
                entry = pwd.getpwuid(uid)
            except KeyError:
                return cls(uid, uid, (uid,))
            name = entry.pw_name
        return cls(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def check_permitted(name: str, credentials: Credentials) -> None:
    """Check that this process can run something as a user: one that is not root can as itself alone.

    Raises:
        UserNotPermitted: it cannot.
    """
    if os.geteuid() not in (0, credentials.uid):
        raise UserNotPermitted(
            f"cannot run as user '{name}': the agent runs as '{current_user()}', and only root can switch users "
            "(--switch_user=false runs every task as the agent's user)"
        )


def current_user() -> str:
    """The name of the user that the agent runs as, or the uid in decimal if it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
