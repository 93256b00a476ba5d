"""Files that were fetched once and are kept for the next task that wants them, up to a size.

A key (user and URI) is fetched by one caller at a time; others that want it meanwhile wait for the result. What is
being written or read is never evicted; otherwise the least recently used goes first. The cache starts empty: what it
knows is in memory, and a URI's content may have changed while nobody looked.
Source: docs/fetcher.md of apache/mesos.
"""

import asyncio
import hashlib
import shutil
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ENTRIES_MAX = 10_000
"""Files that are kept, however small they are: each takes an inode, and a kilobyte here."""


class CacheBypass(Exception):
    """The file cannot be kept; the message says why."""


@dataclass(slots=True, eq=False)
class _Entry:
    path: Path
    bytes: int = 0
    users: int = 0
    ready: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FetcherCache:
    """The folder belongs to the agent alone; nothing else may write to it."""

    def __init__(self, folder: Path, bytes_max: int, entries_max: int = ENTRIES_MAX) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._entries_max = entries_max
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def clear(self) -> None:
        """Empties the folder: call it once, before the first use."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, mode=0o700)

    @property
    def bytes_used(self) -> int:
        return sum(entry.bytes for entry in self._entries.values())

    @asynccontextmanager
    async def hold(
        self,
        user: str,
        uri: str,
        size: Callable[[], Awaitable[int | None]],
        download: Callable[[Path, int], Awaitable[int]],
    ) -> AsyncIterator[Path]:
        """Enter a context in which the cached file stays.

        Where it is missing, `size` says how many bytes it will have (None: unknown), and `download(path, bytes_max)`
        writes it and returns how many it had. What these two raise goes through.

        Raises:
            CacheBypass: the file cannot be in the cache, and is to be fetched without it.
        """
        key = (user, uri)
        entry = self._entries.get(key)
        if entry is None:
            name = hashlib.sha256(f"{user}\0{uri}".encode()).hexdigest()
            entry = self._entries[key] = _Entry(self._folder / name)
        self._entries.move_to_end(key)
        entry.users += 1
        try:
            async with entry.lock:
                if not entry.ready:
                    await self._fill(entry, await size(), download)
            yield entry.path
        finally:
            entry.users -= 1
            if entry.users == 0 and not entry.ready:
                self._drop(key)

    async def _fill(self, entry: _Entry, expected: int | None, download: Callable[[Path, int], Awaitable[int]]) -> None:
        if expected is None:
            raise CacheBypass("size is unknown before the download")
        self._make_room(expected)
        entry.bytes = expected  # reserved while it is under way
        try:
            entry.bytes = await download(entry.path, expected)
        except BaseException:
            entry.bytes = 0
            entry.path.unlink(missing_ok=True)
            raise
        entry.ready = True

    def _make_room(self, wanted: int) -> None:
        """Evict what is idle until a file of so many bytes fits; it has an entry already."""
        missing = self.bytes_used + wanted - self._bytes_max
        surplus = len(self._entries) - self._entries_max
        idle = [(key, entry.bytes) for key, entry in self._entries.items() if entry.users == 0]
        if missing > sum(size for _, size in idle):
            raise CacheBypass(f"{wanted} bytes exceed the free space of the cache of {self._bytes_max} bytes")
        if surplus > len(idle):
            raise CacheBypass(f"the cache is full: {self._entries_max} files are in use")
        for key, size in idle:
            if missing <= 0 and surplus <= 0:
                return
            self._drop(key)
            missing -= size
            surplus -= 1

    def _drop(self, key: tuple[str, str]) -> None:
        self._entries.pop(key).path.unlink(missing_ok=True)
