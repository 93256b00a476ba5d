"""Makes the containerizer that the agent's flags ask for."""

from dataclasses import dataclass
from pathlib import Path

from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.logs import LogLimit, LogRotation
from mezzo_agent.containers.posix.usage import UsageMeter
from mezzo_agent.fetching.fetcher import FETCH_BYTES_MAX, Fetcher

POSIX_ISOLATORS = ("posix/cpu", "posix/mem", "posix/rlimits")
"""What --isolation takes so far. Limits of RLimitInfo are set whether `posix/rlimits` is named or not."""
_ALIASES = {"posix": ("posix/cpu", "posix/mem"), "process": ("posix/cpu", "posix/mem")}


class UnknownIsolation(ValueError):
    """--isolation names something that this agent does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerizerConfig:
    """The flags that concern containers, under their own names; sizes in bytes, times in seconds."""

    work_dir: Path
    runtime_dir: Path
    isolation: str = "posix/cpu,posix/mem"
    switch_user: bool = True
    frameworks_home: Path | None = None
    fetcher_cache_dir: Path | None = None
    fetcher_cache_size: int = 2 << 30
    fetcher_stall_timeout: float = 60.0
    fetcher_file_size_max: int = FETCH_BYTES_MAX
    max_stdout_size: int = 10 << 20
    max_stderr_size: int = 10 << 20
    max_stdout_files: int = 2
    max_stderr_files: int = 2


def isolators(isolation: str) -> frozenset[str]:
    """Read the flag: the isolators that it names.

    Raises:
        UnknownIsolation: one of them is not known.
    """
    names: set[str] = set()
    for name in filter(None, (word.strip() for word in isolation.split(","))):
        names.update(_ALIASES.get(name, (name,)))
    unknown = sorted(names.difference(POSIX_ISOLATORS))
    if unknown:
        raise UnknownIsolation(f"unknown isolator '{unknown[0]}'; supported are {', '.join(POSIX_ISOLATORS)}")
    return frozenset(names)


def create(config: ContainerizerConfig) -> PosixContainerizer:
    """Make the containerizer that the flags describe; it touches no file yet.

    Raises:
        UnknownIsolation: an isolator is not known.
        ValueError: a limit makes no sense.
    """
    enabled = isolators(config.isolation)
    fetcher = Fetcher(
        cache_dir=config.fetcher_cache_dir or config.work_dir / "fetch",
        cache_bytes_max=config.fetcher_cache_size,
        stall_timeout_secs=config.fetcher_stall_timeout,
        frameworks_home=config.frameworks_home,
        bytes_max=config.fetcher_file_size_max,
    )
    logs = LogRotation(
        {
            "stdout": LogLimit(config.max_stdout_size, config.max_stdout_files),
            "stderr": LogLimit(config.max_stderr_size, config.max_stderr_files),
        }
    )
    meter = UsageMeter(cpu="posix/cpu" in enabled, mem="posix/mem" in enabled)
    return PosixContainerizer(
        config.runtime_dir, fetcher=fetcher, logs=logs, meter=meter, switch_user=config.switch_user
    )
