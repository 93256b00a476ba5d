"""Configuration: one frozen dataclass for each service, read from flags, environment, file and defaults, in that order.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config:
        port: int = flag(5050, "Where HTTP is served.")
        agent_ping_timeout: float = flag("15secs", "How long …", parse=duration)

    config = load(Config, argv, service="registry")

Each field is the flag `--port`, the environment variable `MEZZO_REGISTRY_PORT`, and the key `port` of the file that
`--config` names (TOML or JSON). Flags are called what Mesos calls them; dashes do as well as underscores.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click
from google.protobuf.message import Message

from mezzo import durations, jsonpb
from mezzo.confidential import SECRET, without_credentials
from mezzo_chassis import build
from mezzo_chassis.errors import Exit, in_one_line
from mezzo_chassis.mesos_flags import explain_flags

C = TypeVar("C")

VALIDATE_VARIABLE = "MEZZO_VALIDATE_EVERY"
"""For tests, and for whoever looks for a mistake: after how many turns of an engine its state is checked again."""

_UNITS_BYTES = {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")


def duration(text: str) -> float:
    """Seconds, from Mesos' form (`15secs`, `500ms`, `1weeks`); 0 needs no unit."""
    seconds = durations.parse(text)
    if seconds and text.strip()[-1].isdigit():
        raise ValueError(f"{text!r} has no unit; expected {text.strip()}secs, for example")
    return seconds


def interval(text: str) -> float:
    """Seconds as of `duration`, and more than none: what is done after each must not be all that is done."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} must be greater than 0")
    return seconds


def count(text: str) -> int:
    """An integer of at least 0."""
    if not text.strip().isdecimal():
        raise ValueError(f"{text!r} must be an integer of at least 0")
    return int(text)


def byte_count(text: str) -> int:
    """Bytes, from Mesos' form (`10MB`) or a plain number of bytes."""
    matched = _QUANTITY.match(text)
    unit = (matched[2] or "B") if matched else ""
    if not matched or unit not in _UNITS_BYTES:
        raise ValueError(f"{text!r} must be a size like 10MB")
    return round(float(matched[1]) * _UNITS_BYTES[unit])


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(f"{text!r} must be between 0 and 1")
    return number


def boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} must be true or false") from None


def port(text: str) -> int:
    number = count(text)
    if number > 65535:
        raise ValueError(f"{number} must be a port from 0 to 65535")
    return number


def address(text: str) -> tuple[str, int]:
    """`host:port`."""
    host, colon, number = text.rpartition(":")
    if not colon or not host or not number.isdigit():
        raise ValueError(f"{text.rpartition('@')[2]!r} must be host:port")
    return host.strip("[]"), port(number)


