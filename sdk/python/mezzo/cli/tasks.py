"""`mezzo tasks`: what runs where, and how did it end?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli import labels
from mezzo.cli.completing import agent_ids, framework_ids, role_names, several_of
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, Watch, list_all
from mezzo.cli.lookup import agent_ids_of, framework_id_of
from mezzo.cli.output import ACTIVE_STATES, STATES, Format, Output, age, amount, moment, state

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("id", "name", "framework", "agent", "state", "age", "resources", "reason", "message")
WIDE_COLUMNS = (*COLUMNS, "role", "executor", "updated", "labels", "framework id", "agent id")
NONE = "–"
SHORT_STATES = sorted(each.removeprefix("TASK_").lower() for each in STATES)

Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks are listed. What is empty narrows nothing."""

    states: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    role: str = ""
    labels: Mapping[str, str | None] | None = None

    def takes(self, task: Task) -> bool:
        """Whether a task is listed."""
        return (
            (not self.states or task["state"] in self.states)
            and (not self.agents or task["slave_id"] in self.agents)
            and self.role in ("", task.get("role", "*"))
            and (not self.labels or labels.match(self.labels, task.get("labels", ())))
        )


@examples(
    Example("mezzo tasks", "List what runs.", r"^web-\w+ +web .* running", on=("web",)),
    Example("mezzo tasks --all --state failed,lost", "List what went wrong, and why.", "^ID "),
    Example(
        "mezzo tasks --agent 127.0.0.1 --sort-by -age",
        "List what runs on a machine, oldest first.",
        "web-",
        on=("web",),
    ),
    Example("mezzo tasks -l tier=front -o name", "Print the ids of tasks with a label."),
    Example("mezzo tasks -o wide --no-headers", "Show all columns, whole, and no heading.", "^web-", on=("web",)),
    Example(
        "mezzo tasks --watch", "List what runs, and then what changes.", "web-", on=("web",), code=130, follows=True
    ),
)
def tasks(
    context: typer.Context,
    framework: Annotated[
        str,
        typer.Option(
            "--framework", "-f", autocompletion=framework_ids, help="List tasks of this framework only (id or name)."
        ),
    ] = "",
    states: Annotated[
        str,
        typer.Option(
            "--state",
            "-s",
            metavar="STATES",
            autocompletion=several_of(*SHORT_STATES),
            help="List tasks in these states only: running,staging.",
        ),
    ] = "",
    agent: Annotated[
        str, typer.Option("--agent", autocompletion=agent_ids, help="List tasks on this agent only (id or hostname).")
    ] = "",
    role: Annotated[
        str, typer.Option("--role", "-r", autocompletion=role_names, help="List tasks of this role only.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", help="List tasks with this label only, NAME=VALUE or NAME; may be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include tasks that have ended.")] = False,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
    watch: Watch = False,
) -> None:
    """List the tasks, with why they are in the state that they are in."""
    wanted_states = states_of(states)
    ended = everything or bool(wanted_states - ACTIVE_STATES)
    wanted_labels = labels.selector(label or ())
    # With --watch a task that ends is shown once more, unless it had ended before.
    over: set[tuple[str, str]] | None = None

    async def question(api: Api) -> Listing:
        nonlocal over
        framework_id = await framework_id_of(api, framework) if framework else ""
        agents = frozenset(await agent_ids_of(api, agent)) if agent else frozenset[str]()
        wanted = Filter(wanted_states, agents, role, wanted_labels)
        listed = await api.tasks(framework_id=framework_id, ended=ended or watch)
        if over is None:
            over = {_key(task) for task in listed if not ended and task["state"] not in ACTIVE_STATES}
        return listing_of([task for task in listed if wanted.takes(task) and _key(task) not in over])

    list_all(context, Options(output, no_headers, watch, sort_by), question)


def _key(task: Task) -> tuple[str, str]:
    return task["framework_id"], task["id"]


def states_of(text: str) -> frozenset[str]:
    """`running,TASK_LOST` as Mesos names the states. Raises `typer.BadParameter`."""
    found = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = f"TASK_{word.upper().removeprefix('TASK_')}"
        if name not in STATES:
            near = get_close_matches(word.lower(), SHORT_STATES, 1)
            meant = f"did you mean {near[0]}?" if near else f"must be one of {', '.join(SHORT_STATES)}"
            raise typer.BadParameter(f"{word!r} is not a state of tasks; {meant}", param_hint="--state")
        found.add(name)
    return frozenset(found)


def listing_of(tasks: list[Task]) -> Listing:
    """The list of these tasks."""
    now = time.time()
    return Listing(COLUMNS, WIDE_COLUMNS, [entry_of(task, now) for task in tasks])


def entry_of(task: Task, now: float) -> Entry:
    started, updated = started_at(task), updated_at(task)
    return Entry(
        row_of(task, now),
        task,
        {"age": now - (started or now), "updated": updated or 0.0, "resources": task["resources"].get("cpus", 0.0)},
    )


def row_of(task: Task, now: float) -> dict[str, str | Text]:
    return {
        "id": task["id"],
        "name": task["name"],
        "framework": task["framework_name"] or task["framework_id"],
        "agent": task["hostname"] or task["slave_id"],
        "state": state(task["state"]),
        "age": age(started_at(task), now),
        "resources": amount(task["resources"]),
        "reason": reason_of(task),
        "message": task.get("message") or NONE,
        "role": task.get("role", "*"),
        "executor": task.get("executor_id") or NONE,
        "updated": moment(updated_at(task)),
        "labels": ", ".join(f"{each['key']}={each.get('value', '')}" for each in task.get("labels", ())) or NONE,
        "framework id": task["framework_id"],
        "agent id": task["slave_id"],
    }


def started_at(task: Task) -> float | None:
    """When the first was heard of it, in seconds since the epoch."""
    statuses = task.get("statuses", ())
    return statuses[0]["timestamp"] if statuses else None


def updated_at(task: Task) -> float | None:
    """When the newest status was made, in seconds since the epoch."""
    statuses = task.get("statuses", ())
    return statuses[-1]["timestamp"] if statuses else None


def reason_of(task: Task) -> str:
    """The reason of its newest status, short: `command_executor_failed`."""
    return str(task.get("reason", NONE)).removeprefix("REASON_").lower()
