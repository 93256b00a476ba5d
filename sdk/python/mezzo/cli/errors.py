"""Failures of verbs: what a gateway refused, the exit code for it, and the line on standard error."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

from rich.text import Text

from mezzo.cli import exit_codes
from mezzo.cli.output import console, visible


class ApiError(Exception):
    """The cluster answered with an error; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def exit_code_of(error: ApiError) -> int:
    if error.status == HTTPStatus.NOT_FOUND:
        return exit_codes.NOT_FOUND
    unavailable = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
    return exit_codes.UNREACHABLE if error.status in unavailable else exit_codes.FAILED


def print_error(message: str) -> None:
    """Print what went wrong to standard error: one line, however long it is, with the message as it came."""
    _print(message, "red")


def print_note(message: str) -> None:
    """Print what is going on to standard error, where standard output is somebody else's."""
    _print(message, "yellow")


def without_credentials(text: str) -> str:
    """The text without passwords of addresses, such as that of `--api`."""
    if "@" not in text:
        return text
    from mezzo import confidential  # with protobuf, which takes a while to import

    return confidential.without_credentials(text)


def _print(message: str, colour: str) -> None:
    message = without_credentials(message)
    with suppress(OSError):  # a terminal that is gone: there is nobody to tell
        console(stderr=True).print(Text.assemble(("mezzo:", colour), " ", visible(" ".join(message.split()))))
