"""Writes docs/cli.md from the verbs of the `mezzo` command; with `--check` only says whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

from mezzo.cli.app import EXIT_CODES, app
from mezzo.cli.examples import Example, examples_of
from mezzo.cli.service import SERVICES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cli.md"

HEAD = """\
# The mezzo command

Written by `make docs` from the code; not edited by hand.

`pip install 'mezzo[cli]'` brings it. Every verb that asks a cluster asks a gateway, which `--api` or `MEZZO_API`
names; `mezzo VERB --help` says what is said here. A test plays the examples on a cluster on which tasks called `web`
and the like run.
"""


class Verb(NamedTuple):
    """One command line's worth of words, such as `quota set`, and what there is to say of it."""

    name: str
    # Of Typer, which keeps a copy of click, or uses click: neither's types are named here.
    command: Any
    context: typer.Context

    @property
    def examples(self) -> tuple[Example, ...]:
        """What the test plays."""
        return examples_of(self.command)

    @property
    def commands(self) -> dict[str, Any]:
        """The commands below it, by name."""
        return getattr(self.command, "commands", {})


def root() -> Verb:
    """`mezzo` itself."""
    command = typer.main.get_command(app)
    return Verb("", command, typer.Context(command, info_name="mezzo"))


def verbs(above: Verb | None = None) -> Iterator[Verb]:
    """Every verb, each followed by those below it; services, which have a page of their own, are left out."""
    above = above or root()
    for name, command in above.commands.items():
        if command.hidden or (not above.name and name in SERVICES):
            continue
        context = typer.Context(command, info_name=name, parent=above.context)
        verb = Verb(f"{above.name} {name}".strip(), command, context)
        yield verb
        yield from verbs(verb)


def page() -> str:
    """The whole page."""
    top = root()
    parts = [HEAD, *_records(top, "Options before the verb"), f"\n{EXIT_CODES}\n"]
    parts.append(f"\n`mezzo {' | '.join(SERVICES)}` start services; `--help` of each lists its flags.\n")
    for verb in verbs():
        parts += _section(verb)
    return "".join(parts)


def _section(verb: Verb) -> Iterator[str]:
    level = "##" + "#" * verb.name.count(" ")
    usage = verb.command.get_usage(verb.context).removeprefix("Usage: ").strip()
    help_text = "\n\n".join(" ".join(each.split()) for each in verb.command.help.split("\n\n"))
    yield f"\n{level} mezzo {verb.name}\n\n{help_text}\n\n```\n{usage}\n```\n"
    yield from _records(verb, "Option")
    if verb.examples:
        lines = "\n\n".join(f"# {each.says}\n{each.line}" for each in verb.examples)
        yield f"\n```sh\n{lines}\n```\n"


def _records(verb: Verb, heading: str) -> Iterator[str]:
    """Arguments and options, as their help tells of them."""
    told = [param.get_help_record(verb.context) for param in verb.command.get_params(verb.context)]
    rows = [f"| `{_cell(names)}` | {_cell(text)} |\n" for names, text in filter(None, told) if names != "--help"]
    if rows:
        yield f"\n| {heading} | |\n|---|---|\n"
        yield from rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """The exit code: 1 when the page is out of date and was not to be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    wanted = page()
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            print(f"{PAGE.name} is not what the code gives: make docs", file=sys.stderr)
            return 1
    else:
        PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
