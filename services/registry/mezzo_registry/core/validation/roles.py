"""Lists of role names. What a single one may be is the SDK's to say."""

from collections.abc import Iterable

from mezzo.errors import InvalidRequest
from mezzo.resources import check_role


def check_roles(roles: Iterable[str], field: str) -> None:
    """Refuse a list with an invalid role, or with the same role twice.

    Raises:
        InvalidRequest: the first that is wrong.
    """
    seen: set[str] = set()
    for index, role in enumerate(roles):
        check_role(role, f"{field}[{index}]")
        if role in seen:
            raise InvalidRequest(f"{field}[{index}]", f"role '{role}' is named twice")
        seen.add(role)
