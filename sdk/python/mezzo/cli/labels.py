"""Labels of tasks, as `-l` and `--label` take them: `tier=front`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer


def pair(text: str, option: str) -> tuple[str, str]:
    """`NAME=VALUE` as it is given to a task. Raises `typer.BadParameter`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r}: expected NAME=VALUE", param_hint=option)
    return name, value


def selector(texts: Iterable[str], option: str = "--label") -> dict[str, str | None]:
    """What tasks have to have: `NAME=VALUE`, or `NAME` alone with any value. Raises `typer.BadParameter`."""
    wanted: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise typer.BadParameter(f"{text!r}: expected NAME=VALUE, or NAME", param_hint=option)
        wanted[name] = value if equals else None
    return wanted


def match(wanted: Mapping[str, str | None], labels: Sequence[Mapping[str, Any]]) -> bool:
    """Whether labels, as the cluster tells them, have all that is wanted."""
    has = {(str(each["key"]), str(each.get("value", ""))) for each in labels}
    names = {name for name, _ in has}
    return all(name in names if value is None else (name, value) in has for name, value in wanted.items())
