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
_QUOTED = re.compile(r"'(--[\w-]+|-[A-Za-z])'")
# The argument that a message is about stands at its beginning, with or without quotation marks.
_HINT = re.compile(r"\A'([^' ]+)'(?=: )")
_INPUT = re.compile(r"Input should be (a valid )?([^,]+)(?:, unable to parse .*)?\Z")
_NO_COMMAND = re.compile(r"\ANo such command '(\w+)'.*", re.DOTALL)
# What people from other tools type, and the verb for it here.
ELSEWHERE = {
    **dict.fromkeys(("alloc", "allocs", "pod", "pods", "ps", "task", "top"), "tasks"),
    **dict.fromkeys(("agent-info", "node", "nodes", "slaves"), "agents"),
    **dict.fromkeys(("cluster-info", "info"), "status"),
    **dict.fromkeys(("cp", "download"), "get"),
    **dict.fromkeys(("delete", "rm", "terminate"), "kill"),
    **dict.fromkeys(("cordon", "drain", "uncordon"), "maintenance"),
    **dict.fromkeys(("apply", "create", "plan", "submit"), "run"),
    **dict.fromkeys(("explain", "eval"), "why"),
    **dict.fromkeys(("inspect", "show"), "describe"),
    "config": "context",
    "job": "runs",
    "jobs": "runs",
    "log": "logs",
    "server": "members",
}


class MezzoGroup(VerbGroup):
    """The group of all verbs."""

    def main(self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **more: Any) -> Any:  # type: ignore[override]
        """Run a verb, and end the program as it ends."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **more)
        try:
            code = super().main(args, standalone_mode=False, **more)
        except _Refused as error:
            _end(error, self._verb_of(sys.argv[1:] if args is None else args))
        except typer.Abort:  # Ctrl-C, also instead of an answer to a question
            sys.exit(exit_codes.INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)

    def _verb_of(self, words: Sequence[str]) -> str:
        """The verb that is typed, as in `mezzo describe task`."""
        group: Any = self
        path = [str(self.name)]
        for word in words:
            found = getattr(group, "commands", {}).get(word)
            if found is not None:
                path.append(word)
                group = found
        return " ".join(path)


def _end(error: Any, verb: str) -> NoReturn:
    """Say what is wrong, and where to read what would be right: of the verb that was typed, or of part of it."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == _HELP:  # The help is printed when such an error is made.
        sys.exit(error.exit_code)
    message = error.format_message().strip()
    if context is not None and context.parent is None:
        message = _NO_COMMAND.sub(_no_command, message)
    message = _QUOTED.sub(r"\1", message.rstrip("."))
    for words in ("Invalid value for ", "Invalid value: ", "Value error, "):
        message = message.replace(words, "")
    message = _INPUT.sub(r"must be \1\2", _HINT.sub(r"\1", message))
    if message[1:2].islower():
        message = message[:1].lower() + message[1:]
    print_error(f"{message}; see {verb if context is None else context.command_path} --help")
    sys.exit(error.exit_code)


def _no_command(refused: re.Match[str]) -> str:
    """What is said of a verb that there is not: what people from another tool mean by it, or else what is like it."""
    meant = ELSEWHERE.get(refused[1])
    return refused[0] if meant is None else f"No such command '{refused[1]}'; the verb here is mezzo {meant}"
