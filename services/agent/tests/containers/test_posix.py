import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import TEXT_CHARACTERS_MAX, NotFound
from mezzo.resources import parse
from mezzo_agent.adapters.users import Credentials, current_user
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.ports import ContainerConfig, LaunchError, Termination

Configure = Callable[..., ContainerConfig]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


async def run(containers: PosixContainerizer, config: ContainerConfig) -> Termination:
    await containers.launch(config)
    return await containers.wait(config.container_id)


def exit_code(termination: Termination) -> int:
    assert termination.wait_status is not None, termination.message
    return os.waitstatus_to_exitcode(termination.wait_status)


def exists(pid: int) -> bool:
    """False for a zombie too: nothing of it runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def inside(config: ContainerConfig) -> list[int]:
    """The processes that have the environment of a container, which only it names."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone, or of somebody else
            if config.container_id.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


@pytest.mark.parametrize("code", [0, 1, 3, 137, 255])
async def test_the_exit_code_of_a_task_is_reported(
    containers: PosixContainerizer, configure: Configure, code: int
) -> None:
    termination = await run(containers, configure(f"exit {code}"))
    assert termination == Termination(code << 8, "")


async def test_a_task_that_was_killed_is_told_from_one_that_exits_with_137(
    containers: PosixContainerizer, configure: Configure
) -> None:
    killed = await run(containers, configure("kill -KILL $$"))
    assert killed.wait_status == signal.SIGKILL
    assert exit_code(killed) == -signal.SIGKILL
    assert exit_code(await run(containers, configure("exit 137"))) == 137


