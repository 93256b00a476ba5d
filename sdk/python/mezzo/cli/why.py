"""`mezzo why`: why is a framework offered nothing, and what does a task wait for?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from mezzo.cli.asking import ask
from mezzo.cli.completing import agent_ids, any_words, framework_ids, role_names
from mezzo.cli.errors import ApiError
from mezzo.cli.examples import Example, examples
from mezzo.cli.lookup import framework_id_of, the_agent
from mezzo.cli.output import (
    DocumentFormat,
    DocumentOutput,
    console,
    is_for_programs,
    show_document,
    show_table,
    visible,
)
from mezzo.operator.wording import duration, number, own_frameworks

if TYPE_CHECKING:
    from mezzo.cli.api import Api

# More explanations than this are told by their verdicts alone, unless they are asked for wide.
IN_FULL_MAX = 3
SEVERAL_TASKS_SHOWN = 5

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a word that may mean several things, and what narrows it."""

    word: str
    framework: str
    role: str
    agent: str

    def query(self, **other: str) -> dict[str, str]:
        """What the gateway is asked, with some of it replaced."""
        asked = {"framework": self.framework, "role": self.role, "agent": self.agent, **other}
        return {name: value for name, value in asked.items() if value}


@examples(
    Example("mezzo why", "Explain what each framework is offered, or why nothing.", "mezzo run web", on=("web",)),
    Example("mezzo why web", "Explain what a task is at.", "web-", on=("web",)),
    Example(
        "mezzo why '*' --agent 127.0.0.1", "Explain what a role is offered of one agent.", r"in role \*", on=("web",)
    ),
)
def why(
    context: typer.Context,
    word: Annotated[
        str,
        typer.Argument(
            metavar="FRAMEWORK|ROLE|TASK",
            autocompletion=any_words,
            help="Id or name of a framework, a role, or id of a task; all frameworks by default.",
        ),
    ] = "",
    framework: Annotated[
        str,
        typer.Option(
            "--framework",
            "-f",
            autocompletion=framework_ids,
            help="Explain offers to this framework only (id or name).",
        ),
    ] = "",
    role: Annotated[
        str, typer.Option("--role", "-r", autocompletion=role_names, help="Explain offers in this role only.")
    ] = "",
    agent: Annotated[
        str,
        typer.Option(
            "--agent", "-a", autocompletion=agent_ids, help="Explain offers of this agent only (id or hostname)."
        ),
    ] = "",
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Explain why a framework or a role is offered what it is, or nothing; or what a task waits for."""
    answer = ask(context, lambda api: answered(api, Question(word, framework, role, agent)))
    if is_for_programs(output):
        show_document(answer, output)
    elif "task" in answer:
        _print_explanation(answer)
    else:
        _show_explanations(answer, wide=output is DocumentFormat.WIDE)


async def answered(api: Api, question: Question) -> Document:
    """What the cluster says: about a task, or explanations. A word is a framework before a role before a task."""
    question = await _in_full(api, question)
    if not question.word:
        return await api.explain(**question.query())
    if not question.framework:
        found = await _unless_missing(api, question.query(framework=question.word))
        if found is not None:
            return found
    if not question.role:
        found = await _unless_missing(api, question.query(role=question.word))
        if found is not None:
            return found
    task = await _task(api, question)
    if task is None and question.word == "*" and not (question.framework or question.agent):
        # A role that is always there, even with nobody in it.
        return {"explanations": [], "unanswered_offers": []}
    return task if task is not None else await _about_nobodys_task(api, question)


async def _in_full(api: Api, question: Question) -> Question:
    """The question with whole ids in place of parts of them. Raises `ApiError` for one that means none or several."""
    framework = await framework_id_of(api, question.framework) if question.framework else ""
    agent = the_agent(await api.agents(), question.agent)["id"] if question.agent else ""
    return replace(question, framework=framework, agent=agent)


async def _unless_missing(api: Api, query: dict[str, str]) -> Document | None:
    try:
        return await api.explain(**query)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


async def _task(api: Api, question: Question) -> Document | None:
    """What the gateway knows of the task of that id or name, or whose id begins so.

    Of several with one id it is the one that runs, or else the newest.
    """
    if question.agent:
        return None  # what one agent has is asked of frameworks and roles alone
    known = await api.rows("/tasks", "tasks", limit="-1")
    tasks = (
        [task for task in known if task["id"] == question.word]
        or [task for task in known if task["name"] == question.word]
        or [task for task in known if task["id"].startswith(question.word)]
    )
    if question.framework:
        names = {each["id"]: each["name"] for each in await _frameworks(api)}
        tasks = [
            task for task in tasks if question.framework in (task["framework_id"], names.get(task["framework_id"]))
        ]
    found = sorted({(task["framework_id"], task["id"]) for task in tasks})
    if len(found) > 1:
        several = ", ".join(f"{task_id} of {framework_id}" for framework_id, task_id in found[:SEVERAL_TASKS_SHOWN])
        raise ApiError(HTTPStatus.CONFLICT, f"{question.word} is ambiguous: {several}")
    if not found:
        return None
    ((framework_id, task_id),) = found
    told: Document = await api.get(f"/mezzo/v1/tasks/{quote(framework_id, safe='')}/{quote(task_id, safe='')}")
    return told


async def _about_nobodys_task(api: Api, question: Question) -> Document:
    """A word that nothing is called: perhaps a task that waits to be launched, so that its framework is explained."""
    if question.agent:
        # The agent may be what is missing: the gateway says so.
        return await api.explain(**question.query(role=question.word))
    named = question.framework
    if not named:
        ended = await api.rows("/frameworks", "completed_frameworks", framework_id=question.word)
        if ended:
            raise ApiError(HTTPStatus.NOT_FOUND, f"framework {question.word} has ended")
        named = _owner(question.word, [each for each in await _frameworks(api) if each["connected"]])
    if not named:
        message = (
            f"no framework, role or task is called {question.word}; "
            "name the framework that should have launched it with --framework"
        )
        raise ApiError(HTTPStatus.NOT_FOUND, message)
    found = await api.explain(**question.query(framework=named))
    return {"nobodys_task": question.word, **found}


async def _frameworks(api: Api) -> list[Document]:
    """Those that are not completed, without their tasks."""
    return await api.rows("/state-summary", "frameworks")


def _owner(task_id: str, frameworks: Sequence[Document]) -> str:
    """The framework that would launch such a task: the only one whose name the id has in it."""
    likely = [each for each in frameworks if each["name"] and each["name"] in task_id]
    return likely[0]["id"] if len(likely) == 1 else ""


# ------------------------------------------------------------------------------------------------------------ showing


def _show_explanations(answer: Document, *, wide: bool) -> None:
    screen = console()
    explanations: list[Document] = answer["explanations"]
    if "nobodys_task" in answer:
        screen.print(
            f"no scheduler has launched a task {visible(answer['nobodys_task'])}; so this is about its framework"
        )
    if not explanations:
        screen.print("no framework is subscribed")
    if len(explanations) > IN_FULL_MAX and not wide:
        for explanation in explanations:
            screen.print(visible(explanation["verdict"]))
        screen.print("\nfor details, name one of them, or use -o wide", style="dim")
        return
    for index, explanation in enumerate(explanations):
        if index:
            screen.print()
        _print_explanation(explanation)
        _show_figures(explanation)
    _show_rows(("unanswered offers of", "role", "offers", "oldest"), list(_holders(answer)))


def _print_explanation(told: Document) -> None:
    screen = console()
    screen.print(visible(told["verdict"]), style="bold")
    for sentence in told["summary"]:
        screen.print(f"  {visible(sentence)}")


def _show_figures(explanation: Document) -> None:
    for columns, rows in (
        (("rule", "agents"), list(_rules(explanation))),
        (("turns", "share", "place", "served"), list(_places(explanation))),
        (("quota limit of", "resource", "used", "limit"), list(_quotas(explanation))),
    ):
        _show_rows(columns, rows)


def _show_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A small table below what was said, if there is anything in it."""
    if rows:
        console().print()
        show_table([dict(zip(columns, row, strict=True)) for row in rows], columns)


def _rules(explanation: Document) -> Iterator[tuple[str, ...]]:
    turned_away = sorted(explanation["agents_turned_away"].items(), key=lambda each: -each[1])
    yield from ((rule, str(count)) for rule, count in turned_away)
    yield "may be offered", str(explanation["agents_offerable"])


def _places(explanation: Document) -> Iterator[tuple[str, ...]]:
    for place in explanation["places"]:
        name = place["name"]
        if place.get("kind") == "OWN_FRAMEWORKS":
            name = own_frameworks(explanation["role"])
        elif place.get("kind") == "FRAMEWORK":
            name = explanation["framework_name"] or name
        if not place["place"]:
            standing = "inactive"
        elif place["drawn_by_lot"]:
            standing = f"one of {place['of']}, by lot"
        else:
            standing = f"{place['place']} of {place['of']}"
        yield name, _number(place["share"]), standing, str(place["allocations"])


def _quotas(explanation: Document) -> Iterator[tuple[str, ...]]:
    for quota in explanation["binding_quotas"]:
        yield quota["role"], quota["resource"], _number(quota["consumed"]), _number(quota["limit"])


def _holders(answer: Document) -> Iterator[tuple[str, ...]]:
    for one in answer.get("unanswered_offers", ()):
        age = f"{duration(one['oldest_seconds'])} ago" if "oldest_seconds" in one else "–"
        yield one["framework_name"] or one["framework_id"], one["role"], str(one["offers"]), age


def _number(value: float | None) -> str:
    return "–" if value is None else number(value)
