"""The process that unpacks one archive: standard library only, with limits and rights of its own.

It is started as `python -S -P -m mezzo_agent.fetching.unpacker ORDER` (unpacking.py does so), with the archive as its
standard input. Nothing in an archive can take more memory or files than the order allows, and whatever the libraries
that read it do (an exception, a crash, no end) ends here. It says what is wrong on its standard output, and ends with
one of the codes below; what it writes belongs to the task's user, whose rights it takes on before it reads anything.
"""

import encodings.cp437  # noqa: F401  of a zip's names; what is not imported by now may be out of the user's reach
import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from mezzo_agent.fetching.archives import ArchiveError, shown, unpack
from mezzo_agent.fetching.budget import Budget, Unwanted

REFUSED = 3
"""The archive is damaged, hostile, or beyond a limit."""
FAILED = 4
"""The disk is full, or what is there is in the way."""
ORPHANED = 5
"""The agent has ended."""
REPORT_CHARS_MAX = 1000


class Order(NamedTuple):  # the modules behind dataclasses take a sixth of the time to start
    """What is to be unpacked, where, and within which limits."""

    name: str
    folder: str
    bytes_max: int
    members_max: int
    memory_bytes_max: int
    """How much address space may be added to what the interpreter has when it begins."""
    stalled_cpu_seconds_max: float
    """Of processor time between two members, or mebibytes, of the archive."""
    agent_pid: int
    identity: tuple[int, int, tuple[int, ...]] | None = None
    """uid, gid and groups to take on, where the agent is root."""

    def encode(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def decode(cls, text: str) -> "Order":
        return cls(**json.loads(text))


class _Budget(Budget):
    """It also sees to it that nothing is unpacked for an agent that is no more, and that nothing goes on for ever.

    The kernel ends a process that makes no progress: when no memory is left for the handling of a MemoryError either,
    CPython 3.11 tries again without end, and sees no signal that it would have to handle itself.
    """

    def __init__(self, order: Order) -> None:
        super().__init__(order.bytes_max)
        self._agent_pid = order.agent_pid
        self._stalled_cpu_seconds_max = order.stalled_cpu_seconds_max

    def spend(self, count: int) -> None:
        signal.setitimer(signal.ITIMER_PROF, self._stalled_cpu_seconds_max)
        if os.getppid() != self._agent_pid:
            raise Unwanted
        super().spend(count)


def main() -> int:
    order = Order.decode(sys.argv[1])
    if order.identity is not None:
        uid, gid, groups = order.identity
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
    _limit(order)
    budget = _Budget(order)
    try:
        budget.spend(0)
        with open(sys.stdin.fileno(), "rb", closefd=False) as archive:
            unpack(archive, order.name, Path(order.folder), budget, order.members_max)
    except ArchiveError as error:
        return _report(str(error), REFUSED)
    except MemoryError:
        gc.collect()
        return _report(f"unpacking the archive takes more than {order.memory_bytes_max} bytes of memory", REFUSED)
    except OSError as error:
        where = f": '{shown(str(error.filename))}'" if error.filename else ""
        return _report(f"{error.strerror or error}{where}", FAILED)
    except Unwanted:
        return ORPHANED
    except Exception as error:  # noqa: BLE001  what a library does not expect in an archive is the archive's fault
        return _report(f"the archive cannot be read: {type(error).__name__}: {shown(str(error))}", REFUSED)
    return 0


def _limit(order: Order) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    address_space = pages * resource.getpagesize() + order.memory_bytes_max
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _report(text: str, code: int) -> int:
    os.write(sys.stdout.fileno(), text[:REPORT_CHARS_MAX].encode(errors="replace"))
    return code


if __name__ == "__main__":
    sys.exit(main())
