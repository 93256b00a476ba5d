"""`mezzo members`: which registries, allocators and gateways are there, and which of them lead?"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from mezzo.cli.errors import ApiError, print_note
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, SortBy, Watch, list_all
from mezzo.cli.output import Format, Output, age, moment

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("service", "address", "standing", "age", "version")
WIDE_COLUMNS = (*COLUMNS, "since", "peer")
COLOURS = {"LEADING": "green", "CONNECTED": "green", "UNREACHABLE": "red"}
NONE = "–"

Member = dict[str, Any]


@examples(
    Example(
        "mezzo members", "List registries, allocators and gateways, and who leads.", r"^registry +\S+:\d+ +leading "
    ),
    Example("mezzo members -o name", "Print their addresses.", r"^127\.0\.0\.1:\d+$"),
)
def members(
    context: typer.Context,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
    watch: Watch = False,
) -> None:
    """List the registries, allocators and gateways: which lead, which stand by, and since when."""
    noted: set[str] = set()

    async def question(api: Api) -> Listing:
        answer = await asked(api)
        if problem := answer.get("incomplete"):
            if problem not in noted:
                print_note(f"registries and allocators are left out: {problem}")
            noted.add(problem)
        return listing_of(answer["members"])

    list_all(context, Options(output, no_headers, watch, sort_by), question)


async def asked(api: Api) -> dict[str, Any]:
    """`members`, and why some are missing."""
    answer: dict[str, Any] = await api.own("/mezzo/v1/members", "members")
    return answer


async def asked_if_known(api: Api) -> list[Member]:
    """The members; none where no registry can be reached that could say, or that is too old to know."""
    try:
        found: list[Member] = (await asked(api))["members"]
        return found
    except ApiError as error:
        if error.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.BAD_GATEWAY):
            return []
        raise
    except TimeoutError:  # The gateway answers, but the registry that it asks does not.
        print_note("no registry answers in time: who stands by is not known")
        return []


def listing_of(members: list[Member]) -> Listing:
    """The list of these members."""
    now = time.time()
    entries = [Entry(row_of(one, now), one, {"age": now - one.get("since", now)}) for one in members]
    return Listing(COLUMNS, WIDE_COLUMNS, entries, "address")


def row_of(member: Member, now: float) -> dict[str, str | Text]:
    standing = member["standing"]
    return {
        "service": member["service"],
        "address": member["address"] or NONE,
        "standing": Text(standing.lower(), COLOURS.get(standing, "")),
        "age": age(member.get("since"), now),
        "version": member.get("version", NONE),
        "since": moment(member.get("since")),
        "peer": member.get("peer", NONE),
    }
