"""What may be the name of a role (docs/roles.md of apache/mesos)."""

from __future__ import annotations

import re
from typing import Final

from mezzo.resources.scalar import ResourceError

UNRESERVED_ROLE: Final = "*"

_FORBIDDEN = re.compile(r"[\s\\\x00-\x1f\x7f]")

ROLE_BYTES_MAX = 255
"""Roles are names of folders, labels and keys: no longer than a file's name may be."""


def check_role(role: str, field: str) -> None:
    """Refuse what cannot be a role: `eng`, `eng/web` and `*` can. Raises `ResourceError`."""
    if role == UNRESERVED_ROLE:
        return
    if _FORBIDDEN.search(role):
        raise ResourceError(field, f"{role!r} has white space, a backslash or a control character in it")
    if len(role.encode()) > ROLE_BYTES_MAX:
        raise ResourceError(field, f"{role[:32]!r}… has more than {ROLE_BYTES_MAX} bytes")
    for part in role.split("/"):
        if not part:
            raise ResourceError(field, f"{role!r} is empty, or has an empty part between slashes")
        if part in (".", "..", UNRESERVED_ROLE) or part.startswith("-"):
            raise ResourceError(field, f"{role!r} has a part that is '.', '..' or '*', or begins with a dash")


def is_below(role: str, ancestor: str) -> bool:
    """Whether a role is strictly below another in the hierarchy."""
    return role.startswith(f"{ancestor}/")
