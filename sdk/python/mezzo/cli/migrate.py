"""`mezzo migrate`: what a Mesos cluster's configuration becomes here."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mezzo.cli import exit_codes, lists
from mezzo.cli.errors import print_error, print_note
from mezzo.cli.examples import Example, Verb, VerbGroup, examples
from mezzo.cli.lists import Listing, NoHeaders, Options, show_listing
from mezzo.cli.output import Format, Output
from mezzo.errors import InvalidRequest
from mezzo.migration.flags import Entry, Fate, Program, entry_of
from mezzo.migration.sources import FILE_BYTES_MAX, Configuration, Given

COLUMNS = ("", "flag", "here", "given to", "note")
WIDE_COLUMNS = (*COLUMNS, "value", "from")
ATTENTION = "!"
STANDARD_INPUT = "-"
COLOURS = {Fate.NOT_YET: "yellow", Fate.UNKNOWN: "red"}

migrate = typer.Typer(name="migrate", cls=VerbGroup, help="Prepare the move of a Mesos cluster.", no_args_is_help=True)


class Of(StrEnum):
    """What `--of` takes."""

    MASTER = Program.MASTER
    AGENT = Program.AGENT


@examples(
    Example(
        "mezzo migrate flags -- mesos-master --zk=zk://zk1:2181/mesos --quorum=2",
        "Say what becomes of the flags of a command line.",
        r"quorum +means nothing here .* there is no replicated log",
    ),
    Example(
        "echo MESOS_CONTAINERIZERS=docker,mesos | mezzo migrate flags --of agent -",
        "Say what becomes of the variables that a file or a unit has; something needs attention, so it ends with 1.",
        r"! +containerizers +means nothing here",
        code=exit_codes.FAILED,
    ),
)
def flags(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folders like /etc/mesos-master, files of MESOS_* variables, units of systemd, files with a command "
            "line, or - for standard input; or, after --, the command line itself.",
        ),
    ],
    of: Annotated[
        Of | None, typer.Option("--of", help="Whose flags they are; by default this is told from names.")
    ] = None,
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """Say what each flag of a Mesos master or agent is here: ours under which name, meaningless, or not there yet.

    Ends with 1 when anything needs attention (marked with !): a flag that is missing here, or unknown, with a value
    that asks for something.
    """
    try:
        configuration = _read(given)
    except InvalidRequest as error:
        print_error(str(error))
        raise typer.Exit(exit_codes.USAGE) from None
    found = configuration.flags
    program = Program(of) if of is not None else configuration.program
    if not found:
        print_error(f"no flag of Mesos in {', '.join(given)}")
        raise typer.Exit(exit_codes.NOT_FOUND)
    if program is None:
        print_error("are these flags of a master or of an agent? Say so with --of master or --of agent")
        raise typer.Exit(exit_codes.USAGE)
    rows = [(each, _entry(program, each)) for each in found]
    rows.sort(key=lambda row: (not row[1].needs_attention(row[0].value), row[0].name))
    entries = [lists.Entry(_row(*row), _document(*row)) for row in rows]
    show_listing(Listing(COLUMNS, WIDE_COLUMNS, entries, "flag"), Options(output, no_headers))
    attention = sum(entry.needs_attention(each.value) for each, entry in rows)
    if attention:
        print_note(f"{attention} of {len(rows)} flags need attention")
        raise typer.Exit(exit_codes.FAILED)


migrate.command("flags", cls=Verb)(flags)


def _read(given: list[str]) -> Configuration:
    """Raises `InvalidRequest` where a source cannot be read."""
    configuration = Configuration()
    if any(word.startswith("--") for word in given):
        configuration.read_words(given, "the command line")
        return configuration
    for word in given:
        if word == STANDARD_INPUT:
            configuration.read_text(sys.stdin.read(FILE_BYTES_MAX), "standard input")
        else:
            configuration.read(Path(word))
    return configuration


def _entry(program: Program, given: Given) -> Entry:
    # /etc/mesos/zk is both: the master's --zk and the agent's --master.
    name = "master" if program is Program.AGENT and given.name == "zk" else given.name
    return entry_of(program, name)


def _row(given: Given, entry: Entry) -> dict[str, str | Text]:
    return {
        "": Text(ATTENTION if entry.needs_attention(given.value) else "", "yellow"),
        "flag": given.name,
        "here": Text(entry.fate, COLOURS.get(entry.fate, "")),
        "given to": ", ".join(f"{service} --{flag}" for service, flag in entry.targets) or "–",
        "note": entry.note,
        "value": _shown(given),
        "from": given.where,
    }


def _document(given: Given, entry: Entry) -> dict[str, Any]:
    return {
        "flag": given.name,
        "value": _shown(given),
        "from": given.where,
        "here": entry.fate,
        "given_to": [{"service": service, "flag": flag} for service, flag in entry.targets],
        "note": entry.note,
        "needs_attention": entry.needs_attention(given.value),
    }


def _shown(given: Given) -> str:
    """The value, unless it may be a secret."""
    from mezzo.confidential import SECRET, without_credentials  # with protobuf, which other verbs do without

    return SECRET if "credential" in given.name or "{" in given.value else without_credentials(given.value)
