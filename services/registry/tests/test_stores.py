"""Both stores, against the real thing: an SQLite file, and a ZooKeeper."""

import asyncio
import contextlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.leadership import Contender, Leadership, ZooKeeperUrl
from mezzo_chassis.testing import Wire, ZooKeeperServer, zookeeper_missing
from mezzo_registry.adapters import zookeeper_store
from mezzo_registry.adapters.sqlite_store import SqliteStore
from mezzo_registry.adapters.zookeeper_store import ZooKeeperStore
from mezzo_registry.core import records
from mezzo_registry.core.records import ADMITTED, MAINTENANCE, UNREACHABLE, WEIGHTS, Write
from mezzo_registry.ports import Deposed, Store, StoreError

PATIENCE_SECONDS = 20.0
needs_zookeeper = pytest.mark.skipif(zookeeper_missing() is not None, reason=zookeeper_missing() or "")


async def leads(contender: Contender) -> Leadership:
    """Wait until the contender leads."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for leadership in contender.changes():
            if leadership.leading:
                return leadership
    raise AssertionError("changes ended")


async def stand(url: ZooKeeperUrl) -> Contender:
    contender = Contender(url, b"{}", session_timeout_seconds=4)
    await contender.start()
    return contender


async def store_of(contender: Contender, url: ZooKeeperUrl) -> ZooKeeperStore:
    leadership = await leads(contender)
    assert leadership.epoch is not None
    return ZooKeeperStore(contender.client, url, leadership.epoch)


@pytest.fixture(params=["sqlite", pytest.param("zookeeper", marks=needs_zookeeper)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of either kind."""
    if request.param == "sqlite":
        sqlite = SqliteStore(tmp_path / "store.sqlite")
        await sqlite.open()
        await sqlite.open_term()
        yield sqlite
        await sqlite.close()
        return
    server: ZooKeeperServer = request.getfixturevalue("zookeeper")
    url = ZooKeeperUrl.parse(server.url(f"/{tmp_path.name}"))
    contender = await stand(url)
    store = await store_of(contender, url)
    await store.open_term()
    yield store
    await contender.close()


def info(number: int) -> mesos.AgentInfo:
    made = mesos.AgentInfo(hostname=f"node-{number}")
    made.id.value = f"S{number}"
    made.attributes.add(name="padding", type=mesos.Value.TEXT).text.value = "x" * 900
    return made


async def test_what_was_written_is_read_back(store: Store) -> None:
    await store.write([records.admit(info(1)), records.admit(info(2)), records.mark_unreachable("S1", 5.5)])
    elected = records.elected(await store.open_term())
    assert [agent.hostname for agent in elected.admitted] == ["node-2"]
    assert elected.unreachable == {"S1": 5.5}


async def test_later_writes_win(store: Store) -> None:
    await store.write([[Write(ADMITTED, "a", b"1")], [Write(ADMITTED, "a", b"2")]])
    await store.write([[Write(ADMITTED, "a", b"3")], [Write(UNREACHABLE, "nobody", None)]])
    assert (await store.open_term())[ADMITTED] == {"a": b"3"}


async def test_thousands_of_agents_survive(store: Store) -> None:
    for start in range(0, 2000, 500):
        await store.write([records.admit(info(number)) for number in range(start, start + 500)])
    await store.write([records.remove(f"S{number}") for number in range(0, 2000, 2)])
    admitted = (await store.open_term())[ADMITTED]
    assert set(admitted) == {f"S{number}" for number in range(1, 2000, 2)}


async def test_sqlite_file_belongs_to_one_registry(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "s.sqlite"), SqliteStore(tmp_path / "s.sqlite")
    await first.open()
    with pytest.raises(StartupError) as refused:
        await second.open()
    assert refused.value.code is Exit.UNWRITABLE
    assert "s.sqlite" in str(refused.value)
    await first.close()
    await second.close()


