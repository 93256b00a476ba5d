"""Where the registry and its agents are: regions and zones."""

from collections.abc import Callable

from mesos.v1 import mesos_pb2 as mesos
from mezzo import domains
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo_chassis.config import as_text
from mezzo_registry.app import master_info
from mezzo_registry.config import Config
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


def test_domain_of_the_flags_is_told_to_clients() -> None:
    config = Config(ip="127.0.0.1", domain=domains.parse(JSON))
    assert master_info(config, "host", "id").domain == domains.parse(JSON)
    assert not master_info(Config(ip="127.0.0.1"), "host", "id").HasField("domain")


def test_flag_is_told_as_it_is_given() -> None:
    assert domains.parse(as_text(Config(domain=domains.parse(JSON)))["domain"]) == domains.parse(JSON)


def test_allocator_is_told_where_the_registry_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domains.parse(JSON))
    cluster.allocator()
    assert cluster.to_allocator()[0].begin.domain == domains.parse(JSON)


def test_agent_with_a_domain_is_refused_by_a_registry_without(cluster: Cluster) -> None:
    cluster.connect(register(cluster, domains.parse(JSON)))
    (why,) = refused(cluster)
    assert why.startswith("register.agent_info.domain: ")
    assert not cluster.registry.state.agents


def test_agent_without_a_domain_is_taken_unless_one_is_required(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domains.parse(JSON))
    cluster.connect(register(cluster, None))
    assert not refused(cluster)
    strict = make_cluster(Settings(require_agent_domain=True), domain=domains.parse(JSON))
    strict.connect(register(strict, None))
    (why,) = refused(strict)
    assert "--require_agent_domain" in why
    strict.connect(register(strict, domains.parse(JSON)))
    assert not refused(strict)


def test_offers_say_where_their_agent_is(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(domain=domains.parse(JSON))
    cluster.allocator()
    remote = domains.parse("us/b")
    agent = cluster.agent("cpus:1", domain=remote)
    offer = cluster.offer(cluster.framework(), agent, "cpus:1")
    assert offer.domain == remote
