"""The command as a whole: what is typed wrongly is told in one line, as everything else that goes wrong is."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from mezzo.cli import exit_codes
from mezzo.cli.errors import print_error
from mezzo.cli.examples import VerbGroup

# Typer has click in it, or uses it, by its version: the class of all that may be wrong with words is reached by one of
# those that it exports.
_Refused: type[Exception] = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")
_HELP = "NoArgsIsHelpError"
_QUOTED = re.compile(r"'(-[\w-]+)'")


class MezzoGroup(VerbGroup):
    """The group of all verbs."""

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **more: Any) -> Any:  # type: ignore[override]
        """Run a verb, and end the program as it ends."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **more)
        try:
            code = super().main(args, standalone_mode=False, **more)
        except _Refused as error:
            _end(error)
        except typer.Abort:  # Ctrl-C, also instead of an answer to a question
            sys.exit(exit_codes.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _end(error: Any) -> NoReturn:
    """Say what is wrong, and where to read what would be right."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == _HELP and context is not None:
        print(context.get_help(), end="", file=sys.stderr)
        sys.exit(error.exit_code)
    message = _QUOTED.sub(r"\1", error.format_message().strip().rstrip("."))
    for words in ("Invalid value for ", "Invalid value: ", "Value error, "):
        message = message.replace(words, "")
    if message[1:2].islower():
        message = message[:1].lower() + message[1:]
    print_error(message if context is None else f"{message}; see {context.command_path} --help")
    sys.exit(error.exit_code)
