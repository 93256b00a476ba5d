"""The registry's store is copied while it runs, lost, and restored: as docs/operations/upgrades.md says."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import aiohttp

from mesos.v1 import mesos_pb2 as mesos
from mezzo.scheduler import HttpTransport
from tests.cluster import Cluster
from tests.framework import Framework
from tests.polling import eventually


async def weights(cluster: Cluster) -> Mapping[str, float]:
    async with aiohttp.ClientSession() as http, http.get(f"{cluster.url}/weights") as answer:
        return {one["role"]: one["weight"] for one in await answer.json()} if answer.status == 200 else {}


async def set_weight(cluster: Cluster, role: str, weight: float) -> None:
    body = [{"role": role, "weight": weight}]
    async with aiohttp.ClientSession() as http, http.put(f"{cluster.url}/weights", json=body) as answer:
        assert answer.status == 200, await answer.text()


def backup(store: Path, copy: Path) -> None:
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


async def test_a_store_that_was_lost_is_restored_from_a_copy_and_tasks_run_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with Cluster(tmp_path / "cluster") as cluster:
        store, copy = cluster.registry().work_dir / "registry.sqlite", tmp_path / "copy.sqlite"
        registry = cluster.registry().process
        async with Framework(HttpTransport(cluster.url)) as framework:
            job = framework.add(f"while [ ! -e {gate} ]; do sleep 0.02; done")
            await framework.job_is(job, mesos.TASK_RUNNING)
            await set_weight(cluster, "kept", 3)
            await asyncio.to_thread(backup, store, copy)
            await set_weight(cluster, "later", 4)
            await asyncio.to_thread(registry.stop)
            for path in store.parent.glob("registry.sqlite*"):
                path.unlink()
            copy.rename(store)
            await asyncio.to_thread(registry.start)

            async def restored() -> bool:
                # Until the registry is back, the gateway tells what it heard last.
                return await weights(cluster) == {"kept": 3}

            await eventually(restored, "the weights of the copy")
            gate.touch()
            await framework.finish()
            assert job.end is not None
            assert job.end.state == mesos.TASK_FINISHED
            assert len(framework.ends[job.task.name]) == 1
