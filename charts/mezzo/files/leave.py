"""Has the agent of this container leave the cluster: it ends its tasks, tells their frameworks, and forgets its id.

Runs before the pod is ended, and until the agent is gone; Kubernetes gives up when the pod's grace period is over.
"""

import os
import select
import signal
import sys
from pathlib import Path

PROCESSES = Path("/proc")


def agents() -> list[int]:
    """The pids of agents in this control group: in the node's process namespace there may be others."""
    here = (PROCESSES / "self" / "cgroup").read_bytes()
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"mezzo_agent"] and (process / "cgroup").read_bytes() == here:
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def main() -> int:
    for pid in agents():
        ending = os.pidfd_open(pid)
        signal.pidfd_send_signal(ending, signal.SIGUSR1)
        # Becomes readable when the process has ended.
        select.select([ending], [], [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
