import os
from pathlib import Path

import pytest

from mezzo_agent.containers import sandbox as sandboxes
from mezzo_agent.containers.sandbox import InvalidName, SandboxName, point_latest, real_path


def name(container: str = "c1") -> SandboxName:
    return SandboxName("agent-S0", "fw-0000", "ex:1", container)


def create(work_dir: Path, of: SandboxName) -> Path:
    path = of.path(work_dir)
    sandboxes.create(path)
    return path


def test_a_sandbox_lies_where_mesos_has_it(tmp_path: Path) -> None:
    sandbox = create(tmp_path, name())
    assert sandbox == tmp_path / "slaves/agent-S0/frameworks/fw-0000/executors/ex:1/runs/c1"
    assert sandbox.is_dir()
    assert sandbox.stat().st_mode & 0o777 == 0o750


def test_latest_leads_to_the_newest_run(tmp_path: Path) -> None:
    first = create(tmp_path, name("c1"))
    second = create(tmp_path, name("c2"))
    assert (second.parent / "latest").resolve() == second
    point_latest(first)
    assert (second.parent / "latest").resolve() == first
    assert sorted(path.name for path in first.parent.iterdir()) == ["c1", "c2", "latest"]


def test_making_a_sandbox_again_is_no_error(tmp_path: Path) -> None:
    sandbox = create(tmp_path, name())
    (sandbox / "stdout").write_text("kept")
    assert create(tmp_path, name()) == sandbox
    assert (sandbox / "stdout").read_text() == "kept"


def test_the_sandbox_of_a_pods_task_lies_in_the_pods_which_is_the_latest_run(tmp_path: Path) -> None:
    pod = name().path(tmp_path)
    sandboxes.create(pod / "containers" / "c1.1")
    assert [path.name for path in (pod / "containers").iterdir()] == ["c1.1"]
    assert (pod.parent / "latest").resolve() == pod
    assert sorted(path.name for path in pod.parent.iterdir()) == ["c1", "latest"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's agent makes folders in those of others")
def test_a_link_that_a_task_put_in_the_way_is_not_followed(tmp_path: Path) -> None:
    pod = create(tmp_path, name())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (pod / "containers").symlink_to(elsewhere)
    os.chown(pod, 65534, 65534)
    with pytest.raises(NotADirectoryError):
        sandboxes.create(pod / "containers" / "c1.1")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "nul\0", "x" * 256])
def test_an_id_that_would_lead_elsewhere_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName):
        SandboxName("agent", "fw", bad, "c1")


def test_virtual_and_real_paths_lead_to_the_same_sandbox(tmp_path: Path) -> None:
    sandbox = create(tmp_path, name())
    virtual = real_path(tmp_path, "agent-S0", name().virtual_path + "/stdout")
    assert virtual is not None
    assert virtual.parent.resolve() == sandbox
    assert real_path(tmp_path, "agent-S0", str(sandbox / "stdout")) == sandbox / "stdout"


@pytest.mark.parametrize("path", ["/etc/passwd", "/frameworks/../../../../etc/passwd", "frameworks/x", "", "/"])
def test_other_paths_lead_nowhere(tmp_path: Path, path: str) -> None:
    assert real_path(tmp_path, "agent-S0", path) is None
