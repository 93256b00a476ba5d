"""`mezzo` without a cluster: its help, its completion, and the services that it starts."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientTimeout

from mezzo.cli import api, service_flags
from mezzo.cli.command import ELSEWHERE
from mezzo.cli.version import REVISION_FILE, described
from mezzo_chassis import build
from mezzo_chassis.errors import Exit
from mezzo_chassis.testing import free_ports
from tests.mezzo_command import MEZZO, PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

VERBS = (
    *("status", "members", "agents", "frameworks", "tasks", "roles", "describe", "why", "events", "health"),
    *(
        "run",
        "runs",
        "attach",
        "stop",
        "logs",
        "ls",
        "cat",
        "get",
        "kill",
        "teardown",
        "quota",
        "weights",
        "maintenance",
    ),
    *("context", "local", "completion"),
)
# Each service, and a flag that it alone has.
SERVICES = {
    "registry": "--max_agent_ping_timeouts",
    "allocator": "--allocation_interval",
    "agent": "--executor_registration_timeout",
    "gateway": "--master",
}
EXIT_UNREACHABLE = 69
PAUSE_SECONDS = 0.05


@pytest.fixture
def mezzo() -> MezzoCommand:
    return MezzoCommand("127.0.0.1:1")


def process(*words: str, **variables: str) -> str:
    """What the real `mezzo` writes; it has to succeed."""
    return subprocess.run(
        [MEZZO, *words],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    ).stdout


def test_help_lists_every_verb_and_every_service() -> None:
    told = process("--help", COLUMNS="120")
    assert all(f"│ {name} " in told for name in (*VERBS, *SERVICES))


def test_help_tells_what_the_exit_codes_mean() -> None:
    told = " ".join(process("--help", COLUMNS="120").split())
    for said in (
        "2, usage error;",
        "3, a port is in use (local);",
        "66, ",
        "69, no gateway",
        "125, ",
        "130, interrupted",
    ):
        assert said in told


def test_the_version_is_that_of_the_services(mezzo: MezzoCommand) -> None:
    told = mezzo.output("--version")
    assert told == f"mezzo {build.described(version('mezzo'))}\n"
    assert str(REVISION_FILE) == str(build.REVISION_FILE)


def test_the_commit_is_told_where_the_installation_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    (tmp_path / REVISION_FILE).parent.mkdir(parents=True)
    (tmp_path / REVISION_FILE).write_text("3f2a\n")
    assert described() == build.described(version("mezzo")) == f"{version('mezzo')} (commit 3f2a)"


@pytest.mark.parametrize("flag", ["--port", "--agent-port"])
def test_a_port_in_use_is_told_with_who_holds_it(flag: str, mezzo: MezzoCommand, tmp_path: Path) -> None:
    (free,) = free_ports(1)
    other = "--agent-port" if flag == "--port" else "--port"
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        ended = mezzo("local", flag, str(port), other, str(free), "--work-dir", str(tmp_path / "work"))
    assert (ended.code, ended.stdout) == (Exit.PORT_IN_USE, "")
    service = "gateway" if flag == "--port" else "agent"
    assert ended.stderr.startswith(f"mezzo: port {port} for the {service} ({flag}) is in use (held by ")
    assert ended.stderr.endswith(f", process {os.getpid()})\n")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("number", ["-1", "65536", "99999"])
@pytest.mark.parametrize("flag", ["--port", "--agent-port"])
def test_a_port_that_there_is_not_is_a_usage_error(flag: str, number: str, mezzo: MezzoCommand, tmp_path: Path) -> None:
    ended = mezzo("local", flag, number, "--work-dir", str(tmp_path / "work"))
    assert (ended.code, ended.stdout) == (2, "")
    assert all(word in ended.stderr for word in (flag, "0" if number == "-1" else "65535"))
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        *(("status",), ("agents",), ("frameworks",), ("tasks",), ("roles",), ("quota",), ("weights",), ("why",)),
        *(("logs", "x"), ("kill", "x"), ("run", "--", "true"), ("quota", "remove", "x"), ("weights", "set", "x", "2")),
    ],
    ids=" ".join,
)
def test_a_gateway_that_hangs_is_given_up_soon(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = api.AT_HAND
    assert limits.sock_connect is not None
    assert limits.sock_read is not None
    assert max(limits.sock_connect, limits.sock_read) <= 5
    monkeypatch.setattr(api, "AT_HAND", ClientTimeout(total=PATIENCE_SECONDS, sock_read=0.1))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ended = MezzoCommand(address)(*words)
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert ended.stderr == (
        f"mezzo: no gateway answers at http://{address}: it accepts connections, but sent nothing for 5 s: it hangs; "
        "--api or MEZZO_API says where one is, and mezzo local starts one\n"
    )


def test_none_of_several_gateways_that_answers_is_told_with_all_of_them() -> None:
    one, other = free_ports(2)
    ended = MezzoCommand(f"127.0.0.1:{one},127.0.0.1:{other}")("status")
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    first, last = ended.stderr.splitlines()
    refused = "Connection refused"
    assert first == f"mezzo: no gateway answers at http://127.0.0.1:{one}: {refused}; trying http://127.0.0.1:{other}"
    assert last.startswith(f"mezzo: no gateway answers at http://127.0.0.1:{one},http://127.0.0.1:{other}: {refused};")


@pytest.mark.parametrize("words", [("run", "--name"), ("weights", "set"), ("why",), ("tasks", "-f")], ids=" ".join)
def test_words_that_are_no_text_are_refused_in_one_line(words: tuple[str, ...]) -> None:
    ended = subprocess.run([MEZZO, *words, b"caf\xe9"], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "mezzo: not UTF-8: b'caf\\xe9'\n")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb: str, mezzo: MezzoCommand) -> None:
    told = mezzo.output(verb, "--help")
    assert f"Usage: mezzo {verb} " in told
    assert mezzo.output(verb, "-h") == told


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_explains_its_own_flags(service: str, mezzo: MezzoCommand) -> None:
    told = mezzo.output(service, "--help")
    assert SERVICES[service] in told
    for flag in ("--ip", "--metrics_port", "--log_level", "--config"):
        assert flag in told


def test_the_usage_line_of_a_service_is_what_to_type() -> None:
    assert process("gateway", "--help").startswith("Usage: mezzo gateway ")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("words", [("--metrics_port=many",), ("--no-such-flag=1",), ("--log_level=loud",)])
def test_a_wrong_flag_is_named_in_one_line(words: tuple[str, ...], service: str, mezzo: MezzoCommand) -> None:
    ended = mezzo(service, *words)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"mezzo {service}: ")
    assert ended.stderr.count("\n") == 1
    assert words[0].partition("=")[0] in ended.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mezzo sta", ["status"]),
        ("mezzo tasks --fr", ["--framework"]),
        ("mezzo agents -o ", ["json", "name", "table", "wide", "yaml"]),
        ("mezzo ga", ["gateway"]),
        ("mezzo registry --grpc", ["--grpc_port"]),
        ("mezzo agent --max_stdo", ["--max_stdout_files", "--max_stdout_size"]),
        ("mezzo describe ag", ["agent"]),
        ("mezzo tasks --state kill", ["killed", "killing"]),
        ("mezzo agents --state active,un", ["active,unreachable"]),
        # Nobody answers, and nobody hears of that.
        ("mezzo --api 127.0.0.1:1 describe task we", []),
        ("mezzo --context nope tasks --framework ", []),
    ],
)
def test_a_shell_is_told_how_words_may_go_on(typed: str, offered: list[str]) -> None:
    words = typed.split(" ")
    answer = process(COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1), _MEZZO_COMPLETE="complete_bash")
    assert sorted(answer.split()) == offered


@pytest.mark.parametrize("service", SERVICES)
def test_a_shell_is_told_every_flag_of_a_service(service: str) -> None:
    config = importlib.import_module(f"mezzo_{service}.config").Config
    told = service_flags.flags_of(f"mezzo_{service}")
    assert [flag.name for flag in told] == [*(field.name for field in dataclasses.fields(config)), "config"]
    assert all(flag.help for flag in told)


def test_a_shell_is_told_nothing_of_a_service_that_is_not_installed() -> None:
    assert service_flags.flags_of("mezzo_nowhere") == []


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _mezzo_completion mezzo"),
        ("zsh", "#compdef mezzo"),
        ("fish", "complete --command mezzo"),
    ],
)
def test_the_script_for_a_shell_is_printed(shell: str, line: str, mezzo: MezzoCommand) -> None:
    told = mezzo.output("completion", shell)
    assert line in told
    assert told == process(_MEZZO_COMPLETE=f"source_{shell}")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=told, text=True, timeout=PATIENCE_SECONDS, check=True)


def test_flags_count_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('attributes = "from:file"\ndefault_role = "file"\ngc_delay = "3days"\n')
    port, grpc_port, metrics_port, nobody = free_ports(4)
    words = [
        *("agent", f"--config={tmp_path / 'agent.toml'}", f"--work_dir={tmp_path / 'agent'}", "--ip=127.0.0.1"),
        *(f"--port={port}", f"--grpc_port={grpc_port}", f"--metrics_port={metrics_port}"),
        *(f"--master=127.0.0.1:{nobody}", "--attributes=from:flag"),
    ]
    variables = {"MEZZO_AGENT_ATTRIBUTES": "from:environment", "MEZZO_AGENT_DEFAULT_ROLE": "environment"}
    with (tmp_path / "log").open("wb") as log:
        agent = subprocess.Popen([MEZZO, *words], env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        flags = flags_of(agent, port)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_SECONDS) == 0
    finally:
        agent.kill()
        agent.wait()
    assert (flags["attributes"], flags["default_role"]) == ("from:flag", "environment")
    assert (flags["gc_delay"], flags["recovery_timeout"]) == ("3days", "15mins")


def flags_of(service: subprocess.Popen[bytes], port: int) -> dict[str, Any]:
    """The flags that a service runs with, once it answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/flags", timeout=PATIENCE_SECONDS) as answer:
                flags: dict[str, Any] = json.load(answer)["flags"]
                return flags
        except urllib.error.URLError:
            assert service.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(PAUSE_SECONDS)


