"""`mezzo describe`: all that there is to say about one task, agent, framework or role."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli import agents, frameworks, roles, tasks
from mezzo.cli.asking import ask
from mezzo.cli.completing import agent_ids, any_task_ids, framework_ids, role_names
from mezzo.cli.examples import Example, Verb, VerbGroup, examples
from mezzo.cli.ids import resolve
from mezzo.cli.lookup import framework_id_of, the_agent
from mezzo.cli.output import (
    ACTIVE_STATES,
    DocumentFormat,
    DocumentOutput,
    amount,
    console,
    is_for_programs,
    moment,
    show_document,
    show_table,
    state,
    visible,
)
from mezzo.cli.selection import one, path_of
from mezzo.cli.windows import window_of, windows

if TYPE_CHECKING:
    from mezzo.cli.api import Api

Document = dict[str, Any]
Field = tuple[str, str | Text]

NAME_CHARACTERS = 16
NONE = "–"
# Resources of an agent, and what of them is shown.
SHARES = (("total", "resources"), ("used", "used_resources"), ("offered", "offered_resources"))

describe = typer.Typer(cls=VerbGroup, help="Describe one task, agent, framework or role.", no_args_is_help=True)


@describe.command("task", cls=Verb)
@examples(
    Example(
        "mezzo describe task web",
        "Tell where a task runs, what became of it, and why.",
        r"^State +running",
        on=("web",),
    ),
    Example("mezzo describe task web -o yaml", "The same for programs.", "^state: TASK_RUNNING$", on=("web",)),
)
def describe_task(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(metavar="TASK", autocompletion=any_task_ids, help="Id of the task, or the beginning of one."),
    ],
    framework: Annotated[
        str,
        typer.Option(
            "--framework",
            "-f",
            autocompletion=framework_ids,
            help="Framework of the task (id or name), where several have the id.",
        ),
    ] = "",
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Describe a task: where it runs, what it holds, each state it was in, and what it is at."""

    async def question(api: Api) -> Document:
        framework_id = await framework_id_of(api, framework) if framework else ""
        found = one(await api.tasks(framework_id, ended=True), task)
        told: Document = await api.get(path_of(found))
        return {**found, "verdict": told["verdict"], "summary": told["summary"]}

    found: Document = ask(context, question)
    if is_for_programs(output):
        show_document(found, output)
        return
    _print_fields(_task_fields(found))
    _print_section("States", _state_rows(found), ("time", "state"))
    console().print(f"\n{visible(found['verdict'])}", style="bold")
    for sentence in found["summary"]:
        console().print(f"  {visible(sentence)}")


def _task_fields(task: Document) -> Iterator[Field]:
    yield "Id", task["id"]
    yield "Name", task["name"]
    yield "Framework", _named(task["framework_name"], task["framework_id"])
    yield "Agent", _named(task["hostname"], task["slave_id"])
    yield "State", state(task["state"])
    yield "Reason", tasks.reason_of(task)
    yield "Message", task.get("message") or NONE
    yield "Started", moment(tasks.started_at(task))
    yield "Updated", moment(tasks.updated_at(task))
    yield "Role", task.get("role", "*")
    yield "Resources", _resources(task["resources"])
    yield "Executor", task.get("executor_id") or NONE
    yield "Labels", ", ".join(f"{each['key']}={each.get('value', '')}" for each in task.get("labels", ())) or NONE
    yield "Addresses", ", ".join(_addresses(task)) or NONE


def _addresses(task: Document) -> Iterator[str]:
    """The addresses of its container, as its newest status tells of them."""
    for status in task.get("statuses", ())[-1:]:
        for network in status.get("container_status", {}).get("network_infos", ()):
            for address in network.get("ip_addresses", ()):
                yield address.get("ip_address", NONE)


def _state_rows(task: Document) -> list[dict[str, str | Text]]:
    return [{"time": moment(each["timestamp"]), "state": state(each["state"])} for each in task.get("statuses", ())]


