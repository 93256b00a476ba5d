"""Garbage collection of sandboxes: which ones have to go, and when. The deciding part touches no file.

A sandbox that nobody uses any more is kept for `gc_delay` since it was last written to; when the disk fills up, for
less. Source: docs/configuration/agent.md of apache/mesos, --gc_delay and --gc_disk_headroom.
"""

import asyncio
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mezzo.errors import shorten
from mezzo_agent.containers import sandbox

_log = structlog.get_logger(__name__)

RM = "/bin/rm"


def maximum_age_secs(gc_delay_secs: float, disk_headroom: float, disk_usage: float) -> float:
    """How old garbage may get: gc_delay × max(0, 1 − headroom − usage), both fractions of the disk."""
    return gc_delay_secs * max(0.0, 1.0 - disk_headroom - disk_usage)


def due(modified: Mapping[Path, float], now: float, age_secs: float) -> list[Path]:
    """The paths that have reached the age, oldest first. `modified` is in seconds since the epoch, as is `now`."""
    old = [(when, path) for path, when in modified.items() if now - when >= age_secs]
    return [path for _, path in sorted(old)]


@dataclass(slots=True)
class RemovalCounts:
    """What `gc/path_removals_*` in /metrics/snapshot show."""

    succeeded: int = 0
    failed: int = 0
    pending: int = 0


@dataclass(slots=True)
class GarbageCollector:
    """Remembers what is garbage, and removes it off the event loop when it is due.

    What is garbage is not written down: the agent says it again after a restart (`schedule`), and the age is that of
    the folder, which `retire` has set.
    """

    gc_delay_secs: float
    disk_headroom: float
    clock: Callable[[], float] = time.time
    counts: RemovalCounts = field(default_factory=RemovalCounts)
    _garbage: dict[Path, float] = field(default_factory=dict)

    def retire(self, path: Path) -> None:
        """The path has been in use until now, and is garbage from now on: its age begins at nothing. Never raises."""
        try:
            with suppress(FileNotFoundError):
                os.utime(path, (self.clock(), self.clock()), follow_symlinks=False)
        except OSError as error:
            _log.warning("cannot schedule a sandbox for removal", path=str(path), error=str(error))
        self.schedule(path)

    def schedule(self, path: Path) -> None:
        """The path is garbage, of the age that its modification time says. A missing one is none. Never raises."""
        try:
            self._garbage[path] = os.lstat(path).st_mtime
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("cannot read the age of a sandbox", path=str(path), error=str(error))
            self._garbage.pop(path, None)
        self.counts.pending = len(self._garbage)

    def schedule_all(self, paths: Iterable[Path]) -> None:
        for path in paths:
            self.schedule(path)

    def unschedule(self, path: Path) -> bool:
        """The path is in use again. True if it had been scheduled."""
        found = self._garbage.pop(path, None) is not None
        self.counts.pending = len(self._garbage)
        return found

    @property
    def scheduled(self) -> frozenset[Path]:
        return frozenset(self._garbage)

    async def collect(self, disk_usage: float) -> list[Path]:
        """Remove what is due while this fraction of the disk is used; return what was removed."""
        age = maximum_age_secs(self.gc_delay_secs, self.disk_headroom, disk_usage)
        removed = []
        for path in due(self._garbage, self.clock(), age):
            if path not in self._garbage:
                continue  # in use again since
            error = await asyncio.to_thread(_remove, path)
            if error is None:
                self.counts.succeeded += 1
                removed.append(path)
            else:
                self.counts.failed += 1
                _log.warning("cannot remove a sandbox", path=str(path), error=str(error))
            self._garbage.pop(path, None)
            self.counts.pending = len(self._garbage)
        return removed


def _remove(path: Path) -> Exception | None:
    """Remove a folder with all that is in it, following no link. Return what kept it from doing so."""
    try:
        with suppress(FileNotFoundError):
            _remove_tree(path)
        sandbox.prune(path)
    except Exception as error:  # noqa: BLE001  what a task left must not end the agent
        return error
    return None


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except (RecursionError, OSError) as error:
        # rmtree goes down with a call and a descriptor for each level, and a task may have made thousands.
        if isinstance(error, OSError) and error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        done = subprocess.run([RM, "-rf", "--", path], capture_output=True, text=True, check=False, env={})
        if done.returncode != 0:
            raise OSError(shorten(done.stderr.strip())) from None  # it complains of each file


def disk_usage(path: Path) -> float:
    """The fraction of the file system that is used, as a user without privileges sees it."""
    found = os.statvfs(path)
    usable = found.f_blocks - found.f_bfree + found.f_bavail
    return (found.f_blocks - found.f_bfree) / usable if usable else 0.0
