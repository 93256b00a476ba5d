"""The ids that others choose become names of folders on agents, so they must be able to be."""

import re

from mezzo.errors import InvalidRequest

IDENTIFIER_CHARACTERS_MAX = 255
"""The longest name of a file on the usual file systems."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


def check_identifier(value: str, field: str) -> None:
    """Refuse an id that could not be the name of a folder.

    Raises:
        InvalidRequest: it is empty, too long, "." or "..", or has a slash, backslash or control character in it.
    """
    if not value:
        raise InvalidRequest(field, "must not be empty")
    if len(value) > IDENTIFIER_CHARACTERS_MAX:
        raise InvalidRequest(field, f"has {len(value)} characters; at most {IDENTIFIER_CHARACTERS_MAX} are allowed")
    if value in (".", ".."):
        raise InvalidRequest(field, f"must not be '{value}'")
    if _FORBIDDEN.search(value):
        raise InvalidRequest(field, f"'{value}' contains invalid characters: slash, backslash or control characters")