@describe.command("agent", cls=Verb)
@examples(
    Example(
        "mezzo describe agent 127.0.0.1",
        "Tell what an agent has, and what runs there.",
        r"(?s)^ +RESOURCE +TOTAL +USED +OFFERED$.*^ +web-",
        on=("web",),
    ),
    Example("mezzo describe agent S0 -o json", "The same for programs, of the agent whose id ends in -S0.", '"tasks"'),
)
def describe_agent(
    context: typer.Context,
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT",
            autocompletion=agent_ids,
            help="Id of the agent, beginning or last part of it, or hostname.",
        ),
    ],
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Describe an agent: what it has, what is planned for its machine, and what runs there."""

    async def question(api: Api) -> Document:
        found = the_agent(await api.agents(), agent)
        window = window_of(found, await windows(api))
        there = [each for each in await api.tasks() if each["slave_id"] == found["id"]]
        described = {**found, "state": agents.state_of(found, window, time.time()).plain, "tasks": there}
        return described if window is None else {**described, "maintenance": window.document()}

    found: Document = ask(context, question)
    if is_for_programs(output):
        show_document(found, output)
        return
    _print_fields(_agent_fields(found))
    _print_section("Resources", _resource_rows(found), ("resource", "total", "used", "offered"), headers=True)
    _print_tasks(found["tasks"])


def _agent_fields(agent: Document) -> Iterator[Field]:
    yield "Id", agent["id"]
    yield "Hostname", agent["hostname"] or NONE
    yield "State", agent["state"]
    yield "Address", agent.get("pid", NONE)
    yield "Registered", moment(agent.get("registered_time"))
    if "reregistered_time" in agent:
        yield "Re-registered", moment(agent["reregistered_time"])
    yield "Version", agent.get("mezzo_version") or agent.get("version", NONE)
    yield "Attributes", ", ".join(f"{name}={value}" for name, value in agent.get("attributes", {}).items()) or NONE
    yield "Domain", _domain(agent.get("domain"))
    yield "Capabilities", ", ".join(agent.get("capabilities", ())) or NONE
    for role, reserved in agent.get("reserved_resources", {}).items():
        yield f"Reserved: {role}", _resources(reserved)


def _domain(domain: Mapping[str, Any] | None) -> str:
    fault = (domain or {}).get("fault_domain", {})
    return "/".join(fault[part]["name"] for part in ("region", "zone") if part in fault) or NONE


def _resource_rows(agent: Document) -> list[dict[str, str | Text]]:
    """A row for each resource that the agent has."""
    names = [name for name, value in agent.get("resources", {}).items() if value]
    return [
        {"resource": name, **{kind: _value(agent.get(key, {}).get(name)) for kind, key in SHARES}} for name in names
    ]


@describe.command("framework", cls=Verb)
@examples(
    Example(
        "mezzo describe framework 'mezzo run web'",
        "Tell who a framework is, and what it runs.",
        r"^ +web-",
        on=("web",),
    ),
)
def describe_framework(
    context: typer.Context,
    framework: Annotated[
        str,
        typer.Argument(
            metavar="FRAMEWORK",
            autocompletion=framework_ids,
            help="Id of the framework, beginning or last part of it, or name.",
        ),
    ],
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Describe a framework: who it is, what it holds, and what it runs."""

    async def question(api: Api) -> Document:
        framework_id = await framework_id_of(api, framework)
        kinds = ("frameworks", "completed_frameworks")
        (found,) = await api.rows("/frameworks", *kinds, framework_id=framework_id)
        return {**found, "tasks": await api.tasks(framework_id, ended=True)}

    found: Document = ask(context, question)
    if is_for_programs(output):
        show_document(found, output)
        return
    _print_fields(_framework_fields(found))
    _print_tasks([each for each in found["tasks"] if each["state"] in ACTIVE_STATES])
    ended = sum(1 for each in found["tasks"] if each["state"] not in ACTIVE_STATES)
    if ended:
        console().print(f"\n{ended} of its tasks have ended: mezzo tasks --all --framework {visible(found['id'])}")


