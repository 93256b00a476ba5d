"""docs/operations/kubernetes.md, done: each test is a step of one operator's day, and they are run in this order."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from kazoo.security import Permissions

from tests.charts.helm import CASES, CHART, Manifest
from tests.kubernetes.cluster import NODES, Kubernetes, wait
from tests.kubernetes.release import Release

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(3600),
    pytest.mark.slow("starts a Kubernetes, builds the images, and waits for pods to be replaced"),
]
ACLS = Path(__file__).with_name("acls.py")
ZOOKEEPER = "mezzo-zookeeper-0.mezzo-zookeeper-headless.mezzo.svc.cluster.local:2181"


@pytest.fixture(scope="module")
def mezzo(cluster: Kubernetes) -> Release:
    """The chart's defaults, in the namespace that the guide makes."""
    cluster.kubectl("create", "namespace", "mezzo")
    cluster.kubectl("label", "namespace", "mezzo", "pod-security.kubernetes.io/enforce=privileged")
    release = Release(cluster, "mezzo")
    release.helm("install", "--wait", "--timeout=5m")
    all_agents(release)
    return release


def all_agents(release: Release) -> None:
    wait("every node has an agent", lambda: release.agents() == len(NODES), check=release.cluster.check)


def test_an_installation_with_the_defaults_passes_its_own_test(mezzo: Release) -> None:
    assert "It came to TASK_FINISHED." in mezzo.helm("test", "--logs", "--timeout=5m")


@pytest.mark.parametrize(
    ("user", "uid"), [("", "0"), ("nobody", "65534"), ("4711", "4711")], ids=["root", "nobody", "uid"]
)
def test_tasks_run_through_the_service_as_any_user(mezzo: Release, user: str, uid: str) -> None:
    chosen = [f"--user={user}"] if user else []
    assert mezzo.mezzo("run", *chosen, "--", "sh", "-c", "touch mine && stat -c %u mine && id -u") == f"{uid}\n{uid}\n"


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_no_request_fails_when_the_leader_goes(mezzo: Release, how: str) -> None:
    before = mezzo.leader()
    with mezzo.asked_all_the_time() as outcome:
        if how == "deleted":
            mezzo.kubectl("delete", "pod", before, "--wait=false")
        else:
            mezzo.kill(before)
        wait("another registry leads", lambda: mezzo.leader() != before, check=mezzo.cluster.check)
        assert mezzo.mezzo("run", "--", "echo", "on we go") == "on we go\n"
    (asked,) = outcome
    assert asked.number > 0
    assert asked.failures == []
    mezzo.kubectl("rollout", "status", "statefulset/mezzo-registry", "--timeout=3m")


def test_no_request_fails_during_an_upgrade_and_a_rollback(mezzo: Release) -> None:
    with mezzo.asked_all_the_time() as outcome:
        mezzo.helm("upgrade", "--reset-then-reuse-values", "--wait", "--timeout=5m", logs__level="debug")
        mezzo.helm("rollback", "1", "--wait", "--timeout=5m")
    (asked,) = outcome
    assert asked.failures == []
    all_agents(mezzo)


def test_what_cannot_be_changed_is_refused_and_nothing_is_changed(mezzo: Release) -> None:
    before = mezzo.kubectl("get", "all", "-o", "name")
    for key, value in (
        ("fullnameOverride", "another"),
        ("zookeeper__persistence__size", "9Gi"),
        ("zookeeper__replicas", "1"),
    ):
        with pytest.raises(AssertionError, match=r"another|8Gi|zookeeper\.replicas"):
            mezzo.helm("upgrade", "--reset-then-reuse-values", **{key: value})
    assert mezzo.kubectl("get", "all", "-o", "name") == before


