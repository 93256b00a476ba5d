"""Whom an id means: ids are long, and the beginning of one will do where only one begins so."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from mezzo.cli.errors import ApiError

CANDIDATES_SHOWN = 5


def resolve(word: str, ids: Iterable[str], kind: str) -> str:
    """The id that is the word, or the only one that begins with it.

    Raises:
        ApiError: 404, there is none; 409, several begin so, and some of them are listed.
    """
    if not word:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no {kind} has an empty id")
    found = sorted({each for each in ids if each.startswith(word)})
    if word in found:
        return word
    if not found:
        raise ApiError(HTTPStatus.NOT_FOUND, f"{kind} {word} not found")
    if len(found) > 1:
        more = f" and {len(found) - CANDIDATES_SHOWN} more" if len(found) > CANDIDATES_SHOWN else ""
        raise ApiError(HTTPStatus.CONFLICT, f"{word} is ambiguous: {', '.join(found[:CANDIDATES_SHOWN])}{more}")
    return found[0]
