"""The disks of all hosts: real files, on which writes are refused, or cut short when the power goes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mezzo_chassis.errors import StartupError
from tests.simulation.loop import SimulatedLoop

_pwrite = os.pwrite


class PowerLost(BaseException):
    """The process died while it wrote."""


class Disk:
    """Writes through. Which process writes says whose disk it is."""

    def __init__(self, loop: SimulatedLoop, chooser: random.Random) -> None:
        self._loop = loop
        self._random = chooser
        self.full_until: dict[str, float] = {}
        """By host: nothing can be written to its disk before. Loop time."""
        self.writes = 0
        self.refused = 0
        self._bytes_left: int | None = None

    def pwrite(self, descriptor: int, data: Any, position: int) -> int:
        self.writes += 1
        if self._bytes_left is not None:
            _pwrite(descriptor, memoryview(data)[: self._bytes_left], position)
            raise PowerLost
        if self.full_until.get(self._loop.process.host, 0.0) > self._loop.time():
            self.refused += 1
            if self._random.random() < 0.5:
                _pwrite(descriptor, memoryview(data)[: self._random.randint(0, len(data))], position)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _pwrite(descriptor, data, position)

    def sync(self, _descriptor: int) -> None:
        """What was written is on the disk: nothing simulated loses it."""

    def lose_power(self, work: Callable[[], Any]) -> None:
        """The process died during this work, or just before, or just after it. What it says is lost."""
        when = self._random.randrange(4)
        if when == 0:
            return
        self._bytes_left = None if when == 1 else self._random.randrange(400)
        try:
            work()
        except (PowerLost, OSError, StartupError):
            pass
        finally:
            self._bytes_left = None


def tear(file: Path, chooser: random.Random) -> None:
    """Bytes behind what was written that are no part of it. The file may go on with zeros."""
    written = len(file.read_bytes().rstrip(b"\0"))
    with file.open("r+b") as opened:
        opened.seek(written)
        opened.write(chooser.randbytes(chooser.randint(1, 200)))


def damage(file: Path, chooser: random.Random) -> bool:
    """Turn some bits over of what was written. Returns whether there were any."""
    data = bytearray(file.read_bytes())
    written = len(data.rstrip(b"\0"))
    if written < 64:
        return False
    for _ in range(chooser.randint(1, 4)):
        data[chooser.randrange(40, written)] ^= 1 << chooser.randrange(8)
    file.write_bytes(data)
    return True
