"""`mezzo roles`, `mezzo quota` and `mezzo weights`: how is the cluster shared, and how shall it be?"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from mezzo.cli.asking import ask
from mezzo.cli.completing import role_names
from mezzo.cli.errors import ApiError
from mezzo.cli.examples import Example, Verb, VerbGroup, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, Watch, list_all
from mezzo.cli.output import Format, Output, visible
from mezzo.operator.wording import amounts, number

if TYPE_CHECKING:
    from mezzo.cli.api import Api

Document = dict[str, Any]

COLUMNS = ("role", "weight", "consumed", "guarantee", "limit", "offered", "frameworks")
WIDE_COLUMNS = (*COLUMNS, "allocated", "reserved")
QUOTA_COLUMNS = ("role", "consumed", "guarantee", "limit")
WEIGHT_COLUMNS = ("role", "weight")
NONE = "–"

# What the registry takes. Told here before anything is sent, where the words can be those of the command line.
WEIGHT_MIN, WEIGHT_MAX = 1e-6, 1e6
AMOUNT_MAX = 1e12
_AMOUNT = re.compile(r"\s*([^\s:=]+)\s*[:=]\s*(.*?)\s*")
# Resources that an agent may have without being told so; others are known where some agent has them.
USUAL_RESOURCES = frozenset({"cpus", "mem", "disk", "gpus"})

Role = Annotated[
    str, typer.Argument(autocompletion=role_names, help="Name of the role: eng, or eng/backend for a child of eng.")
]


@examples(
    Example("mezzo roles", "List the roles, with what they hold and may hold.", r"^\* +1 +cpus 0\.1", on=("web",)),
    Example("mezzo roles --sort-by -weight -o wide", "Show all columns, the heaviest role first.", "ALLOCATED"),
)
def roles(
    context: typer.Context,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
    watch: Watch = False,
) -> None:
    """List the roles: weight, quota, and what they hold, those below them included."""

    async def question(api: Api) -> Listing:
        return listing_of(await api.rows("/roles", "roles"))

    list_all(context, Options(output, no_headers, watch, sort_by), question)


def listing_of(listed: list[Document]) -> Listing:
    """The list of these roles."""
    return Listing(COLUMNS, WIDE_COLUMNS, [Entry(row_of(role), role, {"weight": role["weight"]}) for role in listed])


def row_of(role: Document) -> dict[str, str | Text]:
    quota = role["quota"]
    return {
        "role": role["name"],
        "weight": number(role["weight"]),
        "consumed": _consumed(quota),
        "guarantee": _amounts(quota["guarantee"]),
        "limit": _amounts(quota["limit"]),
        "offered": _amounts(role["offered"]),
        "frameworks": str(len(role["frameworks"])),
        "allocated": _amounts(role["allocated"]),
        "reserved": _amounts(role["reserved"]),
    }


def _consumed(quota: Document) -> str | Text:
    """What counts against the quota; in yellow where a limit leaves no room."""
    told = amounts(quota["consumed"]) if quota["consumed"] else NONE
    used_up = any(quota["consumed"].get(name, 0.0) >= limit for name, limit in quota["limit"].items())
    return Text(visible(told), "yellow") if used_up else told


def _amounts(quantities: Mapping[str, float]) -> str:
    """Amounts by name; a limit of 0 is told, too."""
    return ", ".join(f"{name} {number(value)}" for name, value in sorted(quantities.items())) or NONE


def amounts_of(text: str) -> dict[str, float]:
    """`cpus:4,mem:1024` (or with `;`, as flags have it) by name. Raises `typer.BadParameter`."""
    found: dict[str, float] = {}
    for part in re.split("[;,]", text) if text else ():
        match = _AMOUNT.fullmatch(part)
        if match is None:
            raise typer.BadParameter(f"{part.strip()!r} is not an amount; expected amounts like cpus:4,mem:1024")
        name = match[1]
        if name in found:
            raise typer.BadParameter(f"{name} is given twice")
        found[name] = _number_between(0, AMOUNT_MAX, match[2], f"{name}: ")
    return found


def _number_between(least: float, most: float, text: str, name: str = "") -> float:
    """A number that is in bounds. Raises `typer.BadParameter`, which names them."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:  # nan is not, either
        raise typer.BadParameter(f"{name}{text!r} is not a number from {_bound(least)} to {_bound(most)}")
    return value