@pytest.mark.parametrize("verb", [(), ("describe",), ("migrate",)], ids=["mezzo", "describe", "migrate"])
def test_without_a_verb_the_help_is_printed_once(verb: tuple[str, ...], mezzo: MezzoCommand) -> None:
    ended = mezzo(*verb)
    assert (ended.code, ended.stderr) == (2, "")
    assert ended.stdout.count("Usage: ") == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("nodes", "no such command 'nodes'; the verb here is mezzo agents; see mezzo --help"),
        ("taks", "no such command 'taks'. Did you mean 'tasks', 'status'?; see mezzo --help"),
        ("quota delete", "no such command 'delete'; see mezzo quota --help"),
        ("--api", "option --api requires an argument; see mezzo --help"),
        ("describe task --framework", "option --framework requires an argument; see mezzo describe task --help"),
        ("logs --tail -1 x", "--tail / -n: must be greater than or equal to 0; see mezzo logs --help"),
        ("events --limit 1x", "--limit / -n: must be a valid integer; see mezzo events --help"),
        ("weights set eng 0", "WEIGHT: '0' is not a number from 0.000001 to 1000000; see mezzo weights set --help"),
    ],
)
def test_wrong_words_are_told_with_where_to_read_of_right_ones(typed: str, told: str, mezzo: MezzoCommand) -> None:
    ended = mezzo(*typed.split())
    assert (ended.code, ended.stdout, ended.stderr) == (2, "", f"mezzo: {told}\n")


def test_words_of_other_tools_lead_to_verbs_that_there_are() -> None:
    assert set(ELSEWHERE.values()) <= {*VERBS}
    assert not ELSEWHERE.keys() & {*VERBS, *SERVICES}
