"""What the agent says it has, from its flags and from the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from mezzo import domains
from mezzo.resources import parse
from mezzo_agent.adapters import detection
from mezzo_agent.app import settings
from mezzo_agent.config import Config
from mezzo_agent.core import environment
from mezzo_chassis.config import as_text, load
from mezzo_chassis.errors import Exit, StartupError


def config(tmp_path: Path, **flags: Any) -> Config:
    return Config(work_dir=tmp_path / "work", **flags)


def test_what_is_not_given_is_detected(tmp_path: Path) -> None:
    total = detection.total(config(tmp_path))
    memory_mib = psutil.virtual_memory().total >> 20
    assert total.cpus == len(os.sched_getaffinity(0))
    assert total.mem == (memory_mib - 1024 if memory_mib > 2048 else memory_mib // 2)
    assert total.disk is not None
    assert str(total.named("ports")) == "ports:[31000-32000]"


def test_what_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    total = detection.total(config(tmp_path, resources="cpus:0.5;mem(ads):64;gpus:2"))
    assert (total.cpus, total.gpus) == (0.5, 2)
    assert total.reserved("ads") == parse("mem(ads):64")
    assert total.unreserved().thousandths_of("mem") == 0


def test_default_role_is_that_of_resources_which_name_none(tmp_path: Path) -> None:
    total = detection.total(config(tmp_path, resources="cpus:1;mem(ads):64", default_role="dev"))
    assert total.reserved("dev").cpus == 1
    assert total.reserved("ads").mem == 64
    assert not total.unreserved()


@pytest.mark.parametrize(
    ("flags", "named"), [({"resources": "cpus:many"}, "--resources: cpus"), ({"attributes": "rack"}, "--attributes: ")]
)
def test_nonsense_is_refused_by_the_name_of_the_flag(tmp_path: Path, flags: Any, named: str) -> None:
    with pytest.raises(StartupError, match=f"^{named}") as refused:
        detection.agent_info(config(tmp_path, **flags))
    assert refused.value.code == Exit.BAD_CONFIGURATION


def test_domain_is_region_and_zone(tmp_path: Path) -> None:
    domain = detection.agent_info(config(tmp_path, domain=domains.parse("north/n1"))).domain.fault_domain
    assert (domain.region.name, domain.zone.name) == ("north", "n1")
    assert not detection.agent_info(config(tmp_path)).HasField("domain")


def test_executors_are_told_the_advertised_address(tmp_path: Path) -> None:
    core_settings = settings(config(tmp_path, ip="0.0.0.0", advertise_ip="10.1.2.3", advertise_port=80), 5051)
    assert core_settings.endpoint == "10.1.2.3:80"
    assert settings(config(tmp_path, ip="127.0.0.1"), 4711).endpoint == "127.0.0.1:4711"


def test_tasks_see_nothing_of_the_agents_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEZZO_AGENT_MASTER", "LIBPROCESS_PORT", "AWS_SECRET_ACCESS_KEY", "MAKEFLAGS", "HOME"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PATH", "/somebody/.venv/bin:/bin")
    assert settings(config(tmp_path), 1).base_environment == {"PATH": environment.DEFAULT_PATH}


def test_tasks_get_the_variables_of_the_flag_and_a_path_if_it_names_none(tmp_path: Path) -> None:
    named = config(tmp_path, executor_environment_variables={"A": "b"})
    assert settings(named, 1).base_environment == {"A": "b", "PATH": environment.DEFAULT_PATH}
    with_path = config(tmp_path, executor_environment_variables={"A": "b", "PATH": "/opt/bin"})
    assert settings(with_path, 1).base_environment == {"A": "b", "PATH": "/opt/bin"}


def test_flags_are_those_of_mesos_in_its_own_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZO_AGENT_GC_DELAY", "2days")
    given = load(Config, ["--master=zk://h:2181/mezzo", "--executor_registration_timeout=30secs"], service="agent")
    shown = as_text(given)
    assert shown["gc_delay"] == "2days"
    assert shown["executor_registration_timeout"] == "30secs"
    assert shown["master"] == "zk://h:2181/mezzo"
    assert as_text(load(Config, ["--master=h:5060"], service="agent"))["master"] == "h:5060"
    assert shown["recovery_timeout"] == "15mins"