async def test_without_a_shell_the_arguments_are_the_whole_argv(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure(argv=("sh", ["renamed", "-c", 'echo "$0|$1"; exit 7', "zero", "$HOME"]))
    assert exit_code(await run(containers, config)) == 7
    assert config.stdout.read_text() == "zero|$HOME\n"


async def test_a_task_sees_exactly_its_environment(containers: PosixContainerizer, configure: Configure) -> None:
    config = configure(argv=("env", ["env"]), environment={"NAME": "a value\nwith lines"})
    await run(containers, config)
    expected = "".join(f"{name}={value}\n" for name, value in config.environment.items())
    assert config.stdout.read_text() == expected


async def test_a_task_starts_in_its_sandbox_with_its_output_in_files_and_nothing_else_open(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("pwd; readlink /proc/$$/fd/*; echo wrong >&2")
    await run(containers, config)
    where, *open_files = config.stdout.read_text().splitlines()
    assert where == str(config.sandbox)
    assert open_files[:3] == ["/dev/null", str(config.stdout), str(config.stderr)]
    assert config.stderr.read_text() == "wrong\n"
    assert len(open_files) == 3


async def test_a_task_has_no_signal_blocked_or_ignored(containers: PosixContainerizer, configure: Configure) -> None:
    config = configure(argv=("grep", ["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]))
    await run(containers, config)
    masks = [int(line.split()[1], 16) for line in config.stdout.read_text().splitlines()]
    # The C library keeps signals 32 and 33 for itself: nobody can set what a parent left of them.
    assert [mask & ~(0b11 << 31) for mask in masks] == [0, 0]


async def test_a_task_leads_a_session_of_its_own(containers: PosixContainerizer, configure: Configure) -> None:
    config = configure("echo $$; cut -d ' ' -f 1,5,6 /proc/$$/stat")
    launched = await containers.launch(config)
    await containers.wait(config.container_id)
    pid, ids = config.stdout.read_text().splitlines()
    assert int(pid) == launched.pid
    assert ids.split() == [pid, pid, pid]


async def test_a_command_that_does_not_exist_is_a_launch_error_that_says_so(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure(argv=("no-such-program", ["no-such-program"]))
    with pytest.raises(LaunchError, match="cannot execute 'no-such-program': No such file or directory") as raised:
        await containers.launch(config)
    assert raised.value.reason == mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    with pytest.raises(NotFound):
        await containers.wait(config.container_id)


async def test_a_file_that_is_not_executable_is_a_launch_error(
    containers: PosixContainerizer, configure: Configure, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(LaunchError, match="Permission denied"):
        await containers.launch(configure(argv=(str(program), ["program"])))


async def test_a_script_without_an_interpreter_line_runs_in_the_shell(
    containers: PosixContainerizer, configure: Configure, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("exit $1\n")
    script.chmod(0o755)
    assert exit_code(await run(containers, configure(argv=(str(script), ["script", "9"])))) == 9


async def test_a_sandbox_that_cannot_be_made_is_a_launch_error(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("true")
    config.sandbox.parent.mkdir(parents=True)
    config.sandbox.write_text("a file is in the way")
    with pytest.raises(LaunchError, match=str(config.sandbox)):
        await containers.launch(config)


async def test_the_reason_of_a_failed_launch_is_cut(containers: PosixContainerizer, configure: Configure) -> None:
    with pytest.raises(LaunchError, match="characters left out") as raised:
        await containers.launch(configure(argv=("/" + "long/" * 700, ["long"])))
    assert len(raised.value.message) <= TEXT_CHARACTERS_MAX


async def test_a_launch_that_fails_in_an_unforeseen_way_is_a_launch_error_and_leaves_nothing(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path
) -> None:
    config = configure("true", environment={"NAME": object()})
    with pytest.raises(LaunchError, match="ValueError: unmarshallable object") as raised:
        await containers.launch(config)
    assert raised.value.reason == mesos.TaskStatus.REASON_CONTAINER_LAUNCH_FAILED
    with pytest.raises(NotFound):
        await containers.wait(config.container_id)
    assert list((runtime_dir / "containers").iterdir()) == []


@pytest.mark.parametrize("megabytes", [1e308, -1.0])
async def test_a_limit_that_no_agent_admits_any_more_harms_nothing(
    containers: PosixContainerizer, configure: Configure, megabytes: float
) -> None:
    config = replace(configure("sleep 1000"), limits={"mem": megabytes})
    await containers.launch(config)
    assert (await containers.usage(config.container_id)).HasField("mem_limit_bytes")
    await containers.destroy(config.container_id)


@pytest.mark.parametrize("name", ["../outside", "a/b", ".."])
async def test_a_container_id_that_leads_elsewhere_is_refused(
    containers: PosixContainerizer, configure: Configure, name: str, tmp_path: Path
) -> None:
    with pytest.raises(LaunchError, match="container_id: "):
        await containers.launch(configure("true", container_id=name))
    assert not (tmp_path / "runtime" / "outside").exists()


async def test_a_second_container_of_the_same_id_is_refused_and_the_first_goes_on(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("read nothing; sleep 1000")
    await containers.launch(config)
    with pytest.raises(LaunchError, match="already"):
        await containers.launch(config)
    assert (await containers.status(config.container_id)).executor_pid > 0


async def test_an_empty_command_is_refused(containers: PosixContainerizer, configure: Configure) -> None:
    with pytest.raises(LaunchError, match=r"command\.value"):
        await containers.launch(configure(""))


@as_root
async def test_an_unknown_user_is_a_launch_error(containers: PosixContainerizer, configure: Configure) -> None:
    with pytest.raises(LaunchError, match="unknown user 'nobody-at-all'"):
        await containers.launch(configure("true", user="nobody-at-all"))


@pytest.mark.parametrize("asked", ["", "nobody"], ids=["its-own", "another"])
async def test_an_agent_that_is_not_root_runs_tasks_of_its_own_user_alone(
    asked: str, containers: PosixContainerizer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = current_user()
    uid = os.geteuid() or 1000
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(Credentials, "of", lambda name: Credentials(uid if name == own else 65534, 65534, ()))
    config = configure("true", user=asked or own)
    if not asked:
        assert exit_code(await run(containers, config)) == 0
        return
    with pytest.raises(LaunchError, match=r"cannot run as user 'nobody': the agent runs as .*--switch_user=false"):
        await containers.launch(config)


@as_root
async def test_a_task_runs_as_its_user_with_the_users_groups_and_owns_its_sandbox(
    root_with_groups: None, containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("id -u; id -G; grep Cap[PE] /proc/self/status; touch mine", user="nobody")
    config.sandbox.parent.mkdir(parents=True)
    open_to_all(config.sandbox.parent)
    assert exit_code(await run(containers, config)) == 0
    uid, groups, *capabilities = config.stdout.read_text().splitlines()
    assert (uid, groups) == ("65534", "65534")
    assert all(int(line.split()[1], 16) == 0 for line in capabilities)
    owned = [config.sandbox, config.stdout, config.stderr, config.sandbox / "mine"]
    assert {path.stat().st_uid for path in owned} == {65534}


def open_to_all(path: Path) -> None:
    """Lets every user pass: pytest's folders are closed."""
    while path != path.parent and path.owner() == "root" and str(path) != "/tmp":
        path.chmod(path.stat().st_mode | 0o011)
        path = path.parent


def limits(*wanted: mesos.RLimitInfo.RLimit) -> mesos.ContainerInfo:
    return mesos.ContainerInfo(type=mesos.ContainerInfo.MESOS, rlimit_info=mesos.RLimitInfo(rlimits=wanted))


async def test_resource_limits_are_set_for_the_task(containers: PosixContainerizer, configure: Configure) -> None:
    wanted = limits(
        mesos.RLimitInfo.RLimit(type=mesos.RLimitInfo.RLimit.RLMT_NOFILE, soft=100, hard=200),
        mesos.RLimitInfo.RLimit(type=mesos.RLimitInfo.RLimit.RLMT_CPU),
    )
    config = configure("ulimit -Sn; ulimit -Hn; ulimit -t", container=wanted)
    await run(containers, config)
    assert config.stdout.read_text().split() == ["100", "200", "unlimited"]


async def test_a_task_that_exceeds_a_limit_is_ended_by_it(containers: PosixContainerizer, configure: Configure) -> None:
    wanted = limits(mesos.RLimitInfo.RLimit(type=mesos.RLimitInfo.RLimit.RLMT_FSIZE, soft=1024, hard=1024))
    termination = await run(containers, configure("exec head -c 4096 /dev/zero > file", container=wanted))
    assert exit_code(termination) == -signal.SIGXFSZ


@pytest.mark.parametrize(
    ("limit", "complaint"),
    [
        (mesos.RLimitInfo.RLimit(type=mesos.RLimitInfo.RLimit.RLMT_CORE, soft=1), "soft and hard must be set together"),
        (
            mesos.RLimitInfo.RLimit(type=mesos.RLimitInfo.RLimit.RLMT_CORE, soft=2, hard=1),
            "must not exceed the hard limit",
        ),
        (mesos.RLimitInfo.RLimit(soft=2, hard=1), r"rlimits\[0\].type"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused(
    containers: PosixContainerizer, configure: Configure, limit: mesos.RLimitInfo.RLimit, complaint: str
) -> None:
    with pytest.raises(LaunchError, match=complaint):
        await containers.launch(configure("true", container=limits(limit)))


async def test_a_signal_reaches_the_whole_group_of_the_task(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    config = configure(
        "trap 'echo parent; wait; exit 0' TERM;"
        "(trap 'echo child; exit 0' TERM; echo up; while :; do sleep 0.01; done) & wait"
    )
    await containers.launch(config)
    await until(lambda: config.stdout.read_text() == "up\n")
    await containers.kill(config.container_id, signal.SIGTERM)
    await containers.wait(config.container_id)
    assert set(config.stdout.read_text().split()) >= {"parent", "child"}


async def test_a_signal_reaches_members_of_the_tree_outside_the_group(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    config = configure(
        "setsid sh -c 'trap \"echo daemon; exit\" USR1; echo up; while :; do sleep 0.01; done' &trap : USR1; wait; wait"
    )
    await containers.launch(config)
    await until(lambda: config.stdout.read_text() == "up\n")
    await containers.kill(config.container_id, signal.SIGUSR1)
    await until(lambda: "daemon" in config.stdout.read_text())
    await containers.destroy(config.container_id)


DAEMON = "(setsid sh -c 'setsid sleep 1000 & echo $! > daemon' &) ; while [ ! -s daemon ]; do sleep 0.01; done; "


async def test_daemons_that_left_the_session_are_destroyed_with_the_container(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    config = configure(DAEMON + "echo up; sleep 1000")
    launched = await containers.launch(config)
    await until(lambda: config.stdout.exists() and config.stdout.read_text() == "up\n")
    daemon = int((config.sandbox / "daemon").read_text())
    assert exists(daemon)
    await containers.destroy(config.container_id)
    assert not exists(daemon)
    assert not exists(launched.pid)
    assert (await containers.wait(config.container_id)).wait_status == signal.SIGKILL


async def test_daemons_do_not_outlive_a_task_that_ends_by_itself(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure(DAEMON + "exit 4")
    assert exit_code(await run(containers, config)) == 4
    assert not exists(int((config.sandbox / "daemon").read_text()))


async def test_a_task_that_ignores_sigterm_ends_by_sigkill(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    config = configure("trap '' TERM; echo up; while :; do sleep 0.01; done")
    await containers.launch(config)
    await until(lambda: config.stdout.read_text() == "up\n")
    await containers.kill(config.container_id, signal.SIGTERM)
    await containers.kill(config.container_id, signal.SIGKILL)
    assert (await containers.wait(config.container_id)).wait_status == signal.SIGKILL


async def test_a_program_that_forks_all_the_time_is_destroyed(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    config = configure("echo up; f() { sleep 0.001; f & exit; }; f & f & while :; do sleep 0.01; done")
    await containers.launch(config)
    await until(lambda: config.stdout.read_text() == "up\n")
    first = set(inside(config))
    # Others are there by now than a moment ago, and there are several.
    await until(lambda: len(set(inside(config)) - first) > 1)
    await containers.destroy(config.container_id)
    assert inside(config) == []


async def test_destroying_what_is_gone_or_unknown_is_no_error(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("exit 5")
    await run(containers, config)
    await containers.destroy(config.container_id)
    await containers.destroy("unknown")
    await containers.kill(config.container_id, signal.SIGTERM)
    assert exit_code(await containers.wait(config.container_id)) == 5


async def test_everybody_who_waits_is_told(containers: PosixContainerizer, configure: Configure) -> None:
    config = configure("exit 6")
    await containers.launch(config)
    first, second = await asyncio.gather(*(containers.wait(config.container_id) for _ in range(2)))
    assert first == second == await containers.wait(config.container_id)


async def test_an_ended_container_that_is_forgotten_leaves_nothing_in_the_runtime_folder(
    containers: PosixContainerizer, configure: Configure, runtime_dir: Path
) -> None:
    config = configure("true")
    await run(containers, config)
    containers.forget(config.container_id)
    assert list((runtime_dir / "containers").iterdir()) == []
    with pytest.raises(NotFound):
        await containers.wait(config.container_id)


async def test_usage_counts_the_whole_tree_and_names_the_limits(
    containers: PosixContainerizer, configure: Configure, until: Until
) -> None:
    busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; "
    config = configure(f"({busy}) ; ({busy} echo up; sleep 1000)", resources="cpus:0.5;mem:64")
    await containers.launch(config)
    await until(lambda: config.stdout.exists() and config.stdout.read_text() == "up\n")
    statistics = await containers.usage(config.container_id)
    assert statistics.cpus_user_time_secs + statistics.cpus_system_time_secs > 0.05
    assert statistics.mem_rss_bytes > 500_000
    assert statistics.cpus_soft_limit == 0.5
    assert statistics.mem_soft_limit_bytes == statistics.mem_limit_bytes == 64 << 20
    assert not statistics.HasField("cpus_limit")
    assert statistics.timestamp > 1.7e9

    await containers.update(config.container_id, parse("cpus:2;mem:32"))
    statistics = await containers.usage(config.container_id)
    assert (statistics.cpus_soft_limit, statistics.mem_limit_bytes) == (2.0, 32 << 20)


async def test_the_usage_of_a_container_that_does_not_run_is_not_found(
    containers: PosixContainerizer, configure: Configure
) -> None:
    config = configure("true")
    await run(containers, config)
    with pytest.raises(NotFound):
        await containers.usage(config.container_id)
    with pytest.raises(NotFound):
        await containers.usage("unknown")


async def test_status_names_the_container_and_its_process(containers: PosixContainerizer, configure: Configure) -> None:
    config = configure("sleep 1000")
    launched = await containers.launch(config)
    status = await containers.status(config.container_id)
    assert status.container_id.value == config.container_id
    assert status.executor_pid == launched.pid


async def test_many_containers_at_once_all_end_as_they_should(
    containers: PosixContainerizer, configure: Configure
) -> None:
    configs = [configure(f"exit {number % 256}") for number in range(100)]
    terminations = await asyncio.gather(*(run(containers, config) for config in configs))
    assert [exit_code(termination) for termination in terminations] == [number % 256 for number in range(100)]


async def test_an_environment_larger_than_a_socket_buffer_arrives(
    containers: PosixContainerizer, configure: Configure
) -> None:
    many = {f"VARIABLE_{number}": "x" * 100_000 for number in range(10)}
    config = configure("env | wc -c", environment=many)
    assert exit_code(await run(containers, config)) == 0
    assert int(config.stdout.read_text()) > 1_000_000
