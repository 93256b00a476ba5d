import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mezzo.errors import InvalidRequest
from mezzo_agent.containers import sandbox as sandboxes
from mezzo_agent.containers.sandbox import point_latest
from mezzo_agent.core.sandbox_names import SandboxName, real_path


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's agent makes folders in those of others")
def test_a_link_among_the_executors_is_not_followed_where_these_are_somebody_elses(tmp_path: Path) -> None:
    executors = create(tmp_path, name()).parents[2]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (executors / "ex:2").symlink_to(elsewhere)
    os.chown(executors, 65534, 65534)
    with pytest.raises(NotADirectoryError):
        create(tmp_path, SandboxName("agent-S0", "fw-0000", "ex:2", "c1"))
    assert list(elsewhere.iterdir()) == []


def test_sandboxes_of_a_framework_are_made_without_a_look_at_what_lies_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(tmp_path, name("c1"))
    opened: list[object] = []
    real = os.open

    def counted(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        opened.append(path)
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", counted)
    second = create(tmp_path, name("c2"))
    assert opened == [second.parents[2], "ex:1", "runs", "c2", "c2", "."]


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "nul\0", "x" * 256, "€" * 86])
def test_an_id_that_would_lead_elsewhere_is_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest, match="executor_id"):
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


def test_nothing_is_left_of_a_framework_whose_last_run_was_removed(tmp_path: Path) -> None:
    run = create(tmp_path, name())
    run.rmdir()
    sandboxes.prune(run)
    assert list((tmp_path / "slaves" / "agent-S0" / "frameworks").iterdir()) == []


def test_what_other_runs_need_stays_when_one_was_removed(tmp_path: Path) -> None:
    first = create(tmp_path, name("c1"))
    second = create(tmp_path, name("c2"))
    other = create(tmp_path, SandboxName("agent-S0", "fw-0000", "ex:2", "c3"))
    first.rmdir()
    sandboxes.prune(first)
    assert (second.parent / "latest").resolve() == second
    second.rmdir()
    sandboxes.prune(second)
    assert not second.parent.parent.exists()
    assert (other.parent / "latest").resolve() == other


def test_only_the_way_to_a_run_is_pruned(tmp_path: Path) -> None:
    folder = tmp_path / "emptied"
    folder.mkdir()
    sandboxes.prune(folder / "garbage")
    assert folder.is_dir()


def test_an_executor_id_may_be_used_again_while_its_old_runs_are_removed(tmp_path: Path) -> None:
    """The two happen in threads of their own; whoever makes a sandbox finds it, and `latest` leads to it."""

    def remove_each(made: list[Path]) -> None:
        for run in made:
            run.rmdir()
            sandboxes.prune(run)

    with ThreadPoolExecutor(1) as remover:
        removing = remover.submit(remove_each, [])
        for number in range(300):
            run = create(tmp_path, name(f"c{number}"))
            assert (run.parent / "latest").resolve() == run
            removing.result()
            removing = remover.submit(remove_each, [run])
        removing.result()
    assert list((tmp_path / "slaves" / "agent-S0" / "frameworks").iterdir()) == []
