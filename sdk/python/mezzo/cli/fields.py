"""Paths of fields in errors, replaced by what the user typed: nobody types `framework_info.roles[0]`."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Two components at least: a single name is a word that the cluster chose.
_PATH = re.compile(r"((?:\[\d+\]|[a-z]\w*(?:\[\d+\])?)(?:\.[a-z]\w*(?:\[\d+\])?)+): (.*)", re.DOTALL)
_INDEX = re.compile(r"\[\d+\]")
# Components that only wrap what they hold.
_WRAPPERS = frozenset({"value", "scalar", "ranges", "set", "id"})


def without_path(message: str, options: Mapping[str, str] | None = None) -> str:
    """The message of an error with a short name in place of the path that it begins with, if it begins with one.

    `options` has the option for each end of a path, as in `{"command.user": "--user"}`; the first that fits counts.
    """
    found = _PATH.fullmatch(message)
    if found is None:
        return message
    path, rest = _INDEX.sub("", found[1]), found[2]
    for end, option in (options or {}).items():
        if f".{path}".endswith(f".{end}"):
            return f"{option}: {rest}"
    names = path.split(".")
    while len(names) > 1 and names[-1] in _WRAPPERS:
        names.pop()
    return rest if rest.startswith(f"{names[-1]} ") else f"{names[-1]}: {rest}"
