"""Whether the agent has recovered: servers bind their ports before, and answer afterwards."""

from __future__ import annotations

from mezzo.errors import Unavailable
from mezzo_agent.shell.machine import Machine


class Gate:
    """Closed until the machine has recovered."""

    def __init__(self) -> None:
        self._machine: Machine | None = None

    def open(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def is_open(self) -> bool:
        return self._machine is not None

    def machine(self) -> Machine:
        """Raises `Unavailable` before the recovery is over."""
        if self._machine is None:
            raise Unavailable("the agent is recovering")
        return self._machine