def test_a_node_is_drained_and_no_request_fails(mezzo: Release) -> None:
    # Members of ZooKeeper stay where their volumes are: of two on one node, only one may be away.
    members = [mezzo.node(pod) for pod in mezzo.pods("zookeeper")]
    drained = min(NODES, key=members.count)
    with mezzo.asked_all_the_time() as outcome:
        mezzo.kubectl("drain", drained, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=4m")
        remaining = set(NODES) - {drained}
        wait("all registries are elsewhere", lambda: {mezzo.node(pod) for pod in mezzo.pods("registry")} == remaining)
        assert mezzo.mezzo("run", "--", "echo", "drained") == "drained\n"
        mezzo.kubectl("uncordon", drained)
    (asked,) = outcome
    assert asked.failures == []
    mezzo.kubectl("rollout", "status", "statefulset/mezzo-zookeeper", "--timeout=3m")


def test_a_second_cluster_shares_the_zookeeper_under_a_password(cluster: Kubernetes, mezzo: Release) -> None:
    other = Release(cluster, "other")
    cluster.kubectl("create", "namespace", "other")
    other.kubectl("create", "secret", "generic", "zk", "--from-literal=user=mezzo", "--from-literal=password=s:cret")
    other.helm(
        "install", "--wait", "--timeout=5m", zookeeper__enabled="false", zookeeper__hosts=f"{{{ZOOKEEPER}}}",
        zookeeper__path="/other", zookeeper__auth__existingSecret="zk", agent__hostPath="/var/lib/mezzo/other",
        agent__resources__requests__cpu="50m",
    )  # fmt: skip
    all_agents(other)
    assert other.mezzo("run", "--", "echo", "other") == "other\n"
    assert mezzo.agents() == len(NODES)
    address = cluster.get("--namespace=mezzo", "service", "mezzo-zookeeper")["spec"]["clusterIP"]
    # One user does everything, and the world reads.
    owner, everyone = cluster.run(sys.executable, ACLS, f"{address}:2181", "/other").splitlines()
    assert owner.startswith("digest mezzo:")
    assert owner.endswith(f" {Permissions.ALL}")
    assert everyone == f"world anyone {Permissions.READ}"
    other.helm("uninstall", "--wait")


def test_a_small_cluster_without_zookeeper(cluster: Kubernetes) -> None:
    single = Release(cluster, "single")
    cluster.kubectl("create", "namespace", "single")
    single.helm(
        "install", f"--values={CHART}/profiles/small.yaml", "--wait", "--timeout=5m", zookeeper__enabled="false",
        registry__replicas="1", allocator__replicas="1", agent__hostPath="/var/lib/mezzo/single",
        agent__resources__requests__cpu="50m",
    )  # fmt: skip
    all_agents(single)
    (registry,) = single.pods("registry")
    single.kill(registry)
    all_agents(single)
    assert single.mezzo("run", "--", "echo", "single") == "single\n"
    single.helm("uninstall", "--wait")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_object_is_accepted_and_only_agents_need_more_than_restricted(cluster: Kubernetes, case: Path) -> None:
    namespace = f"dry-run-{case.stem}"
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    rendered = cluster.helm("template", "mezzo", CHART, f"--namespace={namespace}", f"--values={case}")
    made = [each for each in yaml.safe_load_all(rendered) if each and "monitoring.coreos.com" not in each["apiVersion"]]
    for manifest in made:
        # A pod is refused without its service account; dashboards may be for another namespace.
        manifest["metadata"]["namespace"] = namespace
        if manifest["kind"] == "ServiceAccount":
            cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump(manifest))

    def warnings(manifests: list[Manifest]) -> list[str]:
        words = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
        printed = cluster.kubectl_with_warnings(*words, stdin=yaml.safe_dump_all(manifests)).splitlines()
        assert len([line for line in printed if line.endswith(" created (server dry run)")]) == len(manifests), printed
        return [line for line in printed if line.startswith("Warning")]

    agents = [each for each in made if each["kind"] == "DaemonSet"]
    assert warnings([each for each in made if each["kind"] not in ("DaemonSet", "ServiceAccount")]) == []
    assert all("would violate PodSecurity" in warning and "hostPath" in warning for warning in warnings(agents))


def test_an_uninstallation_leaves_volumes_and_the_pod_of_the_test(mezzo: Release) -> None:
    # A drain removes pods that have ended: there is one of the test again.
    mezzo.helm("test", "--timeout=5m")
    mezzo.helm("uninstall", "--wait")
    claims = [f"persistentvolumeclaim/data-mezzo-zookeeper-{number}" for number in range(3)]

    def only_these_are_left() -> bool:
        left = mezzo.kubectl("get", "pods,persistentvolumeclaims,services,configmaps", "-o", "name").split()
        assert [name for name in left if "kube-root-ca" not in name] == ["pod/mezzo-test-run-a-task", *claims]
        return True

    # Pods are given the time that they need to end.
    wait("only volumes and the pod of the test are left", only_these_are_left)
