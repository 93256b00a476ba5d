"""Values that are wrong: helm refuses them by their names, before anything reaches a cluster."""

from __future__ import annotations

import pytest

from tests.charts.helm import Refused, needs_helm, template

pytestmark = needs_helm


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("registry.replica=3", "registry: Additional property replica is not allowed"),
        ("registry.replicas=three", "registry.replicas: Invalid type. Expected: integer, given: string"),
        ("registry.replicas=0", "registry.replicas: Must be greater than or equal to 1"),
        ("registry.flags.agent_pin_timeout=1", "registry.flags: Additional property agent_pin_timeout is not allowed"),
        (r"commonLabels.app\.kubernetes\.io/part-of=x", "commonLabels: Property name of"),
        (r"gateway.podLabels.app\.kubernetes\.io/name=x", "gateway.podLabels: Property name of"),
        ("fullnameOverride=1st", "fullnameOverride: Does not match pattern"),
        ("logs.level=loud", 'logs.level must be one of the following: "debug", "info", "warning", "error"'),
        ("agent.hostname=rack", 'agent.hostname must be one of the following: "podIP", "nodeName"'),
        ("agent.offers=", "agent.offers: String length must be greater than or equal to 1"),
        ("agent.ports.http=70000", "agent.ports.http: Must be less than or equal to 65535"),
        ("gateway.advertise.ip=mezzo.example", "gateway.advertise.ip: Does not match pattern"),
        ("gateway.image.digest=latest", "gateway.image.digest: Does not match pattern"),
        ("gateway.service.type=Node", "gateway.service.type must be one of the following"),
        ("zookeeper.hosts={zk-1}", "zookeeper.hosts.0: Does not match pattern"),
        ("zookeeper.path=mezzo", "zookeeper.path: Does not match pattern"),
        ("zookeeper.sessionTimeout=10", "zookeeper.sessionTimeout: Invalid type. Expected: string, given: integer"),
        ("registry.persistence.size=much", "registry.persistence.size: Does not match pattern"),
        ("networkPolicy.apiFrom[0].pods=x", "networkPolicy.apiFrom.0: Additional property pods is not allowed"),
        ("ingress.hosts[0].host=a", "ingress.hosts.0: paths is required"),
        ("monitoring.alerts=true", "monitoring: Additional property alerts is not allowed"),
    ],
)
def test_a_wrong_value_is_refused_by_the_schema_which_names_it(value: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        template("--set", value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("zookeeper.replicas=2", "zookeeper.replicas is 2: the chart runs 1 member or 3"),
        ("zookeeper.enabled=false", "registry.replicas is 3 and there is no ZooKeeper: set zookeeper.enabled"),
        ("zookeeper.enabled=false,registry.replicas=1", "allocator.replicas is 2 and there is no ZooKeeper"),
        (
            "zookeeper.enabled=false,registry.replicas=1,allocator.replicas=1,zookeeper.auth.existingSecret=user",
            "zookeeper.auth.existingSecret is set and there is no ZooKeeper",
        ),
        ("zookeeper.hosts={zk-1:2181}", "zookeeper.enabled and zookeeper.hosts exclude each other"),
        ("agent.hostCgroups=true", "agent.hostCgroups takes agent.privileged"),
        ("agent.hostNetwork=true,networkPolicy.enabled=true", "take networkPolicy.nodeCIDRs"),
        ("ingress.enabled=true", "ingress.enabled is set and ingress.hosts is empty"),
        ("gateway.service.clusterIP=None", "gateway.advertise.ip has to be set"),
        ("gateway.service.nodePort=30050", "that takes gateway.service.type NodePort or LoadBalancer"),
        ("zookeeper.podDisruptionBudget.maxUnavailable=2", "of three members one may go"),
        ("zookeeper.podDisruptionBudget.maxUnavailable=34%", "of three members one may go"),
        ("gateway.drainSeconds=30", "a gateway would be killed before it is told to end"),
        ("registry.flags.zk=zk://zk:2181/mezzo", "registry.flags.zk is set by the chart: use zookeeper"),
        ("registry.flags.hostname=x", "registry.flags.hostname is set by the chart: it is the address of the pod"),
        ("agent.flags.resources=cpus:1", "agent.flags.resources is set by the chart: use agent.offers"),
        ("gateway.flags.port=80", "gateway.flags.port is set by the chart: use gateway.ports.http"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_do(values: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        template("--set", values)
    assert says in str(refused.value)
