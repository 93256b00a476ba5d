"""`mezzo context`: names for clusters, so that nobody types addresses; kept in a file of this user's."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from mezzo import private_files
from mezzo.cli.errors import without_credentials
from mezzo.cli.examples import Example, Verb, VerbGroup, examples
from mezzo.cli.lists import Entry, Listing, NoHeaders, Options, show_listing
from mezzo.cli.output import Format, Output
from mezzo.cli.settings import DEFAULT_API, Settings

COLUMNS = ("current", "name", "api")


def default_path() -> Path:
    """The file of this user's contexts, by the XDG base directory specification."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "mezzo" / "contexts.toml"


@dataclass(slots=True)
class Contexts:
    """The contexts, and which is used where none is named."""

    path: Path
    apis: dict[str, str] = field(default_factory=dict)
    current: str = ""

    @classmethod
    def load(cls, path: Path | None = None) -> Contexts:
        """Those of a file; none where there is no file. Raises `typer.BadParameter` for one that is damaged."""
        path = path or default_path()
        try:
            document = tomllib.loads(path.read_text())
            apis = {name: str(one["api"]) for name, one in document.get("contexts", {}).items()}
            return cls(path, apis, str(document.get("current", "")))
        except FileNotFoundError:
            return cls(path)
        except OSError as error:
            raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint="--context") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise typer.BadParameter(f"{path} is not a file of contexts: {error}", param_hint="--context") from None

    def save(self) -> None:
        """Replace the file. Raises `typer.BadParameter` where that is not possible."""
        lines = [f"current = {_quoted(self.current)}"] if self.current else []
        for name, api in sorted(self.apis.items()):
            lines += ["", f"[contexts.{_quoted(name)}]", f"api = {_quoted(api)}"]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # What is read is the old file or the new one, and never half of it.
            written = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            private_files.make_file(written)
            written.write_text("\n".join(lines).lstrip("\n") + "\n")
            written.replace(self.path)
        except OSError as error:
            raise typer.BadParameter(f"cannot write {self.path}: {error.strerror}", param_hint="--context") from None

    def api_of(self, name: str) -> str:
        """The address of a context. Raises `typer.BadParameter` for one that there is not."""
        if name not in self.apis:
            raise typer.BadParameter(_unknown(name, self.apis), param_hint="--context")
        return self.apis[name]


def _quoted(text: str) -> str:
    """A string of TOML, whose escapes are JSON's but for those of half a character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _unknown(name: str, known: Mapping[str, str]) -> str:
    if not known:
        return f"context {name!r} not found; mezzo context add NAME API makes one"
    near = get_close_matches(name, known, 1)
    return f"context {name!r} not found; " + (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    )


def chosen(root: typer.Context, api: str, named: str, *, ask: bool = True) -> Settings:
    """The cluster that the options before the verb choose: what is typed counts before the environment.

    After both comes the context that is used, and then this machine. Without `ask` no context is looked up.

    Raises:
        typer.BadParameter: two are typed, one is no address, or there is no such context.
    """
    typed = {name for name in ("api", "named") if _source(root, name) == "COMMANDLINE"}
    if len(typed) > 1:
        raise typer.BadParameter("name a gateway or a context, not both", param_hint="--api")
    if "api" in typed or ("named" not in typed and _source(root, "api") == "ENVIRONMENT"):
        return Settings.of(api)
    return Settings.of((api_of(named) if ask else "") or DEFAULT_API)


def _source(root: typer.Context, name: str) -> str:
    """Where an option comes from: COMMANDLINE, ENVIRONMENT, or DEFAULT."""
    source = root.get_parameter_source(name)
    return "DEFAULT" if source is None else source.name


def api_of(name: str) -> str:
    """The address of a context, or without a name of the one that is used; empty where none is.

    Raises:
        typer.BadParameter: there is no such context, or the file is damaged.
    """
    known = Contexts.load()
    name = name or known.current
    return known.api_of(name) if name else ""


def names() -> list[str]:
    """The names of all contexts, for completion."""
    return sorted(Contexts.load().apis)


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the context.", autocompletion=names)]

context = typer.Typer(cls=VerbGroup, help="Name clusters, and choose the one to ask.", invoke_without_command=True)


@context.callback()
@examples(Example("mezzo context", "List the contexts; the one that is used has a star.", "^CURRENT "))
def list_contexts(called: typer.Context, output: Output = Format.TABLE, no_headers: NoHeaders = False) -> None:
    """Name clusters, and choose the one to ask."""
    if called.invoked_subcommand is not None:
        return
    known = Contexts.load()
    entries = [
        Entry(
            {"current": "*" if name == known.current else "", "name": name, "api": without_credentials(api)},
            {"name": name, "api": api, "current": name == known.current},
        )
        for name, api in sorted(known.apis.items())
    ]
    show_listing(Listing(COLUMNS, COLUMNS, entries, "name"), Options(output, no_headers))


@context.command("add", cls=Verb)
@examples(
    Example("mezzo context add prod 10.0.0.1:5050,10.0.0.2:5050", "Name the gateways of a cluster.", "^prod is 10"),
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the context.")],
    api: Annotated[str, typer.Argument(metavar="API", help="Address of its gateway, as --api takes it.")],
) -> None:
    """Add a context, or change its address. The first is used from then on."""
    if not name or not name.isprintable():
        raise typer.BadParameter(f"{name!r} is not a name", param_hint="NAME")
    Settings.of(api)
    known = Contexts.load()
    known.apis[name] = api
    known.current = known.current or name
    known.save()
    typer.echo(f"{name} is {without_credentials(api)}")


@context.command("use", cls=Verb)
@examples(Example("mezzo context use prod", "Ask this cluster from now on.", "^mezzo asks prod, "))
def use(name: Name) -> None:
    """Use a context wherever no other cluster is named."""
    known = Contexts.load()
    api = known.api_of(name)
    known.current = name
    known.save()
    api = without_credentials(api)
    typer.echo(f"mezzo asks {name}, {api}, unless --api, --context, MEZZO_API or MEZZO_CONTEXT names another")


@context.command("remove", cls=Verb)
@examples(Example("mezzo context remove prod", "Forget it.", "^prod is removed$"))
def remove(name: Name) -> None:
    """Remove a context."""
    known = Contexts.load()
    known.api_of(name)
    del known.apis[name]
    if known.current == name:
        known.current = ""
    known.save()
    typer.echo(f"{name} is removed")
