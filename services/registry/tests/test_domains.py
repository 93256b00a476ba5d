"""Where the registry and its agents are: regions and zones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo_registry.app import master_info
from mezzo_registry.config import Config, domain
from mezzo_registry.core import Settings, effects
from mezzo_registry.testing import Cluster

MakeCluster = Callable[..., Cluster]
JSON = '{"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "rack1"}}}'


def register(cluster: Cluster, domain: mesos.DomainInfo | None) -> agent_session.Register:
    message = cluster.register_message("cpus:1")
    if domain is not None:
        message.agent_info.domain.CopyFrom(domain)
    return message


def refused(cluster: Cluster) -> list[str]:
    return [str(one.error) for one in cluster.of(effects.CloseAgentSession)]


@pytest.mark.parametrize("text", [JSON, '{"fault_domain": {"region": "eu", "zone": "rack1"}}'])
def test_domain_is_json(text: str) -> None:
    read = domain(text)
    assert (read.fault_domain.region.name, read.fault_domain.zone.name) == ("eu", "rack1")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_domain_is_in_a_file(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "domain").write_text(JSON)
    assert domain(f"{prefix}{tmp_path / 'domain'}") == domain(JSON)


@pytest.mark.parametrize(
    "text",
    ["", "/no/such/file", "{", "{}", '{"fault_domain": 3}', '{"fault_domain": {"region": "eu"}}',
     '{"fault_domain": {"region": "", "zone": "a"}}'],
)  # fmt: skip
def test_what_is_no_domain_is_a_wrong_flag(text: str) -> None:
    with pytest.raises(ValueError, match=r"not like|neither JSON|must not be empty"):
        domain(text)


def test_domain_of_the_flags_is_told_to_clients() -> None:
    config = Config(ip="127.0.0.1", domain=domain(JSON))
    assert master_info(config, "host", "id").domain == domain(JSON)
    assert not master_info(Config(ip="127.0.0.1"), "host", "id").HasField("domain")


def test_allocator_is_told_where_the_registry_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domain(JSON))
    cluster.allocator()
    assert cluster.to_allocator()[0].begin.domain == domain(JSON)


def test_agent_with_a_domain_is_refused_by_a_registry_without(cluster: Cluster) -> None:
    cluster.connect(register(cluster, domain(JSON)))
    (why,) = refused(cluster)
    assert why.startswith("register.agent_info.domain: ")
    assert not cluster.registry.books.agents


def test_agent_without_a_domain_is_taken_unless_one_is_required(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domain(JSON))
    cluster.connect(register(cluster, None))
    assert not refused(cluster)
    strict = make_cluster(Settings(require_agent_domain=True), domain=domain(JSON))
    strict.connect(register(strict, None))
    (why,) = refused(strict)
    assert "--require_agent_domain" in why
    strict.connect(register(strict, domain(JSON)))
    assert not refused(strict)


def test_offers_say_where_their_agent_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domain(JSON))
    cluster.allocator()
    remote = domain('{"fault_domain": {"region": "us", "zone": "b"}}')
    agent = cluster.agent("cpus:1", domain=remote)
    offer = cluster.offer(cluster.framework(), agent, "cpus:1")
    assert offer.domain == remote
