"""Where a container keeps its files: Mesos' layout below --work_dir, and the names under which others see it.

    <work_dir>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>
                                                                          runs/latest -> <container>

Source: docs/sandbox.md of apache/mesos.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from mezzo_agent.containers.users import Credentials

LATEST = "latest"
SANDBOX_MODE = 0o750
NAME_BYTES_MAX = 255


class InvalidName(ValueError):
    """An id that cannot be the name of a folder."""


@dataclass(frozen=True, slots=True)
class SandboxName:
    """The four ids that say whose sandbox it is."""

    agent: str
    framework: str
    executor: str
    container: str

    def __post_init__(self) -> None:
        for what in self.__slots__:
            check_name(what, getattr(self, what))

    def path(self, work_dir: Path) -> Path:
        return runs(work_dir, self.agent, self.framework, self.executor) / self.container

    @property
    def virtual_path(self) -> str:
        """The stable name of the executor's newest sandbox in /files, whatever the agent and the container are."""
        return f"/frameworks/{self.framework}/executors/{self.executor}/runs/{LATEST}"


def check_name(what: str, name: str) -> None:
    """Raises InvalidName for a name that would lead elsewhere, or that no file system takes."""
    if not name or name in {".", ".."}:
        raise InvalidName(f"the {what} id '{name}' cannot name a folder")
    if "/" in name or "\0" in name:
        raise InvalidName(f"the {what} id '{name}' contains a slash or a null character")
    if len(os.fsencode(name)) > NAME_BYTES_MAX:
        raise InvalidName(f"the {what} id '{name[:32]}…' is longer than {NAME_BYTES_MAX} bytes")


def runs(work_dir: Path, agent: str, framework: str, executor: str) -> Path:
    return work_dir / "slaves" / agent / "frameworks" / framework / "executors" / executor / "runs"


def create(sandbox: Path, owner: Credentials | None = None) -> None:
    """Makes the sandbox, mode 0750, owned by the task's user, and points `latest` at it.

    Making one that is there already is not an error (an agent that died in between does it again). Raises OSError.
    """
    sandbox.mkdir(parents=True, exist_ok=True)
    sandbox.chmod(SANDBOX_MODE)
    if owner is not None:
        os.chown(sandbox, owner.uid, owner.gid, follow_symlinks=False)
    point_latest(sandbox)


def point_latest(folder: Path) -> None:
    """Points `latest`, beside the folder, at it; at every moment the link is there and leads to one or the other."""
    link = folder.parent / LATEST
    replacement = folder.parent / f".{LATEST}-{uuid4().hex}"
    replacement.symlink_to(folder.name)
    replacement.replace(link)


def real_path(work_dir: Path, agent: str, path: str) -> Path | None:
    """The real path that a name in /files stands for: a virtual path, or the real path of a sandbox.

    None if it is neither, or would lead out of this agent's folder by its words; links inside are the reader's affair.
    """
    words = PurePosixPath(path)
    root = work_dir / "slaves" / agent
    if ".." in words.parts:
        return None
    if words.parts[:2] == ("/", "frameworks"):
        return root / words.relative_to("/")
    if words.is_relative_to(root / "frameworks"):
        return Path(words)
    return None
