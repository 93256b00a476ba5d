"""The whitelist: which agents may be offered."""

import asyncio
import os
from pathlib import Path

import pytest

from mezzo_chassis.errors import Exit, StartupError
from mezzo_registry.adapters.whitelist import Whitelist
from mezzo_registry.config import whitelist_file
from mezzo_registry.core import events
from mezzo_registry.testing import PATIENCE_SECONDS, Cluster


class Listening:
    """Stands for a term: keeps what is posted."""

    def __init__(self) -> None:
        self.posted: asyncio.Queue[events.WhitelistUpdated] = asyncio.Queue()

    def post(self, event: events.WhitelistUpdated) -> None:
        self.posted.put_nowait(event)


def sent_active(cluster: Cluster) -> dict[str, bool]:
    """By host, what the allocator was told in the last exchange."""
    updates = [one.agent_update for one in cluster.to_allocator() if one.HasField("agent_update")]
    return {one.agent_info.hostname: one.active for one in updates}


def test_agents_on_other_hosts_are_not_offered(cluster: Cluster) -> None:
    cluster.handle(events.WhitelistUpdated(frozenset({"a"})))
    cluster.agent(hostname="a")
    assert sent_active(cluster) == {"a": True}
    cluster.agent(hostname="b", pid="slave(1)@10.0.0.2:5051")
    assert sent_active(cluster) == {"b": False}


def test_allocator_is_told_of_what_another_list_changes_and_no_more(cluster: Cluster) -> None:
    away = cluster.agent(hostname="c")
    for host in ("a", "b"):
        cluster.agent(hostname=host)
    cluster.disconnect(away)
    cluster.handle(events.WhitelistUpdated(frozenset({"a", "c"})))
    assert sent_active(cluster) == {"b": False}
    cluster.handle(events.WhitelistUpdated(frozenset({"b"})))
    assert sent_active(cluster) == {"a": False, "b": True}
    cluster.handle(events.WhitelistUpdated(frozenset()))
    assert sent_active(cluster) == {"b": False}


def test_tasks_and_offers_of_an_agent_off_the_list_stay(cluster: Cluster) -> None:
    agent, framework = cluster.agent(hostname="a"), cluster.framework()
    cluster.offer(framework, agent)
    cluster.handle(events.WhitelistUpdated(frozenset()))
    assert cluster.to_framework(framework) == []
    (update,) = [one.agent_update for one in cluster.to_allocator()]
    assert update.keeps_holdings


async def test_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("a\n\n# not offered: b\n c \n")
    listed, term = Whitelist(path, watch_seconds=0.01), Listening()
    await listed.open()
    assert listed.hostnames == {"a", "c"}
    following = asyncio.create_task(listed.follow(term.post))
    try:
        path.unlink()  # and nothing changes
        await asyncio.to_thread(_replace, path, "b\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await term.posted.get()).hostnames == {"b"}
    finally:
        following.cancel()
    assert term.posted.empty()


def _replace(path: Path, text: str) -> None:
    written = path.with_suffix(".new")
    written.write_text(text)
    os.replace(written, path)


async def test_file_that_cannot_be_read_at_the_start_is_a_wrong_flag(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as refused:
        await Whitelist(tmp_path / "none").open()
    assert refused.value.code is Exit.BAD_CONFIGURATION
    assert "--whitelist" in str(refused.value)


def test_star_is_no_list() -> None:
    assert whitelist_file("*") is None
    assert whitelist_file("file:///etc/hosts") == Path("/etc/hosts")
