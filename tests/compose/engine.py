"""A Docker engine of the tests' own, and the images of this repository in it. Nothing is pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "docker-init": "tini",
    "docker-compose": "docker-compose",
    "debootstrap": "debootstrap",
}
"""What is needed, and the package of Debian that has it."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
START_SECONDS_MAX = 30
# Four images take four minutes on an idle machine, and more than ten beside other work.
COMMAND_SECONDS_MAX = 1800
BASE_SECONDS_MAX = 86_400
"""How long a bare Debian is used again: it has the security updates of its day."""
CGROUPS = Path("/sys/fs/cgroup")
UNTOUCHED = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")
"""What keeps dockerd from changing the machine's network."""
UNWANTED = "MEZZO_TEST_COMPOSE"
"""The variable that says no with 0: it takes some minutes."""


def engine_missing() -> str | None:
    """Why no Docker engine can be started here, or None."""
    if os.environ.get(UNWANTED) == "0":
        return f"{UNWANTED} is 0"
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing:
        return f"not installed: {', '.join(missing)}"
    return None if os.geteuid() == 0 else "a Docker engine is started by root alone"


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mezzo"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _codename() -> str:
    lines = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return lines["VERSION_CODENAME"].strip('"')


@dataclass(slots=True)
class Engine:
    """dockerd below `folder`. It makes no bridge of its own, and changes neither firewall nor settings of the network:
    published ports go through its proxy, and images are built in the machine's network. Its mounts are its own, and
    what it writes to /run is written below `folder`.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": f"unix://{self.folder}/docker.sock", "DOCKER_BUILDKIT": "0"}

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; with the end of its log.
        """
        log = self.folder / "dockerd.log"
        places = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"]
        places += [f"--host=unix://{self.folder}/docker.sock", f"--cgroup-parent=/{self._cgroup}"]
        for name in ("run", "work"):
            (self.folder / name).mkdir()
        overlay = f"lowerdir=/run,upperdir={self.folder}/run,workdir={self.folder}/work"
        apart = ["unshare", "--mount", "--propagation=private", "sh", "-ec",
                 f'mount -t overlay -o {overlay} overlay /run; exec "$@"', "sh"]  # fmt: skip
        with log.open("wb") as output:
            self.process = subprocess.Popen([*apart, "dockerd", *places, *UNTOUCHED], stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(["docker", "version"], env=self.environment, capture_output=True).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("\n".join(["dockerd does not run:", *log.read_text().splitlines()[-5:]]))

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        for group in [*CGROUPS.glob(self._cgroup), *CGROUPS.glob(f"*/{self._cgroup}")]:
            for below, _, _ in os.walk(group, topdown=False):
                os.rmdir(below)
        shutil.rmtree(self.folder)

    @property
    def _cgroup(self) -> str:
        return f"mezzo-docker-{self.folder.parent.name}-{self.folder.name}"

    def run(self, *command: object, **environment: str) -> str:
        """What a command prints that talks to this engine; its failure is an AssertionError with the end of it all."""
        ended = subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
        return ended.stdout.strip()

    def make_base_image(self, name: str) -> None:
        """A bare Debian with Python, from Debian's packages, that trusts whom this machine trusts; kept for a day."""
        archive = _cache() / f"base-{_codename()}.tar"
        if not archive.exists() or archive.stat().st_mtime < time.time() - BASE_SECONDS_MAX:
            self._make_base_archive(archive)
        self.run("docker", "import", archive, name)

    def _make_base_archive(self, archive: Path) -> None:
        files = self.folder / "root"
        self.run(
            "debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", _codename(), files
        )
        shutil.copy(CERTIFICATES, files / CERTIFICATES.relative_to("/"))
        for place in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(files / place)
        # At once or not at all: another run may look for it.
        part = archive.with_suffix(f".{os.getpid()}")
        self.run("tar", "-C", files, "-cf", part, ".")
        part.rename(archive)
        shutil.rmtree(files)

    def make_images(self, base: str) -> None:
        """The four services as `mezzo-…`, and stand-ins for the images of others."""
        self.run("sh", "scripts/images.sh", BASE_IMAGE=base, BUILD_FLAGS="--network=host")
        for name in ("zookeeper", "haproxy"):
            build: Sequence[str] = ("docker", "build", "--network=host", "--build-arg", f"BASE_IMAGE={base}")
            self.run(*build, "--target", name, "-t", f"mezzo-test-{name}", "tests/compose/stand_ins")

    def size_bytes(self, image: str) -> int:
        return int(self.run("docker", "image", "inspect", "--format", "{{.Size}}", image))
