"""What operators install on machines: units of systemd, distributions, and the page that tells of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from mezzo_agent.app import LEAVE_SIGNAL
from mezzo_agent.config import Config as AgentConfig
from mezzo_allocator.config import Config as AllocatorConfig
from mezzo_chassis.errors import Exit
from mezzo_gateway.config import Config as GatewayConfig
from mezzo_registry.config import Config as RegistryConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations" / "machines.md").read_text()
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
CONFIGS: dict[str, Any] = {
    "registry": RegistryConfig,
    "allocator": AllocatorConfig,
    "gateway": GatewayConfig,
    "agent": AgentConfig,
}
DISTRIBUTIONS = sorted(
    file.parent for file in [*ROOT.glob("sdk/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
)

every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
every_distribution = pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)


def section(unit: Path) -> dict[str, str]:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser["Service"])


def project(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def test_every_service_has_a_unit() -> None:
    assert [unit.stem for unit in UNITS] == sorted(f"mezzo-{service}" for service in CONFIGS)


@every_unit
def test_a_unit_starts_its_service_and_not_again_where_that_is_of_no_use(unit: Path) -> None:
    service, settings = unit.stem.removeprefix("mezzo-"), section(unit)
    assert settings["ExecStart"] == f"/opt/mezzo/bin/mezzo {service}"
    assert settings["EnvironmentFile"] == f"-/etc/mezzo/{service}.env"
    in_vain = (Exit.BAD_CONFIGURATION, Exit.INCOMPATIBLE_STATE, Exit.BAD_CREDENTIALS)
    assert settings["RestartPreventExitStatus"] == " ".join(str(code.value) for code in in_vain)
    assert ("User" in settings) == (service != "agent")
    work_dir = getattr(CONFIGS[service](), "work_dir", None)
    assert work_dir is None or settings["StateDirectory"] == str(Path(work_dir).relative_to("/var/lib"))


def test_tasks_outlive_a_restart_of_their_agent() -> None:
    settings = section(ROOT / "deploy" / "systemd" / "mezzo-agent.service")
    assert (settings["KillMode"], settings["Delegate"], settings["OOMPolicy"]) == ("process", "yes", "continue")


@every_unit
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not installed: systemd")
def test_systemd_takes_every_unit_without_a_word(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/mezzo/bin/mezzo", "/bin/true"))
    ended = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True)
    said = [line for line in ended.stderr.splitlines() if unit.name in line]
    assert (ended.returncode, said) == (0, [])


def test_the_page_names_flags_that_there_are() -> None:
    named = re.findall(r"^MEZZO_([A-Z]+)_([A-Z_]+)=", PAGE, re.MULTILINE)
    assert {service.lower() for service, _ in named} == set(CONFIGS)
    for service, flag in named:
        assert flag.lower() in {each.name for each in fields(CONFIGS[service.lower()])}, f"{service} {flag}"
    assert LEAVE_SIGNAL.name in PAGE


def test_the_page_shows_how_prometheus_scrapes_every_exporter() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    jobs = {job["job_name"]: str(job) for job in yaml.safe_load(block)["scrape_configs"]}
    assert set(jobs) == {f"mezzo-{service}" for service in CONFIGS}
    for service, config in CONFIGS.items():
        assert service == "agent" or f":{config().metrics_port}'" in jobs[f"mezzo-{service}"]


@every_distribution
def test_a_distribution_brings_the_licence(folder: Path) -> None:
    assert project(folder)["license-files"] == ["LICENSE", "NOTICE"]
    for name in ("LICENSE", "NOTICE"):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()


@every_distribution
def test_our_distributions_ask_for_each_other_in_their_own_version(folder: Path) -> None:
    declared = project(folder)
    wanted = [
        *declared["dependencies"],
        *(each for extra in declared.get("optional-dependencies", {}).values() for each in extra),
    ]
    ours = [name for name in wanted if name.startswith("mezzo")]
    assert all(name.endswith(f"=={declared['version']}") for name in ours), ours
    assert {project(each)["version"] for each in DISTRIBUTIONS} == {declared["version"]}


def test_the_page_installs_each_wheel_as_a_file_and_nothing_by_name(tmp_path: Path) -> None:
    projects = [project(folder) for folder in DISTRIBUTIONS]
    wheels = {f"dist/{each['name'].replace('-', '_')}-{each['version']}-py3-none-any.whl" for each in projects}
    (tmp_path / "dist").mkdir()
    for wheel in wheels:
        (tmp_path / wheel).touch()
    (command,) = re.findall(r"/pip install (.+)", PAGE)
    shell = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {command}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert {name.removesuffix("[cluster]") for name in shell.stdout.splitlines()} == wheels
    assert shell.stdout.count("[cluster]") == 1
