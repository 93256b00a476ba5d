"""What a wait status says, in Mesos' words."""

from __future__ import annotations

import os
import signal


def succeeded(wait_status: int | None) -> bool:
    return wait_status is not None and os.WIFEXITED(wait_status) and os.WEXITSTATUS(wait_status) == 0


def describe(wait_status: int | None) -> str:
    """The end of a sentence: "exited with status 3", "terminated with signal Terminated"."""
    if wait_status is None:
        return "ended with an unknown exit status"
    if os.WIFEXITED(wait_status):
        return f"exited with status {os.WEXITSTATUS(wait_status)}"
    number = os.WTERMSIG(wait_status)
    dumped = " (core dumped)" if os.WCOREDUMP(wait_status) else ""
    return f"terminated with signal {signal.strsignal(number) or number}{dumped}"
