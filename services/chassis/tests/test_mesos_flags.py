"""A service that is started as a Mesos master or agent was: it says what of that means nothing, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from mezzo_chassis.config import boolean, flag, load
from mezzo_chassis.mesos_flags import warn_of_variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    zk: str = flag("", "Where.")
    strict: bool = flag("true", "Whether.", parse=boolean)


def refused(capsys: pytest.CaptureFixture[str], service: str, *argv: str) -> str:
    with pytest.raises(SystemExit) as ended:
        load(Config, argv, service=service)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_flags_of_mesos_are_refused_all_at_once_each_with_what_it_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(
        capsys, "registry", "--zk=x", "--quorum=2", "--no-authenticate", "--role-sorter", "drf", "--frobnicate"
    )
    assert told.startswith("mezzo registry: no such flags: --quorum (means nothing here: there is no replicated log")
    assert "--authenticate (authentication is not there yet)" in told
    assert "--role_sorter (here --role_sorter of the allocator)" in told
    assert told.endswith("; --frobnicate\n")


def test_an_agents_flags_are_those_of_mesos_agent(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "agent", "--logging_level=INFO", "--launcher_dir=/usr/libexec/mesos")
    assert "--logging_level (here --log_level)" in told
    assert "--launcher_dir (means nothing here" in told


def test_a_flag_that_mesos_has_not_either_is_refused_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such option '--strickt'" in refused(capsys, "agent", "--strickt")


def test_variables_of_mesos_are_told_in_one_line_with_what_each_is_here() -> None:
    environment = {
        "MESOS_ZK": "zk://u:secret@h/m",
        "MESOS_QUORUM": "2",
        "MESOS_NO_AUTHENTICATE_AGENTS": "1",
        "PATH": "/",
    }
    with capture_logs() as logs:
        warn_of_variables("registry", {**environment, "MESOS_NATIVE_JAVA_LIBRARY": "/usr/lib/libmesos.so"})
    (told,) = logs
    assert told["log_level"] == "warning"
    assert "secret" not in str(told)
    assert told["variables"].keys() == environment.keys() - {"PATH"}
    assert told["variables"]["MESOS_ZK"] == "here MEZZO_REGISTRY_ZK and MEZZO_ALLOCATOR_ZK and MEZZO_GATEWAY_MASTER"
    assert told["variables"]["MESOS_QUORUM"].startswith("means nothing here: there is no replicated log")


def test_a_service_that_runs_as_a_task_has_variables_of_its_agent_which_are_no_flags() -> None:
    with capture_logs() as logs:
        warn_of_variables("gateway", {"MESOS_FRAMEWORK_ID": "f", "MESOS_RECOVERY_TIMEOUT": "15mins"})
        warn_of_variables("gateway", {"PATH": "/bin"})
    assert logs == []