def _framework_fields(framework: Document) -> Iterator[Field]:
    yield "Id", framework["id"]
    yield "Name", framework["name"]
    yield "State", frameworks.state_of(framework)
    yield "Roles", ", ".join(frameworks.roles_of(framework))
    yield "User", framework["user"] or NONE
    yield "Principal", framework.get("principal") or NONE
    yield "Hostname", framework["hostname"] or NONE
    yield "Web UI", framework.get("webui_url") or NONE
    yield "Capabilities", ", ".join(framework["capabilities"]) or NONE
    yield (
        "Fail-over",
        f"{timedelta(seconds=framework['failover_timeout'])} h" if framework.get("failover_timeout") else NONE,
    )
    yield "Checkpoints", "yes" if framework.get("checkpoint") else "no"
    yield "Registered", moment(framework["registered_time"])
    if framework.get("reregistered_time"):
        yield "Re-registered", moment(framework["reregistered_time"])
    if framework["unregistered_time"]:
        yield "Ended", moment(framework["unregistered_time"])
    yield "Used", _resources(framework["used_resources"])
    yield "Offered", _resources(framework["offered_resources"])


@describe.command("role", cls=Verb)
@examples(
    Example(
        "mezzo describe role '*'", "Tell what a role holds and may hold, and who is in it.", "^Frameworks", on=("web",)
    ),
)
def describe_role(
    context: typer.Context,
    role: Annotated[
        str,
        typer.Argument(metavar="ROLE", autocompletion=role_names, help="Name of the role, or the beginning of one."),
    ],
    output: DocumentOutput = DocumentFormat.TABLE,
) -> None:
    """Describe a role: its weight and quota, what it holds, and which frameworks are in it."""

    async def question(api: Api) -> Document:
        known = await api.rows("/roles", "roles")
        name = resolve(role, (each["name"] for each in known), "role")
        found = next(each for each in known if each["name"] == name)
        names = {each["id"]: each["name"] for each in await api.rows("/state-summary", "frameworks")}
        return {**found, "framework_names": {each: names.get(each, "") for each in found["frameworks"]}}

    found: Document = ask(context, question)
    if is_for_programs(output):
        show_document(found, output)
        return
    row = roles.row_of(found)
    _print_fields((name.capitalize(), row[name]) for name in roles.WIDE_COLUMNS if name != "frameworks")
    rows: list[dict[str, str | Text]] = [
        {"framework id": each, "name": name or NONE} for each, name in found["framework_names"].items()
    ]
    _print_section("Frameworks", rows, ("framework id", "name"))


# ----------------------------------------------------------------------------------------------------------- showing


def _print_fields(fields: Iterator[Field]) -> None:
    screen = console()
    for name, value in fields:
        told = value if isinstance(value, Text) else visible(value)
        screen.print(Text.assemble((f"{name:<{NAME_CHARACTERS}}", "bold"), told))


def _print_section(
    heading: str, rows: Sequence[Mapping[str, str | Text]], columns: tuple[str, ...], *, headers: bool = False
) -> None:
    """A table below a heading, if there is anything in it; `headers` where the columns do not speak for themselves."""
    if not rows:
        return
    console().print(f"\n{heading}", style="bold")
    first, *others = columns
    indented = f"  {first}"
    show_table(
        [{**row, indented: Text.assemble("  ", _text(row[first]))} for row in rows],
        (indented, *others),
        name=indented,
        headers=headers,
    )


def _text(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(visible(value))


def _print_tasks(listed: Sequence[Document]) -> None:
    rows = [tasks.row_of(task, time.time()) for task in listed]
    _print_section("Tasks", rows, ("id", "name", "state", "age", "resources"))
    if not rows:
        console().print("\nNo active tasks")


def _named(name: str, its_id: str) -> str:
    return f"{name} ({its_id})" if name else its_id


def _resources(resources: Mapping[str, Any]) -> str:
    """All of them, with what is not scalar: `cpus 0.1, mem 32, ports [31000-31001]`."""
    others = [
        f"{name} {value}" for name, value in resources.items() if isinstance(value, str) and value not in ("", "[]")
    ]
    return ", ".join([amount(resources), *others]) if others else amount(resources)


def _value(value: Any) -> str:
    return NONE if value in (None, "", "[]") else f"{value:g}" if isinstance(value, int | float) else str(value)
