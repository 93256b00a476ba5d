"""The store of a registry that leads alone: one SQLite file.

WAL and synchronous=FULL: what `write` has returned from survives the power cord. The connection lives on a thread of
its own. A lock on a file beside it refuses a second registry, and leaves readers alone: a backup can be made meanwhile.
"""

import asyncio
import contextlib
import fcntl
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from mezzo import private_files
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.log import get_logger
from mezzo_registry.adapters import sqlite_wal
from mezzo_registry.core.records import TABLES, Write
from mezzo_registry.ports import StoreError, Tables

SCHEMA_VERSION = 2
"""1 had no checksums."""
BUSY_TIMEOUT_SECONDS = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID
"""

_WRITE = """
INSERT INTO records VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum
"""

T = TypeVar("T")

log = get_logger(__name__)


def checksum(bucket: str, key: str, value: bytes) -> int:
    """Compute the checksum of a row: SQLite checks its pages, but not whether a byte of a value has changed."""
    return zlib.crc32(f"{bucket}\0{key}\0".encode() + value)


class SqliteStore:
    """Records in an SQLite file that nobody else uses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._connection: sqlite3.Connection | None = None
        self._lock: IO[bytes] | None = None

    async def open(self) -> None:
        """Open or make the file.

        Raises:
            StartupError: it cannot be written, another process has it, it is damaged, or not of this version of Mezzo.
        """
        try:
            self._connection = await self._on_thread(self._connect)
        except OSError as error:
            raise StartupError(Exit.UNWRITABLE, f"cannot write to {self._path.parent}: {error}") from error
        except sqlite3.Error as error:
            raise self._startup_error(error) from error

    def _startup_error(self, error: sqlite3.Error) -> StartupError:
        match getattr(error, "sqlite_errorcode", None):
            case sqlite3.SQLITE_BUSY:
                return StartupError(Exit.UNWRITABLE, f"another process uses {self._path}; give each registry its own")
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return StartupError(
                    Exit.INCOMPATIBLE_STATE, f"{self._path} is damaged, or is not a SQLite file: {error}"
                )
        return StartupError(Exit.UNWRITABLE, f"cannot use {self._path}: {error}")

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=private_files.FOLDER_MODE, parents=True, exist_ok=True)
        lock = self._sibling(".lock")
        private_files.make_file(lock)
        self._lock = lock.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartupError(Exit.UNWRITABLE, f"another registry uses {self._path}") from error
        self._examine_log()
        private_files.make_file(self._path)  # SQLite gives those that it makes beside it the same mode
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.create_function("checksum", 3, checksum, deterministic=True)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StartupError(Exit.INCOMPATIBLE_STATE, f"{self._path} was written by a later version of Mezzo")
            self._check(connection, version)
            for file in (self._path, lock, self._sibling("-wal"), self._sibling("-shm")):
                private_files.close_to_others(file)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute(_SCHEMA)
            if version == 1:
                connection.execute("ALTER TABLE records ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
                connection.execute("UPDATE records SET checksum = checksum(bucket, key, value)")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _examine_log(self) -> None:
        """Raise a `StartupError` where SQLite would drop transactions in silence; keep a copy of what it may drop."""
        log_file = self._sibling("-wal")
        try:
            finding = sqlite_wal.examine(log_file.read_bytes())
        except FileNotFoundError:
            return
        if finding.damage:
            raise StartupError(
                Exit.INCOMPATIBLE_STATE,
                f"{log_file} is damaged: {finding.damage}; restore a backup, or move it away to start without it",
            )
        if finding.torn_bytes:
            copy = self._sibling("-wal-torn")
            copy.unlink(missing_ok=True)
            private_files.make_file(copy)
            shutil.copyfile(log_file, copy)
            log.warning(
                "write-ahead log ends with an unfinished transaction; kept a copy of the log",
                store=str(self._path),
                torn_bytes=finding.torn_bytes,
                copy=str(copy),
            )

    def _sibling(self, ending: str) -> Path:
        return self._path.with_name(f"{self._path.name}{ending}")

    def _check(self, connection: sqlite3.Connection, version: int) -> None:
        """Raise a `StartupError` for a file that is another program's, or is damaged."""
        (found,) = connection.execute("SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'").fetchone()
        if found != ("records" if version else None):
            what = f"holds {found}" if found else "is empty"
            raise StartupError(Exit.INCOMPATIBLE_STATE, f"{self._path} is not a registry's store: it {what}")
        # A second reads gigabytes, and what cannot be read would end term after term.
        (damage,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise StartupError(Exit.INCOMPATIBLE_STATE, f"{self._path} is damaged: {damage}")
        if version < SCHEMA_VERSION:
            return
        wrong = connection.execute(
            "SELECT bucket, key FROM records WHERE checksum <> checksum(bucket, key, value) LIMIT 1"
        ).fetchone()
        if wrong:
            what = f"the record {wrong[1]!r} of {wrong[0]!r} does not match its checksum"
            raise StartupError(Exit.INCOMPATIBLE_STATE, f"{self._path} is damaged: {what}")

    async def open_term(self) -> Tables:
        """Return all records. There is no other leader to shut out."""
        return await self._guarded(self._load)

    def _load(self) -> Tables:
        tables: dict[str, dict[str, bytes]] = {table: {} for table in TABLES}
        for bucket, key, value in self._open().execute("SELECT bucket, key, value FROM records"):
            tables.setdefault(bucket, {})[key] = value
        return tables

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        """Make writes durable, in one transaction."""
        await self._guarded(lambda: self._write(groups))

    def _write(self, groups: Sequence[Sequence[Write]]) -> None:
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for write in (one for group in groups for one in group):
                if write.value is None:
                    connection.execute("DELETE FROM records WHERE bucket = ? AND key = ?", (write.table, write.key))
                else:
                    connection.execute(
                        _WRITE, (write.table, write.key, write.value, checksum(write.table, write.key, write.value))
                    )
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # the transaction may be gone already; the first error counts
                connection.execute("ROLLBACK")
            raise

    async def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._on_thread(connection.close)
        if self._lock is not None:
            self._lock.close()
        self._thread.shutdown()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self._path} is not open")
        return self._connection

    async def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return await self._on_thread(work)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
