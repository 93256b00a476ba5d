"""Puts what a command's URIs name into its sandbox before the command runs.

http:// and https://, file://, absolute paths, and paths relative to --frameworks_home; the flags `executable`,
`extract`, `cache` and `output_file` of CommandInfo.URI. Source: docs/fetcher.md of apache/mesos.

URIs of one command are fetched one after another, those of different commands at the same time. Files are read and
written with the rights of the task's user. Each outcome is a line in the sandbox's stderr, where its owner looks.
"""

import asyncio
import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import aiohttp
import structlog

from mesos.v1.mesos_pb2 import CommandInfo
from mezzo.confidential import without_credentials
from mezzo_agent.adapters.users import Credentials
from mezzo_agent.fetching.archives import ArchiveError, is_archive, shown
from mezzo_agent.fetching.budget import Budget, TooLarge
from mezzo_agent.fetching.confined import ConfinedFolder, OutsideError, parts_of
from mezzo_agent.fetching.fetcher_cache import ENTRIES_MAX, CacheBypass, FetcherCache
from mezzo_agent.fetching.identity import FileWorker
from mezzo_agent.fetching.unpacking import Unpacker, UnpackLimits

_log = structlog.get_logger(__name__)

CHUNK_BYTES = 1 << 20
FETCH_BYTES_MAX = 64 << 30
"""The most that one URI may bring into a sandbox, as it comes and again unpacked."""
REDIRECTS_MAX = 20
NAME_BYTES_MAX = 255


class FetchError(Exception):
    """A URI could not be fetched; the message names it and says why."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(without_credentials(f"cannot fetch '{uri}': {reason}"))
        self.uri = uri
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Source:
    """Where a URI leads: a URL for the HTTP client, or a file of this machine."""

    url: str | None = None
    file: Path | None = None


def locate(uri: str, frameworks_home: Path | None) -> Source:
    """Find out where a URI leads.

    Raises:
        FetchError: nothing here can follow it.
    """
    if "\0" in (unquote(uri) if uri.startswith("file:") else uri):
        raise FetchError(uri, "must not contain a null character")
    if "://" not in uri:
        path = Path(uri)
        if not path.is_absolute():
            if frameworks_home is None:
                raise FetchError(uri, "relative path, and --frameworks_home is not set")
            path = frameworks_home / path
        return Source(file=path)
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise FetchError(uri, str(error)) from None
    if parts.scheme in ("http", "https"):
        if not parts.hostname:
            raise FetchError(uri, "host name is required")
        return Source(url=uri)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise FetchError(uri, f"host of a file URI must be empty or localhost, not '{parts.netloc}'")
        return Source(file=Path(unquote(uri.removeprefix("file://").removeprefix(parts.netloc))))
    raise FetchError(uri, f"unknown scheme '{parts.scheme}'; supported are http, https and file")


def name_of(uri: str) -> str:
    """What a file is called in the sandbox unless its `output_file` says so: what follows the URI's last slash.

    As in Mesos a query belongs to the name, and with it to the question whether this is an archive.
    Source: Fetcher::basename in src/slave/containerizer/fetcher.cpp of apache/mesos.

    Raises:
        FetchError: nothing follows it, or it is too long for a name.
    """
    path = uri.partition("://")[2] if "://" in uri else uri
    _, slash, name = path.rpartition("/")
    if uri.startswith("file://"):
        name = unquote(name)
    if name in ("", ".", "..") or ("://" in uri and not slash):
        raise FetchError(uri, "path has no file name")
    if len(os.fsencode(name)) > NAME_BYTES_MAX:
        raise FetchError(uri, f"file name has more than {NAME_BYTES_MAX} bytes")
    return name


class Fetcher:
    """One for each agent. Call `open` before the first fetch, `close` after the last."""

    def __init__(
        self,
        cache_dir: Path,
        cache_bytes_max: int,
        stall_timeout_secs: float,
        frameworks_home: Path | None = None,
        bytes_max: int = FETCH_BYTES_MAX,
        unpack_limits: UnpackLimits | None = None,
        cache_entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._cache = FetcherCache(cache_dir, cache_bytes_max, cache_entries_max)
        self._stall_timeout_secs = stall_timeout_secs
        self._frameworks_home = frameworks_home
        self._bytes_max = bytes_max
        self._unpacker = Unpacker(unpack_limits or UnpackLimits(bytes_max))
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        await asyncio.to_thread(self._cache.clear)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def cache_bytes_used(self) -> int:
        return self._cache.bytes_used

    async def fetch(
        self, uris: Iterable[CommandInfo.URI], sandbox: Path, user: str, credentials: Credentials | None
    ) -> None:
        """Fetch all of them, in order.

        `user` is whose cache it is; `credentials`, where the agent is root, whose rights count.

        Raises:
            FetchError: one of them failed; those after it are not fetched.
        """
        async with FileWorker(credentials) as worker:
            for uri in uris:
                try:
                    await self._fetch_one(uri, worker, sandbox, user, credentials)
                except FetchError as error:
                    await worker.run(_append_to_stderr, sandbox, str(error))
                    raise
                except (aiohttp.ClientError, ArchiveError, OutsideError, TooLarge, OSError) as error:
                    failure = FetchError(uri.value, _reason(error, self._stall_timeout_secs))
                    await worker.run(_append_to_stderr, sandbox, str(failure))
                    raise failure from error
                await worker.run(_append_to_stderr, sandbox, f"fetched '{without_credentials(uri.value)}'")

    async def _fetch_one(
        self, uri: CommandInfo.URI, worker: FileWorker, sandbox: Path, user: str, credentials: Credentials | None
    ) -> None:
        source = locate(uri.value.lstrip(), self._frameworks_home)
        if uri.output_file.startswith("/"):
            raise FetchError(uri.value, f"output_file must be a relative path, not '{uri.output_file}'")
        target = uri.output_file or name_of(uri.value)
        delivery = _Delivery(sandbox, parts_of(target), uri.executable, uri.extract)

        async def size() -> int | None:
            return await self._size(source, worker)

        async def download(path: Path, expected: int) -> int:
            with path.open("wb", buffering=0) as file:
                try:
                    return await self._transfer(source, worker, file.fileno(), expected)
                except TooLarge:
                    raise CacheBypass("content is larger than announced") from None

        if uri.cache:
            try:
                async with self._cache.hold(user, uri.value, size, download) as cached:
                    with cached.open("rb") as file:
                        if delivery.unpacks:
                            await self._unpack(file.fileno(), delivery, credentials)
                        else:
                            await worker.run(delivery.copy, file, Budget(self._bytes_max, worker.unwanted))
                    return
            except CacheBypass as bypass:
                _log.info("fetching without the cache", uri=without_credentials(uri.value), reason=str(bypass))
        descriptor = await worker.run(delivery.create)
        try:
            await self._transfer(source, worker, descriptor, self._bytes_max)
        finally:
            os.close(descriptor)
        if delivery.unpacks:
            descriptor = await worker.run(delivery.open)
            try:
                await self._unpack(descriptor, delivery, credentials)
            finally:
                os.close(descriptor)

    async def _unpack(self, archive: int, delivery: "_Delivery", credentials: Credentials | None) -> None:
        await self._unpacker.unpack(archive, "/".join(delivery.target), delivery.sandbox, credentials)

    async def _size(self, source: Source, worker: FileWorker) -> int | None:
        """How many bytes the source has, or None if it does not say."""
        if source.file is not None:
            return await worker.run(_file_size, source.file)
        try:
            async with (
                self._progress(),
                self._http().head(str(source.url), allow_redirects=True, max_redirects=REDIRECTS_MAX) as answer,
            ):
                return (answer.content_length or None) if answer.ok else None
        except (aiohttp.ClientError, TimeoutError):
            return None  # the download itself will say what is wrong

    async def _transfer(self, source: Source, worker: FileWorker, out: int, bytes_max: int) -> int:
        budget = Budget(bytes_max, worker.unwanted)
        if source.file is not None:
            await worker.run(_copy_file, source.file, out, budget)
            return budget.spent
        async with self._progress():
            answer = await self._http().get(str(source.url), max_redirects=REDIRECTS_MAX)
        async with answer:
            if answer.status != 200:
                raise FetchError(str(source.url), f"the server answered {answer.status} {shown(answer.reason or '')}")
            while chunk := await self._next_chunk(answer):
                budget.spend(len(chunk))
                await worker.run(_write_all, out, chunk)
        return budget.spent

    async def _next_chunk(self, answer: aiohttp.ClientResponse) -> bytes:
        async with self._progress():
            return await answer.content.read(CHUNK_BYTES)

    def _progress(self) -> asyncio.Timeout:
        """What must come to an end: the session's own timeouts are content with bytes that are none of the file's."""
        return asyncio.timeout(self._stall_timeout_secs)

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=self._stall_timeout_secs, sock_read=self._stall_timeout_secs
            )
            # The bytes as they are: nothing is compressed for the way alone, and `a.tar.gz` must not arrive unpacked
            # because a server calls that an encoding. And nothing of one task's session for the next.
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Where a URI's content goes in the sandbox, and as what. Its methods run in the task's name, in a thread."""

    sandbox: Path
    target: tuple[str, ...]
    executable: bool
    extract: bool

    @property
    def unpacks(self) -> bool:
        return self.extract and not self.executable and is_archive(self.target[-1])

    def create(self) -> int:
        with ConfinedFolder(self.sandbox) as inside:
            return inside.create_file(self.target, 0o755 if self.executable else 0o644)

    def open(self) -> int:
        with ConfinedFolder(self.sandbox) as inside:
            return inside.open_file(self.target)

    def copy(self, file: IO[bytes], budget: Budget) -> None:
        descriptor = self.create()
        try:
            _copy(file.fileno(), descriptor, budget)
        finally:
            os.close(descriptor)


