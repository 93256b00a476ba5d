"""The store of registries that stand for election: chunks of records in ZooKeeper.

Records are small and many, znodes are dear: so many records share a znode of about 100 KB. Every write is a transaction
that also checks that the leader's own node, its epoch, is still there; once its session is lost, a deposed leader's
write fails, whatever it believes.

    <path>/store/<table>/<four digits>      the chunk's records, each: key length, key, value length, value
"""

import asyncio
import struct
from collections.abc import Iterable, Sequence

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import (
    ConnectionLoss,
    KazooException,
    NoNodeError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
)

from mezzo_chassis.leadership import Epoch, ZooKeeperUrl
from mezzo_chassis.leadership.zookeeper import call
from mezzo_registry.core.records import TABLES, Write
from mezzo_registry.ports import Deposed, StoreError, Tables

CHUNK_BYTES_MAX = 100 * 1024
TRANSACTION_BYTES = 256 * 1024
"""A transaction that has grown beyond this takes no more groups. ZooKeeper refuses requests from 1 MB, and the largest
group (all roles, or a whole maintenance plan) has half of that."""
COMMIT_ATTEMPTS_MAX = 3
"""How often a transaction is tried whose connection breaks: it may be the transaction that breaks it."""
FOLDER = "store"

# The connection went before the answer came.
_LOST = (ConnectionLoss, OperationTimeoutError)
_LENGTHS = struct.Struct(">HI")


class Chunk:
    """One znode's records, as they were last written or are about to be."""

    def __init__(self, path: str, records: dict[str, bytes], *, stored: bool) -> None:
        self.path = path
        self.records = records
        self.stored = stored
        self.size_bytes = sum(_size(key, value) for key, value in records.items())

    def encode(self) -> bytes:
        """The znode's content."""
        parts: list[bytes] = []
        for key, value in self.records.items():
            name = key.encode()
            parts += (_LENGTHS.pack(len(name), len(value)), name, value)
        return b"".join(parts)


def _size(key: str, value: bytes) -> int:
    return _LENGTHS.size + len(key.encode()) + len(value)


def decode(content: bytes) -> dict[str, bytes]:
    """Parse a chunk's records.

    Raises:
        StoreError: the chunk is cut off.
    """
    records: dict[str, bytes] = {}
    position = 0
    while position < len(content):
        try:
            key_length, value_length = _LENGTHS.unpack_from(content, position)
        except struct.error as error:
            raise StoreError("a chunk of records is truncated") from error
        position += _LENGTHS.size
        end = position + key_length + value_length
        if end > len(content):
            raise StoreError("a chunk of records is truncated")
        records[content[position : position + key_length].decode()] = content[position + key_length : end]
        position = end
    return records


