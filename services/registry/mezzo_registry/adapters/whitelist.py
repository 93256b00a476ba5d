"""The whitelist of agents: a file with a host name a line, read again when it changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.log import get_logger
from mezzo_registry.core import events

WATCH_SECONDS = 5.0
"""How often somebody looks whether the file has changed; as in Mesos."""

log = get_logger(__name__)

Version = tuple[int, int, int]
"""What is different once the file was written: inode, size, time of the last change."""


class Whitelist:
    """Which agents may be offered. A file that cannot be read any longer changes nothing."""

    def __init__(self, path: Path, watch_seconds: float = WATCH_SECONDS) -> None:
        self._path = path
        self._watch_seconds = watch_seconds
        self._version: Version | None = None
        self.hostnames: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Read it for the first time.

        Raises:
            StartupError: it cannot be read. Nobody knows then whom to offer.
        """
        try:
            await self._read()
        except (OSError, UnicodeDecodeError) as error:
            raise StartupError(Exit.BAD_CONFIGURATION, f"--whitelist: cannot read {self._path}: {error}") from error

    async def follow(self, post: Callable[[events.WhitelistUpdated], None]) -> None:
        """Until cancelled: post an event whenever the list has changed."""
        logged = ""
        while True:
            await asyncio.sleep(self._watch_seconds)
            before = self.hostnames
            try:
                await self._read()
            except (OSError, UnicodeDecodeError) as error:
                if str(error) != logged:
                    log.warning("cannot read the whitelist; keeping the previous one", error=str(error))
                logged = str(error)
                continue
            logged = ""
            if self.hostnames != before:
                post(events.WhitelistUpdated(self.hostnames))

    async def _read(self) -> None:
        version, hostnames = await asyncio.to_thread(self._load, self._version)
        self._version = version
        if hostnames is not None:
            self.hostnames = hostnames

    def _load(self, known: Version | None) -> tuple[Version, frozenset[str] | None]:
        """Return the file's version, and what is in it when that is not the version that is known."""
        status = self._path.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if version == known:
            return version, None
        lines = (line.strip() for line in self._path.read_text(encoding="utf-8").splitlines())
        return version, frozenset(line for line in lines if line and not line.startswith("#"))
