"""Role names, as docs/roles.md of Mesos has them: `*`, a word, or a path of words."""

import re
from collections.abc import Iterable

from mezzo.errors import InvalidRequest

ANY = "*"
"""The role of whoever has no other."""

_FORBIDDEN = re.compile(r"[\x08-\x0d\x20\x7f]")


def check_role(role: str, field: str) -> None:
    """Refuse what is no role name.

    Raises:
        InvalidRequest: the name, or a word of its path, is empty, ".", "..", starts with "-", is a "*" in a path, or
            has white space, backspace or delete in it.
    """
    if role == ANY:
        return
    if not role:
        raise InvalidRequest(field, "must not be empty")
    if _FORBIDDEN.search(role):
        raise InvalidRequest(field, f"role {role!r} contains white space or control characters")
    for word in role.split("/"):
        if not word:
            raise InvalidRequest(
                field, f"role '{role}' has an empty part: it starts or ends with '/', or has '//' in it"
            )
        if word in (".", ".."):
            raise InvalidRequest(field, f"role '{role}' must not have the part '{word}'")
        if word.startswith("-"):
            raise InvalidRequest(field, f"role '{role}' must not have a part that starts with '-'")
        if word == ANY:
            raise InvalidRequest(field, f"role '{role}' must not have the part '*'")


def check_roles(roles: Iterable[str], field: str) -> None:
    """Refuse a list with a name that is no role, or with the same role twice.

    Raises:
        InvalidRequest: the first that is wrong.
    """
    seen: set[str] = set()
    for index, role in enumerate(roles):
        check_role(role, f"{field}[{index}]")
        if role in seen:
            raise InvalidRequest(f"{field}[{index}]", f"role '{role}' is named twice")
        seen.add(role)
