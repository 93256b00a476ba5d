"""A job file: every flag of `mezzo run` as a field of a YAML or JSON file. Errors name the field and its line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

STDIN = "-"
BYTES_MAX = 1024 * 1024
# What a mapping may be given for, as NAME: VALUE.
OF_PAIRS = frozenset({"env", "label"})
# What is no part of a job.
NO_FIELDS = frozenset({"file", "help"})
OPTION = "--file"


class JobFile:
    """The fields of one job file, by the names of the flags, as a shell would give their values."""

    def __init__(self, name: str, text: str) -> None:
        """Read it. Raises `typer.BadParameter` for what is no mapping of fields to values."""
        self._name = name if name != STDIN else "standard input"
        self.values: dict[str, str | list[str]] = {}
        self.lines: dict[str, int] = {}
        for field, key, value in self._fields(text):
            if field in self.values:
                raise self.error(field, f"is there twice, in line {self.lines[field]} as well", _line(key))
            self.lines[field] = _line(key)
            self.values[field] = self._value(field, value)

    @classmethod
    def read(cls, path: str) -> JobFile:
        """Read a file, or standard input for `-`. Raises `typer.BadParameter`."""
        try:
            if path == STDIN:
                content = sys.stdin.buffer.read(BYTES_MAX + 1)
            else:
                with Path(path).open("rb") as file:
                    content = file.read(BYTES_MAX + 1)
            if len(content) > BYTES_MAX:
                raise typer.BadParameter(f"{path} has more than {BYTES_MAX} bytes", param_hint=OPTION)
            return cls(path, content.decode())
        except OSError as error:
            raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=OPTION) from None
        except UnicodeDecodeError:
            raise typer.BadParameter(f"{path} is not UTF-8", param_hint=OPTION) from None

    def error(self, field: str, message: str, line: int | None = None) -> typer.BadParameter:
        """What is wrong with a field, and where it stands."""
        at = line or self.lines[field]
        return typer.BadParameter(f"{self._name}:{at}: {field}: {message}", param_hint=OPTION)

    def defaults(self, context: typer.Context) -> dict[str, Any]:
        """The values by the names of the verb's parameters, checked as those of flags are.

        Raises:
            typer.BadParameter: there is no such flag, or it takes no such value.
        """
        params: dict[str, Any] = {_field(param): param for param in context.command.params}
        known = params.keys() - NO_FIELDS
        found = {}
        for field, value in self.values.items():
            if field not in known:
                near = difflib.get_close_matches(field.replace("_", "-"), known, n=1)
                raise self.error(field, f"is not a field of a job{f'; did you mean {near[0]}?' if near else ''}")
            param = params[field]
            several = param.multiple or param.nargs == -1
            if isinstance(value, list) != several:
                if not several:
                    raise self.error(field, "takes one value, not several")
                value = [str(value)]  # noqa: PLW2901 - as one flag gives one of several
            if field == "command" and isinstance(self.values[field], str):
                self._check_line(self.values[field])
            try:
                param.process_value(context, value)
            except typer.BadParameter as error:
                raise self.error(field, str(error.message)) from None
            found[param.name] = value
        return found

    def _check_line(self, command: Any) -> None:
        if len(command.split()) != 1 and self.values.get("shell") != "true":
            raise self.error("command", "expected a list of words, such as [echo, hello]; or a line, with shell: true")

    def _fields(self, text: str) -> Iterator[tuple[str, Any, Any]]:
        import yaml

        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            at = f":{mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or str(error)
            raise typer.BadParameter(f"{self._name}{at}: not YAML: {problem}", param_hint=OPTION) from None
        if not isinstance(root, yaml.MappingNode):
            raise typer.BadParameter(f"{self._name}: expected fields such as command: [sleep, 10]", param_hint=OPTION)
        for key, value in root.value:
            yield str(key.value), key, value

    def _value(self, field: str, node: Any) -> str | list[str]:
        if node.id == "mapping" and field in OF_PAIRS:
            return [f"{self._scalar(field, key)}={self._scalar(field, value)}" for key, value in node.value]
        if node.id == "sequence":
            return [self._scalar(field, each) for each in node.value]
        return self._scalar(field, node)

    def _scalar(self, field: str, node: Any) -> str:
        if node.id != "scalar" or node.tag.endswith(":null"):
            expected = "NAME: VALUE, or a list" if field in OF_PAIRS else "a value, or a list of values"
            raise self.error(field, f"expected {expected}", _line(node))
        return str(node.value)


def _field(param: Any) -> str:
    """What a flag is called in a job file: `--max-restarts` is `max-restarts`."""
    names = [name for name in param.opts if name.startswith("--")]
    return names[0].removeprefix("--") if names else str(param.name)


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def line_of(context: typer.Context, hint: str | Mapping[str, str] | None) -> tuple[JobFile, str] | None:
    """The job file in which an option was given, and the field; None where it was given on the command line."""
    file: JobFile | None = context.meta.get(OPTION)
    field = str(hint or "").removeprefix("--")
    if file is None or field not in file.lines:
        return None
    param = next((each for each in context.command.params if _field(each) == field), None)
    source = context.get_parameter_source(str(param.name)) if param is not None else None
    return (file, field) if source is not None and source.name == "DEFAULT_MAP" else None
