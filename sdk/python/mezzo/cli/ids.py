"""Whom an id means: ids are long, and the beginning of one will do where only one begins so, or its last part."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from mezzo.cli.errors import ApiError

CANDIDATES_SHOWN = 5
# The verb that lists each kind.
LISTED_BY = {
    "task": "tasks --all",
    "framework": "frameworks --all",
    "agent": "agents",
    "role": "roles",
    "run": "runs --all",
}


def resolve(word: str, ids: Iterable[str], kind: str) -> str:
    """The id that is the word, or the only one that begins with it, or the only one whose last part it is.

    Mesos' ids of agents and frameworks begin alike and end in `-S0` or `-0003`.

    Raises:
        ApiError: 404, there is none; 409, several are meant, and some of them are listed.
    """
    if not word:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no {kind} has an empty id")
    known = set(ids)
    if word in known:
        return word
    found = sorted(each for each in known if each.startswith(word))
    found = found or sorted(each for each in known if each.endswith(f"-{word}"))
    if not found:
        raise ApiError(HTTPStatus.NOT_FOUND, f"{kind} {word} not found; mezzo {LISTED_BY[kind]} lists them")
    if len(found) > 1:
        more = f" and {len(found) - CANDIDATES_SHOWN} more" if len(found) > CANDIDATES_SHOWN else ""
        raise ApiError(HTTPStatus.CONFLICT, f"{word} is ambiguous: {', '.join(found[:CANDIDATES_SHOWN])}{more}")
    return found[0]