@pytest.fixture
def generous_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("generous_umask")
async def test_sqlite_files_are_nobody_elses_to_read(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "registry" / "s.sqlite")
    await store.open()
    await store.write([[Write(ADMITTED, "S1", b"value")]])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "registry").iterdir()}
    assert modes == dict.fromkeys(["s.sqlite", "s.sqlite-wal", "s.sqlite-shm", "s.sqlite.lock"], 0o600)
    assert stat.S_IMODE((tmp_path / "registry").stat().st_mode) == 0o700
    await store.close()


@pytest.mark.usefixtures("generous_umask")
async def test_sqlite_files_of_an_earlier_version_are_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with contextlib.closing(sqlite3.connect(path)):
        path.touch()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    store = SqliteStore(path)
    await store.open()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "s.sqlite-wal").stat().st_mode) == 0o640
    await store.close()


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE birds (name TEXT)")


def foreign_with_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE birds (name TEXT)")
        other.execute("PRAGMA user_version=1")


def of_a_later_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version=1000")


def damaged(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute("CREATE TABLE records (bucket, key, value, PRIMARY KEY (bucket, key)) WITHOUT ROWID")
        store.executemany("INSERT INTO records VALUES ('admitted', ?, ?)", ((n, b"x" * 100) for n in range(1000)))
        store.execute("PRAGMA user_version=1")
        store.commit()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xaa" * 8192
    path.write_bytes(content)


def no_database(path: Path) -> None:
    path.write_text("a shopping list, which somebody keeps here\n" * 100)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (foreign, "is not a registry's store: it holds birds"),
        (foreign_with_version, "is not a registry's store: it holds birds"),
        (of_a_later_version, "was written by a later version of Mezzo"),
        (damaged, "is damaged"),
        (no_database, "is damaged, or is not a SQLite file"),
    ],
)
async def test_a_file_that_is_no_store_of_this_version_is_refused_and_left_as_it_is(
    make: Callable[[Path], None], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.sqlite"
    make(path)
    before = path.read_bytes()
    store = SqliteStore(path)
    with pytest.raises(StartupError, match=complaint) as refused:
        await store.open()
    assert refused.value.code is Exit.INCOMPATIBLE_STATE
    assert str(path) in str(refused.value)
    assert path.read_bytes() == before
    await store.close()


def version_1(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as store:
        store.execute(
            "CREATE TABLE records (bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
            " PRIMARY KEY (bucket, key)) WITHOUT ROWID"
        )
        store.execute("INSERT INTO records VALUES ('admitted', 'S1', x'0102')")
        store.execute("PRAGMA user_version=1")
        store.commit()


async def test_sqlite_store_of_version_1_is_read_and_gets_checksums(tmp_path: Path) -> None:
    version_1(tmp_path / "s.sqlite")
    for _ in range(2):
        store = SqliteStore(tmp_path / "s.sqlite")
        await store.open()
        assert (await store.open_term())[ADMITTED] == {"S1": b"\x01\x02"}
        await store.close()


async def test_sqlite_value_whose_bit_has_flipped_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.write([[Write(ADMITTED, "S1", b"a value, which is long"), Write(ADMITTED, "S2", b"another")]])
    await store.close()
    flip(path, b"a value, which is long")
    again = SqliteStore(path)
    with pytest.raises(StartupError, match="'S1' of 'admitted' does not match its checksum") as refused:
        await again.open()
    assert refused.value.code is Exit.INCOMPATIBLE_STATE
    await again.close()


def flip(path: Path, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(value)] ^= 4
    path.write_bytes(content)


async def test_sqlite_group_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    await store.open()
    broken = Write(ADMITTED, None, b"2")  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        await store.write([[Write(ADMITTED, "a", b"1"), broken]])
    assert (await store.open_term())[ADMITTED] == {}
    await store.close()


@needs_zookeeper
async def test_chunks_stay_below_their_size(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    url = ZooKeeperUrl.parse(zookeeper.url(f"/{tmp_path.name}"))
    contender = await stand(url)
    store = await store_of(contender, url)
    await store.open_term()
    await store.write([records.admit(info(number)) for number in range(500)])
    folder = f"{url.path}/store/{ADMITTED}"
    names = contender.client.get_children(folder)
    sizes = [len(contender.client.get(f"{folder}/{name}")[0]) for name in names]
    assert len(sizes) > 1
    assert max(sizes) <= zookeeper_store.CHUNK_BYTES_MAX
    await contender.close()


@needs_zookeeper
async def test_many_large_groups_at_once_make_no_transaction_that_zookeeper_refuses(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    url = ZooKeeperUrl.parse(zookeeper.url(f"/{tmp_path.name}"))
    contender = await stand(url)
    store = await store_of(contender, url)
    await store.open_term()
    everything = [[Write(WEIGHTS, f"{number:04d}", b"w" * 1000) for number in range(500)]]
    everything += [[Write(MAINTENANCE, "schedule", b"m" * 500_000)]]
    everything += [[Write(ADMITTED, f"S{number}", b"a" * 1000)] for number in range(500)]
    await store.write(everything)
    await store.write([*reversed(everything)])
    tables = await store.open_term()
    assert [len(tables[table]) for table in (WEIGHTS, MAINTENANCE, ADMITTED)] == [500, 1, 500]
    await contender.close()


@needs_zookeeper
async def test_forgetting_agents_all_over_the_store_makes_no_transaction_that_zookeeper_refuses(
    zookeeper: ZooKeeperServer, tmp_path: Path
) -> None:
    url = ZooKeeperUrl.parse(zookeeper.url(f"/{tmp_path.name}"))
    contender = await stand(url)
    store = await store_of(contender, url)
    await store.open_term()
    since = b"s" * 50_000  # so that few records fill many chunks
    await store.write([[Write(UNREACHABLE, f"S{number}", since)] for number in range(60)])
    await store.write([records.forget_unreachable(f"S{number}") for number in range(0, 60, 2)])
    assert set((await store.open_term())[UNREACHABLE]) == {f"S{number}" for number in range(1, 60, 2)}
    await contender.close()


@needs_zookeeper
@pytest.mark.parametrize("answers_only", [True, False])
async def test_a_write_outlives_the_connection_on_which_it_is_lost(
    zookeeper: ZooKeeperServer, tmp_path: Path, answers_only: bool
) -> None:
    direct = ZooKeeperUrl.parse(zookeeper.url(f"/{tmp_path.name}"))
    async with Wire(zookeeper.port) as wire:
        url = ZooKeeperUrl(f"127.0.0.1:{wire.port}", direct.path)
        contender = await stand(url)
        store = await store_of(contender, url)
        leadership = contender.leadership
        await store.open_term()
        wire.silence(answers_only=answers_only)
        wire.mend()  # for the next connection
        await asyncio.wait_for(store.write([[Write(ADMITTED, "a", b"1")]]), PATIENCE_SECONDS)
        assert contender.leadership.epoch == leadership.epoch, "the same leader in the same epoch"
        assert (await (await store_of(contender, url)).open_term())[ADMITTED] == {"a": b"1"}
        await contender.close()


@needs_zookeeper
async def test_deposed_leader_cannot_write(zookeeper: ZooKeeperServer, tmp_path: Path) -> None:
    url = ZooKeeperUrl.parse(zookeeper.url(f"/{tmp_path.name}"))
    old, new = await stand(url), Contender(url, b"{}", session_timeout_seconds=4)
    store = await store_of(old, url)
    await store.open_term()
    await store.write([[Write(ADMITTED, "a", b"1")]])
    # As if the old leader's session had ended without its knowing: its node is gone, its connection is not.
    leadership = old.leadership
    assert leadership.epoch is not None
    await new.start()
    old.client.delete(leadership.epoch.path)
    with pytest.raises(Deposed):
        await store.write([[Write(ADMITTED, "a", b"2")]])
    await old.close()
    assert (await (await store_of(new, url)).open_term())[ADMITTED] == {"a": b"1"}
    await new.close()
