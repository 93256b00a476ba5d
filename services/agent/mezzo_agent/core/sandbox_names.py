"""Where a container keeps its files: Mesos' layout below --work_dir, and the names under which others see it.

    <work_dir>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>
                                                                          runs/latest -> <container>

Source: docs/sandbox.md of apache/mesos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mezzo.validation.identifiers import check_id

LATEST = "latest"
RUNS = "runs"


@dataclass(frozen=True, slots=True)
class SandboxName:
    """The four ids that say whose sandbox it is.

    Raises:
        InvalidRequest: one of them cannot name a folder.
    """

    agent: str
    framework: str
    executor: str
    container: str

    def __post_init__(self) -> None:
        for what in self.__slots__:
            check_id(getattr(self, what), f"{what}_id")

    def path(self, work_dir: Path) -> Path:
        return work_dir.joinpath(*_runs(self.agent, self.framework, self.executor), self.container)

    @property
    def virtual_path(self) -> str:
        """The stable name of the executor's newest sandbox in /files, whatever the agent and the container are."""
        return f"/frameworks/{self.framework}/executors/{self.executor}/runs/{LATEST}"


def runs(work_dir: Path, agent: str, framework: str, executor: str) -> Path:
    return work_dir.joinpath(*_runs(agent, framework, executor))


def _runs(agent: str, framework: str, executor: str) -> tuple[str, ...]:
    return ("slaves", agent, "frameworks", framework, "executors", executor, RUNS)


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
