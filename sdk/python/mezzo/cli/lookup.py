"""Which agent, framework or role a word means: its id, the beginning or the last part of one, or a name."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mezzo.cli.errors import ApiError
from mezzo.cli.ids import resolve

if TYPE_CHECKING:
    from mezzo.cli.api import Api

Document = dict[str, Any]


async def framework_id_of(api: Api, word: str) -> str:
    """Of the framework of this id or name, or whose id begins so; one that has ended only where no other is meant.

    Raises:
        ApiError: 404, there is none; 409, there are several.
    """
    active = await api.rows("/state-summary", "frameworks")
    called = _called(active, word)
    if len(called) == 1:
        return called[0]
    everyone = [*active, *await api.rows("/frameworks", "completed_frameworks")]
    called = called or _called(everyone, word)
    if len(called) == 1:
        return called[0]
    if called:
        raise ApiError(HTTPStatus.CONFLICT, f"{word} is ambiguous: frameworks {', '.join(sorted(called))}")
    return resolve(word, (each["id"] for each in everyone), "framework")


def _called(frameworks: Sequence[Document], word: str) -> list[str]:
    """The ids of those of this id or name."""
    if word in {each["id"] for each in frameworks}:
        return [word]
    return [each["id"] for each in frameworks if word and each["name"] == word]


async def agent_ids_of(api: Api, word: str) -> list[str]:
    """Of the agent of this id, or whose id begins or ends so; or of all on the machine of this host name.

    Raises:
        ApiError: 404, there is none; 409, there are several whose id begins so.
    """
    agents = await api.agents()
    on_machine = [each["id"] for each in agents if word and each["hostname"] == word]
    return on_machine or [resolve(word, (each["id"] for each in agents), "agent")]


def the_agent(agents: Sequence[Document], word: str) -> Document:
    """The agent of this id, or whose id begins or ends so, or the only one on the machine of this host name.

    Of several on a machine it is the one that is registered, if that is one.

    Raises:
        ApiError: 404, there is none; 409, there are several.
    """
    found = [each for each in agents if word and each["hostname"] == word]
    found = [each for each in found if each["active"]] or found
    if len(found) > 1:
        several = ", ".join(sorted(each["id"] for each in found))
        raise ApiError(HTTPStatus.CONFLICT, f"{word} is ambiguous: agents {several}")
    if found:
        return found[0]
    agent_id = resolve(word, (each["id"] for each in agents), "agent")
    return next(each for each in agents if each["id"] == agent_id)
