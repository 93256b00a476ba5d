"""Configuration: flags over environment over file over default, and one line that names what is wrong."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from mezzo import durations
from mezzo_chassis import config
from mezzo_chassis.config import (
    address,
    as_text,
    boolean,
    byte_count,
    count,
    duration,
    flag,
    fraction,
    interval,
    load,
    one_of,
)
from mezzo_chassis.leadership import ZooKeeperUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    port: int = flag(5050, "Where HTTP is served.", parse=config.port)
    agent_ping_timeout: float = flag("15secs", "How long to wait.", parse=duration)
    max_stdout_size: int = flag("10MB", "How large.", parse=byte_count, heading="Limits")
    heartbeat_interval: float = flag("15secs", "How often.", parse=interval)
    max_completed_frameworks: int = flag("50", "How many.", parse=count)
    gc_disk_headroom: float = flag("0.1", "How much.", parse=fraction)
    switch_user: bool = flag("true", "Whether.", parse=boolean)
    master: tuple[str, int] = flag("127.0.0.1:5060", "Where.", parse=address)
    zk: ZooKeeperUrl | None = flag(None, "Which.", parse=ZooKeeperUrl.parse)  # noqa: RUF009  fields are made by it
    resources: str = flag("", "What there is.")
    zk_password: str = flag("", "The secret.", secret=True)
    zk_pin: int = flag("0", "A secret number.", parse=int, secret=True)
    log_format: str = flag("auto", "Which form.", parse=one_of("auto", "json", "console"))


def read(*argv: str) -> Config:
    return load(Config, argv, service="registry", version="1.2.3")


def test_defaults_are_written_as_on_the_command_line() -> None:
    assert read() == Config(
        port=5050,
        agent_ping_timeout=15.0,
        max_stdout_size=10 * 2**20,
        heartbeat_interval=15.0,
        max_completed_frameworks=50,
        gc_disk_headroom=0.1,
        switch_user=True,
        master=("127.0.0.1", 5060),
        zk=None,
        resources="",
        zk_password="",
        zk_pin=0,
        log_format="auto",
    )


def test_flags_win_over_environment_over_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text('port = 1\nagent_ping_timeout = "1mins"\nmax_stdout_size = 5\nswitch_user = false\n')
    monkeypatch.setenv("MEZZO_REGISTRY_PORT", "2")
    monkeypatch.setenv("MEZZO_REGISTRY_AGENT_PING_TIMEOUT", "2mins")
    found = read("--port=3", f"--config={file}")
    assert (found.port, found.agent_ping_timeout, found.max_stdout_size) == (3, 120.0, 5)
    assert not found.switch_user


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MEZZO_REGISTRY_AGENT_PING_TIMOUT", "; did you mean MEZZO_REGISTRY_AGENT_PING_TIMEOUT?"),
        ("MEZZO_REGISTRY_PRT", "; did you mean MEZZO_REGISTRY_PORT?"),
        ("MEZZO_REGISTRY_WHATEVER", "; see mezzo registry --help"),
    ],
)
def test_a_variable_that_sets_no_flag_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "5")
    with pytest.raises(SystemExit) as ended:
        read()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"mezzo registry: environment variable {name}: no such flag{hint}\n"


@pytest.mark.parametrize("turns", ["", "often", "-1", "1.5", "9" * 5000], ids=lambda turns: turns[:5])
def test_how_often_the_state_is_checked_is_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], turns: str
) -> None:
    monkeypatch.setenv("MEZZO_VALIDATE_EVERY", turns)
    with pytest.raises(SystemExit) as ended:
        read()
    assert ended.value.code == 2
    assert "MEZZO_VALIDATE_EVERY" in capsys.readouterr().err


def test_what_kubernetes_tells_of_services_is_no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MEZZO_REGISTRY_SERVICE_HOST": "10.96.0.7",
        "MEZZO_REGISTRY_SERVICE_PORT": "5060",
        "MEZZO_REGISTRY_SERVICE_PORT_GRPC": "5060",
        "MEZZO_REGISTRY_OTHER_PORT": "tcp://10.96.0.7:5060",
        "MEZZO_REGISTRY_PORT_5060_TCP_ADDR": "10.96.0.7",
        "MEZZO_GATEWAY_WHATEVER": "another service's",
    }.items():
        monkeypatch.setenv(name, value)
    assert read().port == 5050


def test_dashes_do_as_well_as_underscores() -> None:
    assert read("--agent-ping-timeout=1ms").agent_ping_timeout == 0.001


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--port=http"], "--port"),
        (["--port=http"], "'http' must be an integer of at least 0"),
        (["--port=-1"], "'-1' must be an integer of at least 0"),
        (["--port=70000"], "70000 must be a port from 0 to 65535"),
        (["--heartbeat_interval=0secs"], "'0secs' must be greater than 0"),
        (["--heartbeat_interval=often"], "'often' is not a duration"),
        (["--max_completed_frameworks=1.5"], "'1.5' must be an integer of at least 0"),
        (["--agent_ping_timeout=soon"], "'soon' is not a duration such as 500ms, 15secs or 10mins"),
        (["--max_stdout_size=10XB"], "--max_stdout_size"),
        (["--gc_disk_headroom=2"], "'2' must be between 0 and 1"),
        (["--switch_user=perhaps"], "'perhaps' must be true or false"),
        (["--master=nowhere"], "'nowhere' must be host:port"),
        (["--log_format=xml"], "'xml' must be one of auto, json, console"),
        (["--frob=1"], "--frob"),
        (["--zk=zk://user:swordfish@host/mezzo"], "'host' must be host:port"),
        (["--zk=zk://user:sword/swordfish@host:1/mezzo"], "in a password, a slash is written %2F"),
        (["--zk=zk://user:sword swordfish@host/mezzo"], "'host' must be host:port"),
        (["--zk=zk:/user:swordfish@host/mezzo"], "must begin with zk://"),
        (["--master=http://user:swordfish@host"], "'host' must be host:port"),
        (["zk://user:swordfish@host:1/mezzo"], "unexpected extra argument (zk://host:1/mezzo)"),
        (["--zk_pin=swordfish"], "--zk_pin"),
        (["--port"], "'--port' requires an argument"),
        (["--config=/nonexistent.toml"], "/nonexistent.toml cannot be read"),
    ],
)
def test_a_wrong_value_ends_the_program_with_the_name_of_the_flag(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(*argv)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "swordfish" not in error
    assert error.startswith("mezzo registry: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"prot": 1}', "has unknown flags: prot"),
        ('["port"]', "is not an object of flags"),
        ("5", "is not an object of flags"),
        ('{"port":', "cannot be read"),
        ('{"port": "http"}', "--port"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "registry.json"
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        read(f"--config={file}")
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_file_may_spell_flags_with_dashes_leave_them_open_and_hold_json_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "registry.json"
    file.write_text('{"gc-disk-headroom": 0.5, "zk": null, "switch_user": false, "resources": [{"name": "cpus"}]}')
    found = read(f"--config={file}")
    assert (found.gc_disk_headroom, found.zk, found.switch_user) == (0.5, None, False)
    assert found.resources == '[{"name": "cpus"}]'


@pytest.mark.parametrize(
    ("argv", "switched"),
    [
        (["--switch_user"], True),
        (["--no-switch_user"], False),
        (["--no-switch-user", "--port=1"], False),
        (["--switch_user", "false"], False),
        (["--switch_user=false"], False),
        (["--no-switch_user", "--switch-user"], True),
    ],
)
def test_switches_are_written_as_mesos_takes_them(argv: list[str], switched: bool) -> None:
    assert read(*argv).switch_user is switched


def test_help_tells_every_flag_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read("--help")
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "--agent_ping_timeout" in told
    assert "default: 15secs]" in told
    assert "default: 0]" not in told  # the secret's


def test_help_tells_of_flags_in_groups_each_once_with_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        read("--help")
    told = capsys.readouterr().out
    for name in ("port", "agent_ping_timeout", "zk", "zk_password", "log_format"):
        assert told.count(f"  --{name} ") == 1
        assert len(re.findall(rf"\[MEZZO_REGISTRY_{name.upper()}[;\]]", told)) == 1
    assert "--agent-ping-timeout" not in told
    lines = told.splitlines()
    assert [line for line in lines if line.endswith(":") and not line.startswith(" ")] == [
        "Flags:",
        "Limits:",
        "General:",
    ]
    limits = lines[lines.index("Limits:") : lines.index("General:")]
    assert [line.split()[0] for line in limits if line.startswith("  --")] == [
        *("--max_stdout_size", "--heartbeat_interval", "--max_completed_frameworks", "--gc_disk_headroom"),
        *("--switch_user", "--master", "--zk", "--resources", "--zk_password", "--zk_pin", "--log_format"),
    ]
    assert "  --zk ZK_URL " in told
    assert "  --config FILE " in told


@pytest.mark.parametrize("given", ["90", " 2.5 "])
def test_a_duration_needs_a_unit(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read(f"--agent_ping_timeout={given}")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "--agent_ping_timeout" in told
    assert f"{given!r} has no unit; expected {given.strip()}secs, for example" in told


def test_no_time_at_all_needs_no_unit() -> None:
    assert read("--agent_ping_timeout=0").agent_ping_timeout == 0


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("--version")
    assert "1.2.3" in capsys.readouterr().out


def test_flags_are_told_in_mesos_form_and_secrets_not_at_all() -> None:
    told = as_text(
        read(
            "--zk_password=swordfish",
            "--zk_pin=1234",
            "--agent_ping_timeout=90secs",
            "--zk=zk://user:swordfish@host:2181/mezzo",
            "--resources=from http://user:swordfish@host/",
            "--master=[::1]:5060",
        )
    )
    assert told == {
        "port": "5050",
        "agent_ping_timeout": "90secs",
        "max_stdout_size": "10MB",
        "heartbeat_interval": "15secs",
        "max_completed_frameworks": "50",
        "gc_disk_headroom": "0.1",
        "switch_user": "true",
        "master": "[::1]:5060",
        "zk": "zk://host:2181/mezzo",
        "resources": "from http://host/",
        "zk_password": "<secret>",
        "zk_pin": "<secret>",
        "log_format": "auto",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("5secs", 5.0), ("500ms", 0.5), ("1weeks", 604800.0), ("10mins", 600.0), ("0ns", 0.0)]
)
def test_lengths_of_time_read_and_write_alike(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert duration(durations.text_of(seconds)) == seconds
