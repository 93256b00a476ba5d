"""Logs of tasks where people read: as they are, or line by line, each after the task and the stream that it is of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import BinaryIO

from rich.style import Style

from mezzo.cli.output import console, visible

COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")
"""Of tasks, in turn."""
LINE_BYTES_MAX = 64 * 1024
"""Of a line that is held back until its end comes."""

Write = Callable[[bytes], None]


def raw(stream: str) -> Write:
    """Write a log as it is to the stream of this process that it was one of the task's."""
    out = _out(stream)

    def write(piece: bytes) -> None:
        out.write(piece)
        out.flush()

    return write


class Lines:
    """Writes whole lines of a log, each with a prefix, so that those of several tasks do not run into each other."""

    def __init__(self, stream: str, prefix: str, number: int) -> None:
        """Lines of a task's `stream`; `number` says which of several tasks it is, for its colour."""
        self._out = _out(stream)
        self._prefix = _coloured(visible(prefix), COLOURS[number % len(COLOURS)], stream) + b" "
        self._begun = b""

    def write(self, piece: bytes) -> None:
        """Take a piece of the log; what is no whole line yet is written when it is one."""
        *whole, self._begun = (self._begun + piece).split(b"\n")
        if len(self._begun) > LINE_BYTES_MAX:
            whole.append(self._begun)
            self._begun = b""
        for line in whole:
            self._out.write(self._prefix + line + b"\n")
        if whole:
            self._out.flush()

    def close(self) -> None:
        """Write what was left without an end."""
        if self._begun:
            self.write(b"\n")


def prefix(task: str, stream: str) -> str:
    """`[task]` before a line of its stdout, `[task stderr]` before one of the other."""
    return f"[{task}]" if stream == "stdout" else f"[{task} {stream}]"


def _out(stream: str) -> BinaryIO:
    return (sys.stderr if stream == "stderr" else sys.stdout).buffer


def _coloured(text: str, colour: str, stream: str) -> bytes:
    """In colour where a terminal takes it (see no-color.org for who wants none)."""
    system = console(stderr=stream == "stderr")._color_system  # noqa: SLF001 - as rich renders it
    return Style(color=colour).render(text, color_system=system).encode()
