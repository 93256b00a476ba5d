"""The verbs of `mezzo` on a running cluster: what they show, what they do, and how they fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mezzo.cli.output import moment
from tests.cluster import Cluster
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_FAILED, EXIT_USAGE, EXIT_NOT_FOUND, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 66, 69, 130
PAUSE_SECONDS = 0.05


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    return MezzoCommand(cluster.gateway().http)


@pytest.fixture(scope="module")
def sleeper(mezzo: MezzoCommand) -> Iterator[dict[str, Any]]:
    """A task that runs all the while, as `mezzo tasks` tells of it."""
    command = "echo one; echo two >&2; exec sleep 1000"
    with mezzo.started("run", "--name", "sleeper", "--shell", "--", command) as process:
        assert line_of(process) == "one\n"
        (task,) = mezzo.json("tasks", "-f", "mezzo run sleeper")
        yield task
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(PAUSE_SECONDS)


def state_of(mezzo: MezzoCommand, task_id: str) -> str:
    (state,) = [task["state"] for task in mezzo.json("tasks", "--all") if task["id"] == task_id]
    return str(state)


# ----------------------------------------------------------------------------------------------------- looking at it


def test_status_tells_people_and_programs_how_the_cluster_is(
    cluster: Cluster, mezzo: MezzoCommand, sleeper: dict[str, Any]
) -> None:
    report = mezzo.json("status")
    assert set(report) == {
        "leader", "elected_time", "version", "members", "agents_active", "agents_inactive", "agents_unreachable",
        "frameworks", "frameworks_connected", "total", "used", "offered", "tasks",
    }  # fmt: skip
    assert (report["agents_active"], report["agents_unreachable"]) == (1, 0)
    assert report["frameworks_connected"] >= 1
    assert report["total"]["cpus"] == 4
    assert report["used"]["cpus"] >= 0.1
    assert report["tasks"]["TASK_RUNNING"] >= 1
    lines = mezzo.output("status").splitlines()
    assert [line.split()[0] for line in lines] == [
        *("leader", "registries", "allocators", "gateways"),
        *("version", "agents", "frameworks", "cpus", "mem", "disk", "tasks"),
    ]
    assert lines[1].split()[1:] == [cluster.registry().grpc, "leading"]
    assert lines[2].split()[1:] == [cluster.allocator().grpc, "leading"]
    assert lines[3].split()[1:] == [cluster.gateway().http]
    assert "1 active, 0 unreachable" in lines[5]


LISTS = {
    "agents": ({"id", "hostname", "active", "resources", "used_resources", "attributes"}, "ATTRIBUTES"),
    "frameworks": ({"id", "name", "user", "connected", "tasks", "used_resources"}, "CAPABILITIES"),
    "tasks": ({"id", "name", "framework_id", "slave_id", "state", "resources", "statuses"}, "ROLE"),
}


@pytest.mark.parametrize("verb", LISTS)
def test_a_list_has_a_row_for_each_and_more_of_it_when_wide_and_all_of_it_in_json(
    verb: str, mezzo: MezzoCommand, sleeper: dict[str, Any]
) -> None:
    keys, wide_column = LISTS[verb]
    listed = mezzo.json(verb)
    assert keys <= set(listed[0])
    ids = {"agents": sleeper["slave_id"], "frameworks": sleeper["framework_id"], "tasks": sleeper["id"]}
    table, wide = mezzo.output(verb).splitlines(), mezzo.output(verb, "-o", "wide").splitlines()
    assert len(table) == len(wide) == 1 + len(listed)
    assert all(any(line.startswith(ids[verb]) for line in lines) for lines in (table, wide))
    assert wide_column in wide[0]
    assert wide_column not in table[0]


def test_tasks_are_those_that_run_or_all_and_of_all_frameworks_or_one(
    mezzo: MezzoCommand, sleeper: dict[str, Any]
) -> None:
    mezzo.output("run", "--name", "short", "--", "true")
    names = [task["name"] for task in mezzo.json("tasks")]
    assert "sleeper" in names
    assert "short" not in names
    assert {"sleeper", "short"} <= {task["name"] for task in mezzo.json("tasks", "--all")}
    (mine,) = mezzo.json("tasks", "-f", sleeper["framework_id"])
    assert mine["id"] == sleeper["id"]
    assert [task["name"] for task in mezzo.json("tasks", "--all", "-f", "mezzo run short")] == ["short"]
    assert "mezzo run short" in [framework["name"] for framework in mezzo.json("frameworks", "--all")]


def test_names_are_shown_as_they_are_whatever_brackets_they_have(mezzo: MezzoCommand) -> None:
    mezzo.output("run", "--name", "[red]odd[/x]", "--", "true")
    assert "[red]odd[/x]" in mezzo.output("tasks", "--all")


def test_agents_tell_when_maintenance_of_their_machines_is_planned(cluster: Cluster, mezzo: MezzoCommand) -> None:
    start, hour = 4_000_000_000, 3600
    unavailability = {"start": {"nanoseconds": start * 10**9}, "duration": {"nanoseconds": hour * 10**9}}
    machines = [{"hostname": "127.0.0.1"}, {"hostname": "elsewhere"}]
    try:
        post(
            cluster, "/maintenance/schedule", {"windows": [{"machine_ids": machines, "unavailability": unavailability}]}
        )
        post(cluster, "/machine/down", machines[1:])
        (agent,) = mezzo.json("agents")
        assert agent["maintenance"] == {"state": "DRAINING", "since": start, "until": start + hour}
        here, elsewhere = mezzo.output("agents").splitlines()[1:]
        assert f"draining, maintenance from {moment(start)} until {moment(start + hour)}" in here
        assert elsewhere.startswith("–")
        assert f"elsewhere  in maintenance since {moment(start)}" in elsewhere
    finally:
        post(cluster, "/machine/up", machines[1:])
        post(cluster, "/maintenance/schedule", {"windows": []})
    (agent,) = mezzo.json("agents")
    assert "maintenance" not in agent
    assert " active " in mezzo.output("agents")


def post(cluster: Cluster, path: str, body: object) -> None:
    request = urllib.request.Request(f"{cluster.url}{path}", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status == 200


# ----------------------------------------------------------------------------------------------------- running things


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--", "sh", "-c", "echo out; echo err >&2; exit 7"], 7),
        (["--shell", "--", "echo out; echo err >&2; kill -KILL $$"], 128 + signal.SIGKILL),
        (["--", "/bin/sh", "-c", "echo out; echo err >&2"], 0),
    ],
)
def test_run_writes_what_the_command_writes_and_ends_as_it_ends(
    words: list[str], code: int, mezzo: MezzoCommand
) -> None:
    ended = mezzo("run", *words)
    assert (ended.stdout, ended.stderr, ended.code) == ("out\n", "err\n", code)


def test_run_gives_the_command_what_it_asks_for(mezzo: MezzoCommand, tmp_path: Path) -> None:
    file = tmp_path / "greeting.txt"
    file.write_text("good morning\n")
    words = ("--env", "WHO=you all", "--uri", str(file), "--cpus", "0.5", "--resources", "ports:[31000-31001]")
    script = 'cat greeting.txt; echo "$WHO"; echo "$MESOS_ALLOCATION_ROLE"'
    ended = mezzo("run", *words, "--role", "web", "--name", "asks", "--", "sh", "-c", script)
    assert (ended.code, ended.stdout) == (0, "good morning\nyou all\nweb\n")
    # The agent says so in the sandbox's stderr.
    assert str(file) in ended.stderr
    (task,) = mezzo.json("tasks", "--all", "-f", "mezzo run asks")
    assert (task["resources"]["cpus"], task["resources"]["ports"]) == (0.5, "[31000-31001]")


def test_much_output_arrives_whole(mezzo: MezzoCommand) -> None:
    assert mezzo.output("run", "--", "seq", "100000").splitlines() == [str(number) for number in range(1, 100001)]


def test_a_command_that_cannot_be_started_is_told_with_the_reason(mezzo: MezzoCommand) -> None:
    ended = mezzo("run", "--", "/no/such/program")
    assert (ended.code, ended.stdout) == (125, "")
    assert_one_line(ended.stderr, "TASK_FAILED", "/no/such/program")


def test_ctrl_c_kills_the_task_and_leaves_nothing_behind(mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "cut", "--shell", "--", "echo up; exec sleep 1000") as process:
        assert line_of(process) == "up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert process.stderr is not None
        killing, killed = process.stderr.read().splitlines()
        assert killing.startswith("mezzo: killing task cut-")
        assert killed.startswith("mezzo: task cut-")
        assert killed.endswith(" was killed; its executor says: Command terminated with signal Terminated")
    (task,) = mezzo.json("tasks", "--all", "-f", "mezzo run cut")
    assert task["state"] == "TASK_KILLED"
    assert "mezzo run cut" not in [framework["name"] for framework in mezzo.json("frameworks")]


def test_ctrl_c_while_no_offer_is_large_enough_just_ends(mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "huge", "--cpus", "1000", "--", "true") as process:
        until(lambda: "mezzo run huge" in mezzo.output("frameworks"), "the framework is subscribed")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
    assert "mezzo run huge" not in mezzo.output("frameworks")


def test_a_run_that_waits_says_why_until_it_is_offered_enough(mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "greedy", "--cpus", "1000", "--", "true") as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(
            "mezzo: waiting for an offer: mezzo run greedy in role * is offered nothing: "
            "the agent has less free than the smallest offer it takes, cpus 1000, mem 32 (mezzo why "
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
        assert process.stderr.read() == "mezzo: interrupted before an offer came; nothing was launched\n"


def test_a_run_that_somebody_else_kills_says_so(mezzo: MezzoCommand) -> None:
    with mezzo.started("run", "--name", "victim", "--shell", "--", "echo up; exec sleep 1000") as process:
        assert line_of(process) == "up\n"
        mezzo.output("kill", "victim-")
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
        assert process.stderr is not None
        assert_one_line(process.stderr.read(), "task victim-", "was killed", "signal Terminated")


def test_a_run_outlives_the_gateway_it_speaks_through(cluster: Cluster, mezzo: MezzoCommand, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo one; while [ ! -e {gate} ]; do sleep 0.02; done; echo two; exit 3"
    with mezzo.started("run", "--name", "survivor", "--shell", "--", script) as process:
        assert line_of(process) == "one\n"
        gateway = cluster.gateway().process
        gateway.kill()
        gateway.start()
        gateway.wait_healthy()
        gate.touch()
        assert line_of(process) == "two\n"
        assert process.wait(PATIENCE_SECONDS) == 3
    assert "mezzo run survivor" not in mezzo.output("frameworks")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_run_that_is_to_end_takes_its_task_with_it(number: signal.Signals, mezzo: MezzoCommand) -> None:
    name = f"ended-{number.name.lower()}"
    with mezzo.started("run", "--name", name, "--shell", "--", "echo up; exec sleep 1000") as process:
        assert line_of(process) == "up\n"
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    (task,) = mezzo.json("tasks", "--all", "-f", f"mezzo run {name}")
    assert task["state"] == "TASK_KILLED"


def test_a_second_ctrl_c_does_not_wait_for_a_task_that_will_not_end(mezzo: MezzoCommand) -> None:
    script = "trap 'echo no' TERM; echo up; while :; do sleep 0.02; done"
    with mezzo.started("run", "--name", "stubborn", "--shell", "--", script) as process:
        assert line_of(process) == "up\n"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "no\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED


def test_run_goes_on_when_the_agent_is_killed_and_comes_back(
    cluster: Cluster, mezzo: MezzoCommand, tmp_path: Path
) -> None:
    script = f"echo before; while [ ! -e {tmp_path}/gate ]; do sleep 0.02; done; echo after; exit 6"
    with mezzo.started("run", "--shell", "--", script) as process:
        assert line_of(process) == "before\n"
        cluster.agent().process.kill()
        cluster.agent().process.start().wait_healthy()
        (tmp_path / "gate").touch()
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("after\n", "")
        assert process.returncode == 6


@pytest.mark.parametrize(
    "words", [("status",), ("why",), ("logs", "--stdout", "sleeper-"), ("weights", "set", "eng", "1")], ids=" ".join
)
def test_of_several_gateways_the_first_that_answers_is_asked(
    words: tuple[str, ...], mezzo: MezzoCommand, sleeper: dict[str, Any]
) -> None:
    ended = MezzoCommand(f"127.0.0.1:1,{mezzo.api}")(*words)
    assert (ended.code, bool(ended.stdout)) == (0, True)
    assert_one_line(ended.stderr, "no gateway answers at http://127.0.0.1:1", f"trying http://{mezzo.api}")


def test_a_run_goes_on_by_another_gateway(mezzo: MezzoCommand) -> None:
    ended = MezzoCommand(f"127.0.0.1:1,{mezzo.api}")("run", "--", "echo", "out")
    assert (ended.code, ended.stdout) == (0, "out\n")


# ------------------------------------------------------------------------------------------------------ logs and kill


def test_logs_are_those_of_the_task_whose_id_begins_so(mezzo: MezzoCommand, sleeper: dict[str, Any]) -> None:
    for name in (sleeper["id"], "sleeper-"):
        both = mezzo("logs", name)
        assert (both.code, both.stdout, both.stderr) == (0, "one\n", "two\n")
    assert mezzo.output("logs", "--stdout", "sleeper-") == "one\n"
    alone = mezzo("logs", "--stderr", "sleeper-")
    assert (alone.code, alone.stdout, alone.stderr) == (0, "", "two\n")


def test_logs_are_followed_to_the_end_of_a_task_that_is_killed(mezzo: MezzoCommand) -> None:
    script = "trap 'echo last; exit 0' TERM; echo first; while :; do sleep 0.02; done"
    with mezzo.started("run", "--name", "chatty", "--shell", "--", script) as running:
        assert line_of(running) == "first\n"
        with mezzo.started("logs", "-f", "chatty-") as following:
            assert line_of(following) == "first\n"
            assert mezzo.output("kill", "chatty-").endswith(" is being killed\n")
            assert line_of(following) == "last\n"
            assert following.wait(PATIENCE_SECONDS) == 0
        assert line_of(running) == "last\n"
        assert running.wait(PATIENCE_SECONDS) == 0  # the exit code of the command
    (task,) = mezzo.json("tasks", "--all", "-f", "mezzo run chatty")
    assert task["state"] == "TASK_KILLED"


def test_whoever_follows_may_leave(mezzo: MezzoCommand, sleeper: dict[str, Any]) -> None:
    with mezzo.started("logs", "-f", "--stdout", sleeper["id"]) as following:
        assert line_of(following) == "one\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE_SECONDS) == EXIT_INTERRUPTED
        assert following.stderr is not None
        assert following.stderr.read() == ""
    assert state_of(mezzo, sleeper["id"]) == "TASK_RUNNING"


# ------------------------------------------------------------------------------------------------------- completion


def completed(mezzo: MezzoCommand, typed: str) -> list[str]:
    """What bash is told to offer."""
    words = f"mezzo --api {mezzo.api} {typed}"
    variables = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_MEZZO_COMPLETE": "complete_bash",
    }
    ended = subprocess.run(
        [MEZZO], env={**os.environ, **variables}, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_a_shell_is_told_the_ids_that_there_are(mezzo: MezzoCommand, sleeper: dict[str, Any]) -> None:
    task_id, agent_id, framework_id = sleeper["id"], sleeper["slave_id"], sleeper["framework_id"]
    assert completed(mezzo, "logs sleeper-") == [task_id]
    assert completed(mezzo, "describe task sleeper-") == [task_id]
    assert completed(mezzo, f"describe agent {agent_id[:6]}") == [agent_id]
    assert framework_id in completed(mezzo, "tasks --framework ")
    assert "*" in completed(mezzo, "describe role ")
    assert mezzo.api in completed(mezzo, "health ")


# ---------------------------------------------------------------------------------------------------- how they fail


def assert_one_line(text: str, *parts: str) -> None:
    assert text.startswith("mezzo: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    "words", [("logs", "nobody"), ("kill", "nobody"), ("tasks", "-f", "nobody"), ("logs", "[/nobody]")]
)
def test_what_is_not_there_is_told_in_one_line(words: tuple[str, ...], mezzo: MezzoCommand) -> None:
    ended = mezzo(*words)
    assert (ended.code, ended.stdout) == (EXIT_NOT_FOUND, "")
    assert_one_line(ended.stderr, words[-1])


def test_an_id_that_may_be_several_is_told_with_them(mezzo: MezzoCommand) -> None:
    for _ in range(2):
        mezzo.output("run", "--name", "twin", "--", "true")
    ended = mezzo("logs", "twin-")
    assert ended.code == EXIT_FAILED
    assert_one_line(ended.stderr, "twin- is ambiguous: twin-")


ASKING = [("status",), ("agents",), ("frameworks",), ("tasks",), ("roles",), ("quota",), ("weights",), ("why",)]


@pytest.mark.parametrize(
    "words",
    [
        *ASKING,
        ("logs", "x"),
        ("kill", "x"),
        ("run", "--", "true"),
        ("weights", "set", "x", "2"),
        ("quota", "set", "x", "--limit", "cpus:1"),
        ("quota", "remove", "x"),
    ],
    ids=" ".join,
)
def test_a_gateway_that_is_not_there_is_told_in_one_line(words: tuple[str, ...]) -> None:
    ended = MezzoCommand("127.0.0.1:1")(*words)
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, "no gateway answers at http://127.0.0.1:1: Connection refused;", "MEZZO_API")


@pytest.mark.parametrize("words", [*ASKING, ("logs", "x"), ("run", "--", "true")], ids=" ".join)
def test_something_else_that_answers_is_told_in_one_line(words: tuple[str, ...], cluster: Cluster) -> None:
    ended = MezzoCommand(cluster.agent().http)(*words)
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, cluster.agent().http, "is not a gateway")


def test_what_the_cluster_refuses_is_told_in_its_words(mezzo: MezzoCommand) -> None:
    ended = mezzo("run", "--role", "two words", "--", "true")
    assert (ended.code, ended.stdout) == (125, "")
    assert ended.stderr.startswith("mezzo: --role: 'two words' has white space")
    assert_one_line(ended.stderr)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("run", "--uri", "", "--", "true"), "mezzo: TASK_ERROR: --uri: "),
        (
            ("run", "--name", "x" * 300, "--", "true"),
            "mezzo: TASK_ERROR: --name: has 309 bytes",
        ),
        (("weights", "set", "", "1"), "mezzo: role: '' is empty"),
        (("quota", "remove", "nobodys"), "mezzo: role 'nobodys' has no quota"),
        (("quota", "set", "two words", "--limit", "cpus:1"), "mezzo: role: 'two words' has white space"),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, tuple) else "",
)
def test_what_is_refused_is_called_what_was_typed_and_no_field_of_a_message(
    words: tuple[str, ...], shown: str, mezzo: MezzoCommand
) -> None:
    ended = mezzo(*words)
    assert ended.stderr.startswith(shown)
    assert_one_line(ended.stderr)
    assert not any(
        path in ended.stderr for path in ("task_infos", "framework_info", "weight_infos", "configs", "_quota")
    )


@pytest.mark.parametrize("verb", ["kill", "logs"])
def test_an_empty_id_is_nobodys(verb: str, mezzo: MezzoCommand, sleeper: dict[str, Any]) -> None:
    ended = mezzo(verb, "")
    assert (ended.code, ended.stderr) == (EXIT_NOT_FOUND, "mezzo: no task has an empty id\n")
    assert state_of(mezzo, sleeper["id"]) == "TASK_RUNNING"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run", "--cpus", "-1", "--", "true"), "-1"),
        (("run", "--env", "WITHOUT", "--", "true"), "WITHOUT"),
        (("tasks", "-o", "xml"), "xml"),
        (("--api", "host:port", "status"), "host:port"),
        (("--api", "", "status"), "--api"),
        (("no-such-verb",), "no-such-verb"),
        # Whatever is typed is shown as it was typed.
        (("[red]x[/y]",), "[red]x[/y]"),
        (("weights", "set", "x", "[red]1[/y]"), "[red]1[/y]"),
        (("run", "--env", ":smile:", "--", "true"), ":smile:"),
    ],
)
def test_wrong_words_are_usage_errors(words: tuple[str, ...], named: str, mezzo: MezzoCommand) -> None:
    ended = mezzo(*words)
    assert (ended.code, ended.stdout) == (EXIT_USAGE, "")
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
