"""The sandboxes, as files that can be browsed and read."""

from __future__ import annotations

from pathlib import Path

from mezzo.errors import NotFound
from mezzo_agent.core.sandbox_names import real_path
from mezzo_agent.shell.readiness_gate import ReadinessGate
from mezzo_chassis.http.files import FileTree


class SandboxTree(FileTree):
    """Sandboxes by their real paths, and by those that stay the same when agent and container change:
    `/frameworks/<framework>/executors/<executor>/runs/latest`.
    """

    def __init__(self, gate: ReadinessGate, work_dir: Path) -> None:
        super().__init__()
        self._gate = gate
        self._work_dir = work_dir
        slaves = work_dir / "slaves"
        self.show(str(slaves), slaves)

    def resolve(self, virtual: str) -> Path:
        """Return the real path.

        Raises:
            NotFound: it is in no sandbox, or leads out of it.
        """
        agent_id = self._gate.runtime().core.state.agent_id
        if not agent_id:
            raise NotFound("")
        real = real_path(self._work_dir, agent_id, virtual)
        return super().resolve(virtual if real is None else str(real))