def ipv4(text: str) -> str:
    """An IPv4 address, or nothing."""
    try:
        return str(ipaddress.IPv4Address(text)) if text else ""
    except ValueError:
        raise ValueError(f"{text!r} must be an IPv4 address") from None


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that takes these words alone."""

    def word(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} must be one of {', '.join(words)}")
        return text

    return word


def folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


@dataclasses.dataclass(frozen=True, slots=True)
class _Flag:
    help: str
    default: str | None
    parse: Callable[[str], Any]
    show: Callable[[Any], str] | None
    secret: bool
    heading: str


def flag(
    default: Any,
    help: str,  # noqa: A002  what it is
    *,
    parse: Callable[[str], Any] | None = None,
    show: Callable[[Any], str] | None = None,
    secret: bool = False,
    heading: str = "",
) -> Any:
    """A field that can be set. `default` is written as on the command line; None leaves the field None.

    `parse` turns text into the value and raises `ValueError`; without it the type of `default` decides. `show` turns
    the value into text again, where that is not plain. With a `heading` it is the first of a group in the help.
    """
    text = None if default is None else _plain_text(default)
    read = parse or _PARSERS.get(type(default), str)
    value = None if text is None else read(text)
    return dataclasses.field(default=value, metadata={"flag": _Flag(help, text, read, show, secret, heading)})


_PARSERS: dict[type, Callable[[str], Any]] = {bool: boolean, int: int, float: float, str: str}


def _plain_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Value(click.ParamType[Any]):
    """A value of a flag, read by its own parser."""

    def __init__(self, parse: Callable[[str], Any], *, secret: bool) -> None:
        self.name = parse.__name__
        self._parse = parse
        self.secret = secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            # Parsers tell what they were given.
            self.fail("invalid value (hidden: the flag is secret)" if self.secret else str(error), param, ctx)


def load(config_class: type[C], argv: Sequence[str] | None, *, service: str, version: str = "") -> C:
    """The configuration of a service. A wrong value ends the program with a line that names the flag (code 2)."""
    fields = [field for field in dataclasses.fields(config_class) if "flag" in field.metadata]  # type: ignore[arg-type]
    command = _Command(
        name=f"mezzo {service}",
        params=[*(_option(field, service) for field in fields), _config_option(service)],
        callback=config_class,
        help=(sys.modules[config_class.__module__].__doc__ or "").strip(),
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        epilog="Every flag is also the environment variable in its brackets, and a key of the file that --config "
        "names. Dashes do as well as underscores.",
    )
    if version:
        click.version_option(build.described(version), prog_name=f"mezzo-{service}")(command)
    arguments = _with_values(sys.argv[1:] if argv is None else argv, fields)
    try:
        _check_environment(service, {field.name for field in fields})
        _check_flags(service, arguments, {field.name for field in fields})
        config = command.main(args=arguments, prog_name=command.name, standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"mezzo {service}: {in_one_line(error.format_message())}", err=True)
        raise SystemExit(Exit.BAD_CONFIGURATION) from None
    except click.exceptions.Exit as done:
        raise SystemExit(done.exit_code) from None
    if not isinstance(config, config_class):  # --help and --version print and return a code
        raise SystemExit(0)
    return config


class _Command(click.Command):
    """Tells of its flags in groups, each once, with its variable."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        heading = ""
        for parameter in self.get_params(ctx):
            assert isinstance(parameter, click.Option)
            if not isinstance(parameter, _FlagOption):
                heading = "General"
            elif parameter.heading:
                heading = parameter.heading
            groups.setdefault(heading or "Flags", []).append(_record(parameter))
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class _FlagOption(click.Option):
    """The option of one field."""

    heading = ""


def _record(option: click.Option) -> tuple[str, str]:
    """What the help has of an option: how it is typed, and what it is for."""
    names = ", ".join(
        name for name in option.opts if _underscored(name) == name or _underscored(name) not in option.opts
    )
    more = [str(option.envvar)] if option.envvar else []
    shown = option.default if isinstance(option, _FlagOption) else None
    if shown not in (None, "") and not (isinstance(option.type, _Value) and option.type.secret):
        more.append(f"default: {shown}")
    told = f"{option.help}  [{'; '.join(more)}]" if more else str(option.help)
    return f"{names} {option.metavar}" if option.metavar else names, told


def _underscored(name: str) -> str:
    return f"--{name[2:].replace('-', '_')}"


def _with_values(arguments: Sequence[str], fields: Sequence[dataclasses.Field[Any]]) -> list[str]:
    """The arguments with a value for each flag that is true or false: Mesos takes `--flag` and `--no-flag` too."""
    switches = {field.name for field in fields if field.metadata["flag"].parse is boolean}
    given = []
    for argument, following in pairwise([*arguments, "--"]):
        name = argument.removeprefix("--").replace("-", "_") if argument.startswith("--") else ""
        if name in switches and following.startswith("-"):
            given.append(f"--{name}=true")
        elif name.startswith("no_") and name.removeprefix("no_") in switches:
            given.append(f"--{name.removeprefix('no_')}=false")
        else:
            given.append(argument)
    return given


def _option(field: dataclasses.Field[Any], service: str) -> click.Option:
    given: _Flag = field.metadata["flag"]
    names = [f"--{field.name}"]
    if "_" in field.name:
        names.append(f"--{field.name.replace('_', '-')}")
    option = _FlagOption(
        [*names, field.name],
        type=_Value(given.parse, secret=given.secret),
        default=given.default,
        envvar=environment_name(service, field.name),
        help=given.help,
        metavar=_METAVARS.get(given.parse.__qualname__, given.parse.__name__.upper()),
    )
    option.heading = given.heading
    return option


# Of parsers that are not called what they read.
_METAVARS = {"ZooKeeperUrl.parse": "ZK_URL", "RateLimit.parse": "RATE", "parse": "JSON_OR_FILE", "str": "TEXT"}


def environment_name(service: str, name: str) -> str:
    return f"MEZZO_{service}_{name}".upper()


