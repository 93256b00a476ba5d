"""Files of environment variables, as `--env-file` takes them: a line for each, NAME=VALUE."""

from __future__ import annotations

import os
from pathlib import Path

import typer

OPTION = "--env-file"


def read(path: str) -> list[str]:
    """`NAME=VALUE` of each line; a name alone has the value that it has here, if any. `#` begins a comment.

    Raises:
        typer.BadParameter: it cannot be read, or a line names no variable.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint=OPTION) from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{path} is not UTF-8", param_hint=OPTION) from None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = line.lstrip().rstrip("\r").partition("=")
        if not name.strip() or len(name.split()) > 1:
            raise typer.BadParameter(f"{path}:{number}: expected NAME=VALUE, or NAME", param_hint=OPTION)
        if equals:
            found.append(f"{name.strip()}={value}")
        elif name.strip() in os.environ:
            found.append(f"{name.strip()}={os.environ[name.strip()]}")
    return found
