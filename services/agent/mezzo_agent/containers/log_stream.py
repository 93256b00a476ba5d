"""A log as the one stream that its task has written, wherever rotation has put the parts of it."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from mezzo.errors import NotFound
from mezzo_agent.containers.logs import ROTATING, bytes_cut

PIECES_MAX = 1000
"""More pieces of a log are not looked through: rotation keeps a few."""


@dataclass(frozen=True, slots=True)
class LogPart:
    """Some bytes, which begin at `position`; the task has written `end` by now.

    Positions count from the first byte that the task ever wrote.
    """

    data: bytes
    position: int
    end: int


def read(open_file: Callable[[str], BinaryIO], name: str, position: int, length: int) -> LogPart:
    """Up to `length` bytes at `position`, or the oldest that are kept where those are gone. Fewer are not the end.

    `open_file` opens a file of the sandbox by its name and raises NotFound. Blocks. Raises what `open_file` raises for
    the log itself.
    """
    with ROTATING, ExitStack() as opened:
        piece = opened.enter_context(open_file(name))
        begin = bytes_cut(piece.fileno())
        end = begin + _size(piece)
        number = 0
        while position < begin and number < PIECES_MAX:
            number += 1
            try:
                older = open_file(f"{name}.{number}")
            except NotFound:
                break
            # One at a time: the folder is the task's, who may have put any number of them there.
            opened.close()
            piece = opened.enter_context(older)
            begin -= _size(piece)
        position = max(position, begin)
        return LogPart(os.pread(piece.fileno(), length, position - begin), position, end)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
