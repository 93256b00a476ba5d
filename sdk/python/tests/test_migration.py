"""What a Mesos machine's configuration becomes: read from where it stands, and told flag by flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mezzo.cli import exit_codes
from mezzo.cli.app import app
from mezzo.errors import InvalidRequest
from mezzo.migration.flags import Fate, Program, entry_of
from mezzo.migration.sources import Configuration


def read_text(text: str) -> Configuration:
    configuration = Configuration()
    configuration.read_text(text, "here")
    return configuration


def values(configuration: Configuration) -> dict[str, str]:
    return {each.name: each.value for each in configuration.flags}


UNIT = r"""
[Unit]
Description=Mesos, with --quorum=5 in a sentence

[Service]
Environment="MESOS_RESOURCES=cpus:4;mem:1024" PATH=/usr/bin
ExecStart=-/usr/sbin/mesos-slave --master=zk://zk1:2181/mesos \
    --work_dir /var/lib/mesos --no-systemd_enable_support --strict
"""
VARIABLES = """
# The master.
export MESOS_ZK="zk://zk1:2181,zk2:2181/mesos"
MESOS_QUORUM=2  # of three
MESOS_NO_HOSTNAME_LOOKUP=true
LIBPROCESS_SSL_ENABLED=1
JAVA_HOME=/opt/java
"""


def test_a_unit_of_systemd_is_read_with_its_command_and_its_variables() -> None:
    configuration = read_text(UNIT)
    assert configuration.program is Program.AGENT
    assert values(configuration) == {
        "resources": "cpus:4;mem:1024",
        "master": "zk://zk1:2181/mesos",
        "work_dir": "/var/lib/mesos",
        "systemd_enable_support": "false",
        "strict": "true",
    }


def test_a_file_of_variables_is_read_and_what_is_not_of_mesos_is_passed_over() -> None:
    configuration = read_text(VARIABLES)
    assert configuration.program is Program.MASTER, "only a master has a quorum"
    assert values(configuration) == {
        "zk": "zk://zk1:2181,zk2:2181/mesos",
        "quorum": "2",
        "hostname_lookup": "false",
        "LIBPROCESS_SSL_ENABLED": "1",
    }


def test_variables_of_the_start_script_of_the_packages_are_flags_too() -> None:
    configuration = read_text("PORT=5050\nZK=`cat /etc/mesos/zk`\nexport LOGS=/var/log/mesos\nULIMIT='-n 8192'\n")
    assert values(configuration) == {"port": "5050", "zk": "`cat /etc/mesos/zk`", "log_dir": "/var/log/mesos"}
    assert values(read_text("[Service]\nEnvironment=PORT=5050 MESOS_IP=10.0.0.7\n")) == {"ip": "10.0.0.7"}


def test_attributes_and_resources_of_a_folder_are_files_of_a_folder_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "mesos-slave"
    for name, value in (
        ("attributes/rack", "7\n"),
        ("attributes/zone", "a"),
        ("attributes/none", ""),
        ("other/x", "1"),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    configuration = Configuration()
    configuration.read(folder)
    assert values(configuration) == {"attributes": "rack:7;zone:a"}


def test_a_folder_has_a_file_for_each_flag_and_switches_in_names(tmp_path: Path) -> None:
    folder = tmp_path / "mesos-slave"
    folder.mkdir()
    (folder / "attributes").write_text("rack:7\n")
    (folder / "?no-switch_user").touch()
    (folder / ".attributes.swp").touch()
    (tmp_path / "zk").write_text("zk://zk1:2181/mesos\n")
    configuration = Configuration()
    configuration.read(folder)
    configuration.read(tmp_path / "zk")
    assert configuration.program is Program.AGENT
    assert values(configuration) == {"attributes": "rack:7", "switch_user": "false", "zk": "zk://zk1:2181/mesos"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot be read: it is not text"),
        (b"MESOS_ACLS='{", "no closing quotation"),
        (None, "No such file"),
    ],
    ids=["bytes", "quotation", "missing"],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "mesos"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as refused:
        Configuration().read(path)
    assert refused.value.field == str(path)


def test_whose_flags_they_are_is_not_guessed() -> None:
    assert read_text("MESOS_PORT=5050\nMESOS_IP=10.0.0.7\n").program is None
    assert read_text("MESOS_QUORUM=1\nMESOS_ISOLATION=posix\n").program is None


@pytest.mark.parametrize(
    ("program", "name", "value", "fate", "attention"),
    [
        (Program.MASTER, "zk", "zk://h:1/m", Fate.RENAMED, False),
        (Program.MASTER, "role_sorter", "drf", Fate.SAME, False),
        (Program.MASTER, "quorum", "2", Fate.MEANINGLESS, False),
        (Program.MASTER, "acls", "/etc/acls", Fate.NOT_YET, True),
        (Program.MASTER, "authenticate_frameworks", "false", Fate.NOT_YET, False),
        (Program.MASTER, "authenticate", "true", Fate.NOT_YET, True),
        (Program.MASTER, "launcher", "posix", Fate.UNKNOWN, True),
        (Program.AGENT, "containerizers", "mesos", Fate.MEANINGLESS, False),
        (Program.AGENT, "containerizers", "docker, mesos", Fate.MEANINGLESS, True),
        (Program.AGENT, "isolation", "posix/cpu,posix/mem", Fate.SAME, False),
        (Program.AGENT, "isolation", "posix/cpu,cgroups/mem", Fate.SAME, True),
        (Program.MASTER, "LIBPROCESS_SSL_KEY_FILE", "/k", Fate.RENAMED, False),
        (Program.AGENT, "LIBPROCESS_SSL_KEY_FILE", "/k", Fate.MEANINGLESS, True),
    ],
)
def test_what_a_flag_is_here_depends_on_its_value_too(
    program: Program, name: str, value: str, fate: Fate, attention: bool
) -> None:
    entry = entry_of(program, name)
    assert (entry.fate, entry.needs_attention(value)) == (fate, attention)


# --------------------------------------------------------------------------------------------------------- the verb


def test_the_verb_says_all_at_once_and_ends_with_1_where_something_needs_attention() -> None:
    line = ["migrate", "flags", "--output=json", "--", "mesos-master", "--zk=zk://u:secret@zk1:1/m", "--acls=/etc/acls"]
    answer = CliRunner().invoke(app, line)
    assert answer.exit_code == exit_codes.FAILED
    assert "1 of 2 flags need attention" in answer.stderr
    acls, zk = json.loads(answer.stdout)
    assert acls["needs_attention"]
    assert acls["here"] == "not yet"
    assert zk["given_to"] == [
        {"service": "registry", "flag": "zk"},
        {"service": "allocator", "flag": "zk"},
        {"service": "gateway", "flag": "master"},
    ]
    assert zk["value"] == "zk://zk1:1/m", "no password"


def test_the_verb_ends_with_0_where_nothing_needs_attention() -> None:
    answer = CliRunner().invoke(app, ["migrate", "flags", "-"], input="ExecStart=mesos-master --quorum=2\n")
    assert answer.exit_code == 0, answer.stderr
    assert "means nothing here" in answer.stdout


def test_what_may_hold_a_secret_is_not_shown() -> None:
    text = 'MESOS_CREDENTIALS=\'{"credentials": [{"secret": "swordfish"}]}\'\n'
    answer = CliRunner().invoke(app, ["migrate", "flags", "-o", "wide", "-"], input=text)
    assert answer.exit_code == exit_codes.FAILED
    assert "credentials" in answer.stdout
    assert "swordfish" not in answer.stdout


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("MESOS_PORT=5050\n", exit_codes.USAGE, "--of master or --of agent"),
        ("PATH=/bin\n", exit_codes.NOT_FOUND, "no flag of Mesos"),
    ],
    ids=["whose", "none"],
)
def test_the_verb_says_what_it_cannot_do(text: str, code: int, message: str) -> None:
    answer = CliRunner().invoke(app, ["migrate", "flags", "-"], input=text)
    assert answer.exit_code == code
    assert message in answer.stderr