class ZooKeeperStore:
    """Records of one term. Its client is that of the candidate: store and leadership share a session."""

    def __init__(self, client: KazooClient, url: ZooKeeperUrl, epoch: Epoch) -> None:
        self._client = client
        self._url = url
        self._epoch = epoch
        self._chunks: dict[str, list[Chunk]] = {table: [] for table in TABLES}
        self._where: dict[tuple[str, str], Chunk] = {}

    def _folder(self, table: str) -> str:
        return f"{self._url.path}/{FOLDER}/{table}"

    async def open_term(self) -> Tables:
        """Return all records. Earlier leaders cannot write: their nodes, and with them their epochs, are gone."""
        try:
            for table in TABLES:
                await call(self._client.ensure_path_async, self._folder(table), acl=self._url.acl)
                await self._load(table)
        except KazooException as error:
            raise StoreError(f"ZooKeeper: {error!r}") from error
        return {
            table: {key: value for chunk in chunks for key, value in chunk.records.items()}
            for table, chunks in self._chunks.items()
        }

    async def _load(self, table: str) -> None:
        await call(self._client.sync_async, self._folder(table))
        names = sorted(await call(self._client.get_children_async, self._folder(table)))
        paths = [f"{self._folder(table)}/{name}" for name in names]
        contents = await asyncio.gather(*(call(self._client.get_async, path) for path in paths))
        for path, (content, _) in zip(paths, contents, strict=True):
            chunk = Chunk(path, decode(content), stored=True)
            self._chunks[table].append(chunk)
            for key in chunk.records:
                self._where[table, key] = chunk

    async def write(self, groups: Sequence[Sequence[Write]]) -> None:
        """Make groups durable, as many in one transaction as it holds."""
        dirty: dict[str, Chunk] = {}
        for group in groups:
            if sum(chunk.size_bytes for chunk in dirty.values()) > TRANSACTION_BYTES:
                await self._commit(dirty.values())
                dirty = {}
            dirty |= {chunk.path: chunk for chunk in self._apply(group)}
        if dirty:
            await self._commit(dirty.values())

    def _apply(self, group: Sequence[Write]) -> list[Chunk]:
        touched: list[Chunk] = []
        for write in group:
            where = (write.table, write.key)
            chunk = self._where.get(where)
            if write.value is None:
                if chunk is None:
                    continue
                del self._where[where]
                chunk.size_bytes -= _size(write.key, chunk.records.pop(write.key))
            else:
                if chunk is None:
                    chunk = self._where[where] = self._chunk_with_room(write.table, _size(write.key, write.value))
                else:
                    chunk.size_bytes -= _size(write.key, chunk.records[write.key])
                chunk.records[write.key] = write.value
                chunk.size_bytes += _size(write.key, write.value)
            touched.append(chunk)
        return touched

    def _chunk_with_room(self, table: str, size_bytes: int) -> Chunk:
        chunks = self._chunks[table]
        for chunk in reversed(chunks):
            if chunk.size_bytes + size_bytes <= CHUNK_BYTES_MAX:
                return chunk
        chunks.append(Chunk(f"{self._folder(table)}/{len(chunks):04d}", {}, stored=False))
        return chunks[-1]

    async def _commit(self, chunks: Iterable[Chunk]) -> None:
        """Write chunks in one transaction; again where the answer was lost with the connection.

        The session, and with it the leadership, may outlive a connection. A request that is made meanwhile waits in the
        client for the next one, or fails with the session.
        """
        chunks = list(chunks)
        for attempts_left in reversed(range(COMMIT_ATTEMPTS_MAX)):
            try:
                results = await call(self._transaction(chunks).commit_async)
                self._check(results)
                break
            except KazooException as error:
                if not isinstance(error, _LOST) or not attempts_left:
                    raise StoreError(f"ZooKeeper: {error!r}") from error
            # Whether it was carried out, nobody knows. Writing the same once more does no harm.
            await self._find_existing(chunks)
        for chunk in chunks:
            chunk.stored = True

    def _transaction(self, chunks: Iterable[Chunk]) -> TransactionRequest:
        transaction: TransactionRequest = self._client.transaction()
        transaction.check(self._epoch.path, -1)
        for chunk in chunks:
            if chunk.stored:
                transaction.set_data(chunk.path, chunk.encode())
            else:
                transaction.create(chunk.path, chunk.encode(), acl=self._url.acl)
        return transaction

    async def _find_existing(self, chunks: Iterable[Chunk]) -> None:
        """Find out which chunks were made after all."""
        try:
            for chunk in chunks:
                chunk.stored = chunk.stored or await call(self._client.exists_async, chunk.path) is not None
        except KazooException as error:
            raise StoreError(f"ZooKeeper: {error!r}") from error

    def _check(self, results: Sequence[object]) -> None:
        if isinstance(results[0], NoNodeError):
            raise Deposed(f"{self._epoch.path} is gone: another registry leads")
        failures = [one for one in results if isinstance(one, Exception)]
        for failure in failures:
            if not isinstance(failure, (RolledBackError, RuntimeInconsistency)):
                raise StoreError(f"ZooKeeper: {failure!r}") from failure
        if failures:
            raise StoreError(f"ZooKeeper: {failures[0]!r}")

    async def close(self) -> None:
        """Do nothing: the session is the candidate's."""
