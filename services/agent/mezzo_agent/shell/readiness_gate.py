"""Whether the agent has recovered: servers bind their ports before, and answer afterwards."""

from __future__ import annotations

from mezzo.errors import Unavailable
from mezzo_agent.shell.agent_runtime import AgentRuntime


class ReadinessGate:
    """Closed until the agent has recovered."""

    def __init__(self) -> None:
        self._runtime: AgentRuntime | None = None

    def open(self, runtime: AgentRuntime) -> None:
        self._runtime = runtime

    @property
    def is_open(self) -> bool:
        return self._runtime is not None

    def runtime(self) -> AgentRuntime:
        """Return the agent that has recovered.

        Raises:
            Unavailable: it has not yet.
        """
        if self._runtime is None:
            raise Unavailable("the agent is recovering")
        return self._runtime