def _bound(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def weight_of(text: str) -> float:
    return _number_between(WEIGHT_MIN, WEIGHT_MAX, text)


# -------------------------------------------------------------------------------------------------------------- quota

quota = typer.Typer(cls=VerbGroup, help="List quotas, and change them.", invoke_without_command=True)


@quota.callback()
@examples(Example("mezzo quota", "List the quotas, with what is consumed of them.", "^ROLE "))
def list_quotas(context: typer.Context, output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List quotas, and change them."""
    if context.invoked_subcommand is not None:
        return

    async def question(api: Api) -> Listing:
        return Listing(QUOTA_COLUMNS, QUOTA_COLUMNS, [Entry(_quota_row(one), one) for one in await _quotas(api)])

    list_all(context, Options(output, no_headers), question)


def _quota_row(one: Document) -> dict[str, str | Text]:
    return {
        "role": one["role"],
        "consumed": _consumed(one),
        "guarantee": _amounts(one["guarantee"]),
        "limit": _amounts(one["limit"]),
    }


async def _quotas(api: Api) -> list[Document]:
    """Each quota as it is configured, with what is consumed of it."""
    configs: list[Document] = await api.rows("/quota", "configs")
    consumed = {role["name"]: role["quota"]["consumed"] for role in await api.rows("/roles", "roles")}
    return [
        {
            "role": config["role"],
            "guarantee": {name: each["value"] for name, each in config.get("guarantees", {}).items()},
            "limit": {name: each["value"] for name, each in config.get("limits", {}).items()},
            "consumed": consumed.get(config["role"], {}),
        }
        for config in configs
    ]


@quota.command("set", cls=Verb)
@examples(
    Example(
        "mezzo quota set eng --guarantee cpus:1,mem:512 --limit cpus:2",
        "Guarantee a role one CPU and half a gigabyte, and let it use two CPUs at most.",
        "^the quota of eng is set$",
    ),
)
def set_quota(
    context: typer.Context,
    role: Role,
    guarantee: Annotated[
        str,
        typer.Option(
            "--guarantee",
            "-g",
            metavar="AMOUNTS",
            help="Resources guaranteed to the role, such as cpus:4,mem:1024 (MiB); none by default.",
        ),
    ] = "",
    limit: Annotated[
        str,
        typer.Option(
            "--limit", "-l", help="Resources that the role may use at most, such as cpus:8; no limit by default."
        ),
    ] = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Set it even if no agent has such a resource, agents have less, or more is in use."
        ),
    ] = False,
) -> None:
    """Set the quota of a role, replacing the one it has: what is not given is not guaranteed, or not limited."""
    if not guarantee and not limit:
        raise typer.BadParameter("name a guarantee or a limit; `mezzo quota remove` takes both away")
    guarantees, limits = amounts_of(guarantee), amounts_of(limit)
    config = {
        "role": role,
        "guarantees": {name: {"value": value} for name, value in guarantees.items()},
        "limits": {name: {"value": value} for name, value in limits.items()},
    }
    body = {"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": [config]}}

    async def change(api: Api) -> None:
        if not force:
            await _check_known(api, guarantees.keys() | limits.keys())
        await api.call(body)

    ask(context, change)
    typer.echo(f"the quota of {role} is set")


async def _check_known(api: Api, names: AbstractSet[str]) -> None:
    """Refuse what no agent has: a limit of `cpu` would be kept, and limit nothing."""
    agents = await api.rows("/state-summary", "slaves")
    known = USUAL_RESOURCES.union(*(agent["resources"] for agent in agents))
    unknown = sorted(names - known)
    if unknown:
        told = f"no agent has {', '.join(unknown)}; there are {', '.join(sorted(known))} (--force sets it all the same)"
        raise ApiError(HTTPStatus.BAD_REQUEST, told)


@quota.command("remove", cls=Verb)
@examples(Example("mezzo quota remove eng", "Take both away.", "^eng has no quota any more$"))
def remove_quota(context: typer.Context, role: Role) -> None:
    """Remove the quota of a role."""
    ask(context, lambda api: api.call({"type": "REMOVE_QUOTA", "remove_quota": {"role": role}}))
    typer.echo(f"{role} has no quota any more")


# ------------------------------------------------------------------------------------------------------------ weights

weights = typer.Typer(cls=VerbGroup, help="List weights, and change them.", invoke_without_command=True)


@weights.callback()
@examples(Example("mezzo weights", "List the weights that are set.", "^ROLE "))
def list_weights(context: typer.Context, output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """List weights, and change them."""
    if context.invoked_subcommand is not None:
        return

    async def question(api: Api) -> Listing:
        listed = await api.rows("/weights")
        entries = [Entry({"role": one["role"], "weight": number(one["weight"])}, one) for one in listed]
        return Listing(WEIGHT_COLUMNS, WEIGHT_COLUMNS, entries)

    list_all(context, Options(output, no_headers), question)


# A weight of -1 is told to be wrong as a weight, not as an option.
@weights.command("set", cls=Verb, context_settings={"ignore_unknown_options": True})
@examples(Example("mezzo weights set eng 2", "Give a role twice the share of its siblings.", "^eng has the weight 2$"))
def set_weight(
    context: typer.Context,
    role: Role,
    weight: Annotated[
        float,
        typer.Argument(
            parser=weight_of,
            metavar="WEIGHT",
            help=f"Weight from {_bound(WEIGHT_MIN)} to {_bound(WEIGHT_MAX)}; a role without one has 1.",
        ),
    ],
) -> None:
    """Set the weight of a role: with 2 it gets twice the share of a sibling with 1."""
    info = {"role": role, "weight": weight}
    ask(context, lambda api: api.call({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [info]}}))
    typer.echo(f"{role} has the weight {number(weight)}")
