"""The agent's side of the unpacker: a process for each archive, and what it says."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from mezzo_agent.adapters.users import Credentials
from mezzo_agent.fetching.archives import MEMBERS_MAX, ArchiveError
from mezzo_agent.fetching.unpacker import FAILED, REFUSED, Order

_log = structlog.get_logger(__name__)

MEMORY_BYTES_MAX = 256 << 20
"""What unpacking one archive may take: `xz -9` needs 65 MiB, a zip about a kilobyte for each of its members."""
UNPACK_SECONDS_MAX = 1800.0
STALLED_CPU_SECONDS_MAX = 30.0
"""Processor time without progress. A zip's directory of 200,000 members takes two or three seconds."""
UNPACKERS_MAX = 8
"""How many archives are unpacked at a time by an agent; others wait."""
REPORT_BYTES_MAX = 16 << 10

_MODULE = "mezzo_agent.fetching.unpacker"
_PACKAGES = Path(__file__).parents[2]
_INTERPRETER_VARIABLES = ("LD_LIBRARY_PATH",)


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    bytes_max: int
    members_max: int = MEMBERS_MAX
    memory_bytes_max: int = MEMORY_BYTES_MAX
    seconds_max: float = UNPACK_SECONDS_MAX
    stalled_cpu_seconds_max: float = STALLED_CPU_SECONDS_MAX


class Unpacker:
    """Unpacks archives in processes of their own. One for each agent."""

    def __init__(self, limits: UnpackLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(UNPACKERS_MAX)

    async def unpack(self, archive: int, name: str, folder: Path, credentials: Credentials | None) -> None:
        """Unpack the file behind a descriptor, of which `name` says what kind it is, into the folder.

        `credentials`, where the agent is root, are whose rights count. A caller that is cancelled comes back when
        nothing is written any more.

        Raises:
            ArchiveError: with what was wrong.
        """
        limits = self._limits
        order = Order(
            name=name,
            folder=str(folder),
            bytes_max=limits.bytes_max,
            members_max=limits.members_max,
            memory_bytes_max=limits.memory_bytes_max,
            stalled_cpu_seconds_max=limits.stalled_cpu_seconds_max,
            agent_pid=os.getpid(),
            identity=_identity(credentials),
        )
        async with self._places:
            try:
                async with asyncio.timeout(limits.seconds_max):
                    code, report = await _run(order, archive)
            except TimeoutError:
                raise ArchiveError(f"timed out unpacking the archive after {limits.seconds_max:g} seconds") from None
        if code:
            raise ArchiveError(_complaint(code, report))


async def _run(order: Order, archive: int) -> tuple[int, str]:
    """What the process ended with, and said. It has ended, however this is left."""
    environment = {name: os.environ[name] for name in _INTERPRETER_VARIABLES if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        # No site packages and no environment of ours: what it imports is our package and the standard library.
        *("-S", "-P", "-X", "utf8", "-m", _MODULE, order.encode()),
        stdin=archive,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd="/",
        env={**environment, "PYTHONPATH": str(_PACKAGES)},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        try:
            report = await process.stdout.readexactly(REPORT_BYTES_MAX)
            process.kill()  # nothing of ours says so much
        except asyncio.IncompleteReadError as end:
            report = end.partial
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    return process.returncode or 0, report.decode(errors="replace")


def _identity(credentials: Credentials | None) -> tuple[int, int, tuple[int, ...]] | None:
    if credentials is None or credentials.uid == os.geteuid():
        return None
    return credentials.uid, credentials.gid, credentials.groups


def _complaint(code: int, report: str) -> str:
    if code in (REFUSED, FAILED):
        return report
    if code == -signal.SIGPROF:
        return "the archive takes too much memory or time to be read: nothing came of it any more"
    _log.error("unpacking an archive failed", exit_code=code, output=report)
    if code < 0:
        return f"the unpacker was killed by {signal.Signals(-code).name}"
    return f"the unpacker exited with status {code}"