def _open_source(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _file_size(path: Path) -> int:
    descriptor = _open_source(path)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _copy_file(path: Path, out: int, budget: Budget) -> None:
    descriptor = _open_source(path)
    try:
        _copy(descriptor, out, budget)
    finally:
        os.close(descriptor)


def _copy(source: int, out: int, budget: Budget) -> None:
    while count := os.sendfile(out, source, budget.spent, CHUNK_BYTES):
        budget.spend(count)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _append_to_stderr(sandbox: Path, line: str) -> None:
    """Add a line to the sandbox's stderr."""
    try:
        with ConfinedFolder(sandbox) as inside:
            descriptor = inside.append_file(("stderr",))
        try:
            _write_all(descriptor, f"{line}\n".encode(errors="replace"))
        finally:
            os.close(descriptor)
    except (OSError, OutsideError) as error:
        _log.warning("cannot write to a sandbox's stderr", sandbox=str(sandbox), line=line, error=str(error))


def _reason(error: Exception, stall_timeout_secs: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no data received for {stall_timeout_secs:g} seconds"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, aiohttp.ClientError):
        return f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror
    if isinstance(error, aiohttp.TooManyRedirects):
        last = error.history[-1].headers.get("Location", "")
        return f"redirected {len(error.history)} times (the maximum is {REDIRECTS_MAX}), last to '{shown(last)}'"
    if isinstance(error, aiohttp.NonHttpUrlClientError):
        return f"redirected to '{shown(str(error))}', which is not HTTP"
    return str(error) or type(error).__name__
