"""The Compose file: valid, and, where a Docker engine can be started, a cluster that outlives a registry."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from mezzo_chassis.testing import free_port
from tests.compose.engine import ROOT, Engine, engine_missing
from tests.mezzo_command import MezzoCommand
from tests.polling import eventually

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.slow("fetches Debian's packages and Python's wheels, and makes six images"),
]

BASE = "mezzo-test-base"
SIZES_MAX_BYTES = {"registry": 250e6, "gateway": 250e6, "allocator": 450e6}
AGENTS = 2


@dataclass(frozen=True, slots=True)
class Project:
    """The cluster that Compose runs."""

    engine: Engine
    port: int

    def compose(self, *words: str) -> str:
        settings = {
            "ZOOKEEPER_IMAGE": "mezzo-test-zookeeper",
            "HAPROXY_IMAGE": "mezzo-test-haproxy",
            "MEZZO_PORT": str(self.port),
            "MEZZO_ZK_SESSION_TIMEOUT": "4secs",
            "MEZZO_AGENT_RESOURCES": "cpus:1;mem:512;disk:1024;ports:[31000-32000]",
        }
        return self.engine.run("docker-compose", "-p", "mezzo-test", *words, **settings)

    def leader(self) -> str:
        """The container that a gateway was last told leads."""
        lines = self.compose("logs", "--no-color", "gateway-1").splitlines()
        events = [json.loads(line[line.index("{") :]) for line in lines if '"event": "leader detected"' in line]
        return str(events[-1]["address"].partition(":")[0])


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if missing := engine_missing():
        pytest.skip(f"the Compose file is validated alone: {missing}")
    engine = Engine(tmp_path_factory.mktemp("docker"))
    try:
        try:
            engine.start()
        except RuntimeError as error:
            pytest.skip(f"the Compose file is validated alone: {error}")
        engine.make_base_image(BASE)
        engine.make_images(BASE)
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def project(engine: Engine) -> Iterator[Project]:
    project = Project(engine, free_port())
    try:
        project.compose("up", "-d", "--scale", f"agent={AGENTS}")
        yield project
    finally:
        project.compose("down", "-v", "-t", "3")


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="not installed: docker-compose")
def test_the_file_and_what_can_be_set_in_it_are_valid() -> None:
    command = ["docker-compose", "--env-file", ".env.example", "config", "--services"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert {"registry-1", "registry-2", "registry-3", "allocator-1", "allocator-2", "agent"} <= set(
        ended.stdout.split()
    )


def test_whatever_can_be_set_is_in_the_example_with_its_default() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert "container_name" not in text
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    example = dict(
        line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line[:1] not in ("", "#")
    )
    assert example == used


@pytest.mark.soak
def test_images_are_small_and_run_as_nobody(engine: Engine) -> None:
    for service, most in SIZES_MAX_BYTES.items():
        assert engine.size_bytes(f"mezzo-{service}") <= most
        assert engine.run("docker", "run", "--rm", "--entrypoint=id", f"mezzo-{service}", "-u") == "10001"


@pytest.mark.soak
def test_an_image_tells_its_commit(engine: Engine) -> None:
    for service in ("registry", "allocator", "gateway", "agent"):
        told = engine.run("docker", "run", "--rm", f"mezzo-{service}", "--version")
        labelled = engine.run(
            "docker", "image", "inspect", "--format={{index .Config.Labels \"org.opencontainers.image.revision\"}}",
            f"mezzo-{service}",
        )  # fmt: skip
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labelled)
        assert f"(commit {labelled})" in told


@pytest.mark.soak
def test_tasks_run_through_the_gateways_before_and_after_a_leader_is_killed(project: Project) -> None:
    api = f"127.0.0.1:{project.port}"
    mezzo = MezzoCommand(api)

    async def all_agents() -> bool:
        return f"{AGENTS} active" in (await asyncio.to_thread(mezzo, "status")).stdout

    asyncio.run(eventually(all_agents, f"{AGENTS} agents"))
    assert mezzo.output("run", "--", "echo", "one") == "one\n"
    for user, uid in (("nobody", "65534"), ("4711", "4711")):
        # Both enter their sandbox, and own it.
        printed = mezzo.output("run", f"--user={user}", "--", "sh", "-c", "touch mine && stat -c %u mine && id -u")
        assert printed == f"{uid}\n{uid}\n"
    killed = project.leader()
    project.engine.run("docker", "kill", killed)
    # It has something to say meanwhile, of what it waits for.
    ended = mezzo("run", "--", "echo", "two")
    assert (ended.code, ended.stdout) == (0, "two\n"), ended
    assert project.leader() != killed
