"""The metrics that every service has, and the exporter that shows them."""

import asyncio
import gc
import threading

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from mezzo_chassis import metrics
from mezzo_chassis.exporter import start_exporter
from mezzo_chassis.leadership.candidate import Epoch, Leadership, Session, StandaloneCandidate
from mezzo_chassis.leadership.metrics import LeadershipMetrics
from mezzo_chassis.metrics import ProcessMetrics
from mezzo_chassis.outbox import Outbox

SOON_SECONDS = 10


async def test_the_exporter_serves_what_is_registered_and_nothing_else() -> None:
    registry = CollectorRegistry()
    ProcessMetrics(registry, "test", "1.2.3")
    Counter("mezzo_test_offers_total", "Offers.", registry=registry).inc(3)
    site = await start_exporter("127.0.0.1", 0, registry)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as session:
            async with session.get("/metrics") as response:
                assert response.content_type == "text/plain"
                text = await response.text()
            async with session.get("/") as response:
                assert response.status == 404
    finally:
        await site.stop()
    assert "mezzo_test_offers_total 3.0" in text
    assert 'mezzo_test_build_info{version="1.2.3"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_collections_and_the_lag_of_the_loop_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "LOOP_LAG_INTERVAL_SECONDS", 0.001)
    registry = CollectorRegistry()
    watching = asyncio.create_task(ProcessMetrics(registry, "test", "1").watch())
    full = {"generation": "2"}
    async with asyncio.timeout(SOON_SECONDS):
        while not registry.get_sample_value("mezzo_test_gc_pause_seconds_count", full):
            await asyncio.sleep(0)
            gc.collect()
    assert registry.get_sample_value("mezzo_test_event_loop_lag_seconds_count")
    before = list(gc.callbacks)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert len(gc.callbacks) == len(before) - 1


def test_what_waits_on_streams_is_told_by_kind_of_peer() -> None:
    registry = CollectorRegistry()
    ProcessMetrics(registry, "test", "1")
    slow, quick, gone = (Outbox[int](3, peer="reader") for _ in range(3))
    slow.put_all([1, 2, 3])
    quick.put(1)
    gone.close()

    def told(name: str) -> float | None:
        return registry.get_sample_value(f"mezzo_test_{name}", {"peer": "reader"})

    assert (told("streams"), told("stream_queue_items"), told("stream_longest_queue_items")) == (2, 4, 3)
    assert told("stream_overflows_total") == 0
    slow.put(4)
    assert (told("streams"), told("stream_queue_items"), told("stream_overflows_total")) == (1, 1, 1)


async def test_a_collection_while_metrics_are_read_waits_for_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads a metric allocates while it holds its lock, and may so start a collection in the same thread."""
    registry = CollectorRegistry()
    process = ProcessMetrics(registry, "test", "1")
    watching = asyncio.create_task(process.watch())
    await asyncio.sleep(0)
    locks = [pause._sum._lock for pause in process._pauses]
    done = threading.Event()

    def read() -> None:
        for lock in locks:
            lock.acquire()
        gc.collect()
        for lock in locks:
            lock.release()
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert await asyncio.to_thread(done.wait, SOON_SECONDS)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


class ScriptedCandidate(StandaloneCandidate):
    """Stands wherever a test puts it."""

    async def stand(self, session: Session, epoch: Epoch | None) -> None:
        """Be there, and let whoever follows see it."""
        self._latest.set(Leadership(session, epoch))
        for _ in range(3):
            await asyncio.sleep(0)


async def test_leadership_is_told_with_its_changes_and_the_session() -> None:
    registry = CollectorRegistry()
    candidate = ScriptedCandidate()
    following = asyncio.create_task(LeadershipMetrics(registry, "registry").follow(candidate))

    def told() -> tuple[float | None, float | None, list[str]]:
        states = [
            state.value
            for state in Session
            if registry.get_sample_value("mezzo_registry_zookeeper_session", {"state": state.value})
        ]
        leading = registry.get_sample_value("mezzo_registry_leading")
        return leading, registry.get_sample_value("mezzo_registry_leadership_changes_total"), states

    assert told() == (0, 0, ["none"])
    await candidate.stand(Session.CONNECTED, None)
    assert told() == (0, 0, ["connected"])
    await candidate.stand(Session.CONNECTED, Epoch("/a_0000000001", 1))
    assert told() == (1, 1, ["connected"])
    await candidate.stand(Session.SUSPENDED, Epoch("/a_0000000001", 1))
    assert told() == (1, 1, ["suspended"])
    await candidate.stand(Session.LOST, None)
    assert told() == (0, 2, ["lost"])
    following.cancel()
