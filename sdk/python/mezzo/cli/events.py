"""`mezzo events`: what happens in the cluster, as it happens."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.errors import ApiError, print_note
from mezzo.cli.examples import Example, examples
from mezzo.cli.output import DocumentFormat, DocumentOutput, console, moment, state, visible, yaml_of

if TYPE_CHECKING:
    from mezzo.cli.api import Api

TYPES = (
    *("TASK_ADDED", "TASK_UPDATED", "FRAMEWORK_ADDED", "FRAMEWORK_UPDATED", "FRAMEWORK_REMOVED"),
    *("AGENT_ADDED", "AGENT_REMOVED", "SUBSCRIBED", "HEARTBEAT"),
)
# Those of the stream itself: shown to whoever names them.
OF_THE_STREAM = frozenset({"SUBSCRIBED", "HEARTBEAT"})
AGAIN_SECONDS = 1.0
TYPE_CHARACTERS = max(map(len, TYPES))

Event = dict[str, Any]


@examples(
    Example(
        "mezzo run --name batch -- sleep 5 & mezzo events --type task_updated --limit 1",
        "Wait until something happens to a task.",
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +TASK_UPDATED +task ",
    ),
)
def events(
    context: typer.Context,
    types: Annotated[
        str,
        typer.Option(
            "--type", "-t", metavar="TYPES", help="Print events of these types only: task_updated,agent_added."
        ),
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="COUNT", help="Exit after so many events; 0 for no limit.", min=0)
    ] = 0,
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Print the events of the cluster as they come, until interrupted: of tasks, frameworks and agents."""
    wanted = types_of(types)

    async def question(api: Api) -> None:
        shown = 0
        async for event in _again_and_again(api):
            if event["type"] not in wanted:
                continue
            _print(event, output)
            shown += 1
            if shown == limit:
                return

    ask(context, question)


def types_of(text: str) -> frozenset[str]:
    """The types that are named; without any all but those of the stream itself. Raises `typer.BadParameter`."""
    words = [word for part in text.split(",") if (word := part.strip().upper())]
    for word in words:
        if word not in TYPES:
            near = get_close_matches(word, TYPES, 1)
            meant = f"did you mean {near[0].lower()}?" if near else f"must be one of {', '.join(TYPES).lower()}"
            raise typer.BadParameter(f"{word.lower()!r} is not a type of events; {meant}", param_hint="--type")
    return frozenset(words) or frozenset(TYPES) - OF_THE_STREAM


async def _again_and_again(api: Api) -> AsyncIterator[Event]:
    """The events of one stream after the other: a gateway ends it when another registry leads."""
    began = False
    while True:
        try:
            async for event in api.events():
                began = True
                yield event
            print_note("another registry leads: events may be missing here")
        except ApiError as error:
            if not began or error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        await asyncio.sleep(AGAIN_SECONDS)


def _print(event: Event, output: DocumentFormat) -> None:
    if output is DocumentFormat.JSON:
        sys.stdout.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE).decode())
    elif output is DocumentFormat.YAML:
        sys.stdout.write(f"---\n{yaml_of(event)}")
    else:
        told = Text("  ").join(_parts(event))
        console().print(Text.assemble(moment(time.time()), "  ", f"{event['type']:<{TYPE_CHARACTERS}}", "  ", told))
    sys.stdout.flush()


def _parts(event: Event) -> Iterator[Text]:
    """Who it is about, and what is new of it."""
    about = event.get(event["type"].lower(), {})
    if event["type"] == "TASK_UPDATED":
        status = about["status"]
        yield _of("task", status["task_id"]["value"])
        yield state(about.get("state", status["state"]))
        yield from _said(status)
    elif event["type"] == "TASK_ADDED":
        task = about["task"]
        yield _of("task", task["task_id"]["value"])
        yield state(task["state"])
        yield _of("on agent", task["agent_id"]["value"])
    elif event["type"] == "AGENT_ADDED":
        info = about["agent"]["agent_info"]
        yield _of("agent", info["id"]["value"])
        yield Text(visible(info["hostname"]))
    elif event["type"] == "AGENT_REMOVED":
        yield _of("agent", about["agent_id"]["value"])
    elif event["type"].startswith("FRAMEWORK_"):
        info = about["framework_info"] if "framework_info" in about else about["framework"]["framework_info"]
        yield _of("framework", info["id"]["value"])
        yield Text(visible(info["name"]))


def _said(status: Event) -> Iterator[Text]:
    if "reason" in status:
        yield Text(status["reason"].removeprefix("REASON_").lower())
    if status.get("message"):
        yield Text(visible(status["message"]))


def _of(kind: str, its_id: str) -> Text:
    return Text(f"{kind} {visible(its_id)}")