# What is called like a flag and is none: Kubernetes tells containers of Services such as mezzo-registry in this way,
# and agents tell executors where they are.
_NO_FLAG = re.compile(
    r"\w+_SERVICE_HOST=.*|\w+_SERVICE_PORT(_\w+)?=.*|\w+_PORT_\d+_\w+=.*|\w+_PORT=\w+://.*|MEZZO_AGENT_GRPC_ENDPOINT=.*",
    re.DOTALL,
)


def _check_environment(service: str, flags: set[str]) -> None:
    """Refuse variables that set no flag: one that is mistyped would go unnoticed, and its flag keep the default."""
    turns = os.environ.get(VALIDATE_VARIABLE, "0")
    if not (turns.isascii() and turns.isdigit() and len(turns) < 10):
        raise click.UsageError(f"environment variable {VALIDATE_VARIABLE}: {turns[:50]!r} is not a whole number from 0")
    prefix = environment_name(service, "")
    known = {name.upper() for name in (*flags, "config")}
    for variable, value in sorted(os.environ.items()):
        name = variable.removeprefix(prefix)
        if name == variable or name in known or _NO_FLAG.fullmatch(f"{variable}={value}"):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        hint = f"; did you mean {prefix}{near[0]}?" if near else f"; see mezzo {service} --help"
        raise click.UsageError(f"environment variable {variable}: no such flag{hint}")


def _check_flags(service: str, arguments: Sequence[str], flags: set[str]) -> None:
    """Refuse flags of Mesos' that this service does not have: all at once, each with what it is here."""
    given = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    names = [name.removeprefix("--").replace("-", "_") for name in given]
    unknown = [name for name in names if name not in flags and name not in ("config", "help", "version")]
    explained = explain_flags(service, [name.removeprefix("no_") for name in unknown])
    if explained:
        told = "; ".join(f"--{name} ({what})" for name, what in explained.items())
        others = [name for name in unknown if name.removeprefix("no_") not in explained and name]
        raise click.UsageError(f"no such flags: {told}{''.join(f'; --{name}' for name in others)}")


def _config_option(service: str) -> click.Option:
    def use(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.default_map = _read_file(Path(value), {known.name for known in context.command.params}, parameter)

    return click.Option(
        ["--config"],
        callback=use,
        is_eager=True,
        expose_value=False,
        envvar=environment_name(service, "config"),
        metavar="FILE",
        help="A TOML or JSON file of flags.",
    )


def _read_file(path: Path, known: set[str | None], parameter: click.Parameter) -> dict[str, str]:
    try:
        text = path.read_text()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}", param=parameter) from None
    if not isinstance(values, dict):
        raise click.BadParameter(f"{path} is not an object of flags", param=parameter)
    given = {name.replace("-", "_"): _as_on_the_command_line(value) for name, value in values.items()}
    unknown = sorted(set(given) - known)
    if unknown:
        raise click.BadParameter(f"{path} has unknown flags: {', '.join(unknown)}", param=parameter)
    return {name: text for name, text in given.items() if text is not None}


def _as_on_the_command_line(value: Any) -> str | None:
    """Text for a flag's parser; what has a structure as JSON, nothing as not given."""
    if value is None:
        return None
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else _plain_text(value)


def as_text(config: Any) -> dict[str, str]:
    """Every flag and its value, as `/flags` shows them. Secrets are hidden."""
    texts = {}
    for field in dataclasses.fields(config):
        given: _Flag | None = field.metadata.get("flag")
        value = getattr(config, field.name)
        if given is None or value is None:
            continue
        shown = without_credentials(_as_given(value, given))
        texts[field.name] = SECRET if given.secret and value else shown
    return texts


def _as_given(value: Any, given: _Flag) -> str:
    if given.show is not None:
        return given.show(value)
    if given.parse in (duration, interval):
        return durations.text_of(value)
    if given.parse is byte_count:
        return bytes_text(value)
    if given.parse is address:
        return address_text(value)
    if isinstance(value, Message):
        return jsonpb.dumps(value).decode()
    if isinstance(value, dict):
        return json.dumps(value)
    return _plain_text(value)


def address_text(value: tuple[str, int]) -> str:
    """`host:port`, as `address` reads it."""
    host, number = value
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def bytes_text(count: int) -> str:
    for unit, size in reversed(_UNITS_BYTES.items()):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return "0B"
