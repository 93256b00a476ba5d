"""What a shell completes ids with: the cluster is asked, shortly and silently; nothing, where it does not answer."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

from mezzo.cli.contexts import chosen
from mezzo.cli.output import ACTIVE_STATES

if TYPE_CHECKING:
    from mezzo.cli.api import Api

# Whoever types waits so long at most.
LIMIT_SECONDS = 1.0

SPECIAL = frozenset("\\\"'`$&|;<>(){}[]!#")
"""What shells may take for something else than itself; and brackets, for typer."""

Word = tuple[str, str]
"""A word, and what it is, which some shells show beside it."""


def task_ids(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of active tasks."""

    async def question(api: Api) -> list[Word]:
        return [
            (task["id"], f"{task['name']} on {task['hostname']}")
            for task in await api.tasks()
            if task["state"] in ACTIVE_STATES
        ]

    return _beginning(incomplete, _asked(context, question))


def any_task_ids(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of tasks, those that have ended included."""

    async def question(api: Api) -> list[Word]:
        return [(task["id"], task["state"].removeprefix("TASK_").lower()) for task in await api.tasks(ended=True)]

    return _beginning(incomplete, _asked(context, question))


def agent_ids(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of agents, and host names."""

    async def question(api: Api) -> list[Word]:
        agents = await api.agents()
        hosts = {agent["hostname"]: f"agent {agent['id']}" for agent in agents if agent["hostname"]}
        return [*((agent["id"], agent["hostname"]) for agent in agents), *hosts.items()]

    return _beginning(incomplete, _asked(context, question))


def framework_ids(context: typer.Context, incomplete: str) -> list[Word]:
    """Ids of frameworks."""

    async def question(api: Api) -> list[Word]:
        return [(each["id"], each["name"]) for each in await api.rows("/state-summary", "frameworks")]

    return _beginning(incomplete, _asked(context, question))


def role_names(context: typer.Context, incomplete: str) -> list[Word]:
    """Names of roles."""

    async def question(api: Api) -> list[Word]:
        return [(role["name"], f"weight {role['weight']:g}") for role in await api.rows("/roles", "roles")]

    return _beginning(incomplete, _asked(context, question))


def member_addresses(context: typer.Context, incomplete: str) -> list[Word]:
    """Addresses of registries, allocators and gateways."""

    async def question(api: Api) -> list[Word]:
        answer = await api.own("/mezzo/v1/members", "members")
        return [(one["address"], f"{one['service']}, {one['standing'].lower()}") for one in answer["members"]]

    return _beginning(incomplete, _asked(context, question))


def any_words(context: typer.Context, incomplete: str) -> list[Word]:
    """What `mezzo why` explains: frameworks, roles and tasks."""
    found = (*framework_ids(context, incomplete), *role_names(context, incomplete), *task_ids(context, incomplete))
    return list(dict(found).items())


def several_of(*words: str) -> Callable[[str], list[str]]:
    """For an option that takes several of these words with commas between: the last of them is completed."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(last.lower())]

    return complete


def _beginning(incomplete: str, words: list[Word]) -> list[Word]:
    """The words that begin so and mean themselves in every shell.

    Frameworks choose names, and zsh evaluates what it is given: no name may become a command by being completed.
    """
    return [
        (word, plain(told))
        for word, told in words
        if word.startswith(incomplete) and " " not in word and plain(word) == word
    ]


def plain(text: str) -> str:
    """The text with `_` for each character that is special to a shell, or not printable."""
    return "".join("_" if each in SPECIAL or not each.isprintable() else each for each in text)


def _asked(context: typer.Context, question: Callable[[Api], Awaitable[list[Word]]]) -> list[Word]:
    """The words that the cluster has; none, and not a word, where anything at all goes wrong."""
    import asyncio

    from mezzo.cli.api import connect

    root: Any = context.find_root()

    async def answer() -> list[Word]:
        settings = chosen(root, root.params["api"] or "", root.params["named"] or "")
        async with asyncio.timeout(LIMIT_SECONDS), connect(settings) as api:
            return await question(api)

    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        return asyncio.run(answer())
    return []
