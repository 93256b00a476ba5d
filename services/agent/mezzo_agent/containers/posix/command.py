"""What a CommandInfo asks for, in the words of the kernel: a program, its arguments, its limits."""

import resource

from mesos.v1.mesos_pb2 import CommandInfo, RLimitInfo

RLIM_INFINITY = resource.RLIM_INFINITY

_KINDS = {
    RLimitInfo.RLimit.RLMT_AS: resource.RLIMIT_AS,
    RLimitInfo.RLimit.RLMT_CORE: resource.RLIMIT_CORE,
    RLimitInfo.RLimit.RLMT_CPU: resource.RLIMIT_CPU,
    RLimitInfo.RLimit.RLMT_DATA: resource.RLIMIT_DATA,
    RLimitInfo.RLimit.RLMT_FSIZE: resource.RLIMIT_FSIZE,
    RLimitInfo.RLimit.RLMT_LOCKS: 10,  # not named by Python; Linux, on every architecture
    RLimitInfo.RLimit.RLMT_MEMLOCK: resource.RLIMIT_MEMLOCK,
    RLimitInfo.RLimit.RLMT_MSGQUEUE: resource.RLIMIT_MSGQUEUE,
    RLimitInfo.RLimit.RLMT_NICE: resource.RLIMIT_NICE,
    RLimitInfo.RLimit.RLMT_NOFILE: resource.RLIMIT_NOFILE,
    RLimitInfo.RLimit.RLMT_NPROC: resource.RLIMIT_NPROC,
    RLimitInfo.RLimit.RLMT_RSS: resource.RLIMIT_RSS,
    RLimitInfo.RLimit.RLMT_RTPRIO: resource.RLIMIT_RTPRIO,
    RLimitInfo.RLimit.RLMT_RTTIME: 15,  # likewise
    RLimitInfo.RLimit.RLMT_SIGPENDING: resource.RLIMIT_SIGPENDING,
    RLimitInfo.RLimit.RLMT_STACK: resource.RLIMIT_STACK,
}


class InvalidCommand(ValueError):
    """The command cannot be run as it stands; the message names the field."""


def program_of(command: CommandInfo) -> tuple[str, tuple[str, ...]]:
    """The program and its argv, argv[0] included.

    With `shell` (the default) `value` is a line for the shell, and `arguments` are ignored; without, `value` is the
    program and `arguments` the whole argv. Raises InvalidCommand.
    """
    if not command.value:
        raise InvalidCommand("command.value: must not be empty")
    if "\0" in command.value:
        raise InvalidCommand("command.value: must not contain a null character")
    if command.shell:
        return "/bin/sh", ("sh", "-c", command.value)
    for number, argument in enumerate(command.arguments):
        if "\0" in argument:
            raise InvalidCommand(f"command.arguments[{number}]: must not contain a null character")
    return command.value, tuple(command.arguments) or (command.value,)


def rlimits_of(info: RLimitInfo) -> tuple[tuple[int, int, int], ...]:
    """(resource, soft, hard) for setrlimit(2). A limit without numbers is no limit. Raises InvalidCommand."""
    found: dict[int, tuple[int, int, int]] = {}
    for number, limit in enumerate(info.rlimits):
        where = f"container.rlimit_info.rlimits[{number}]"
        kind = _KINDS.get(limit.type)
        if kind is None:
            raise InvalidCommand(f"{where}.type: missing or unknown")
        if kind in found:
            raise InvalidCommand(f"{where}.type: {RLimitInfo.RLimit.Type.Name(limit.type)} is given twice")
        if limit.HasField("soft") != limit.HasField("hard"):
            raise InvalidCommand(f"{where}: soft and hard must be set together")
        if not limit.HasField("soft"):
            found[kind] = (kind, RLIM_INFINITY, RLIM_INFINITY)
            continue
        if limit.soft > limit.hard:
            raise InvalidCommand(f"{where}.soft: {limit.soft} must not exceed the hard limit {limit.hard}")
        found[kind] = (kind, _number(limit.soft), _number(limit.hard))
    return tuple(found.values())


def _number(limit: int) -> int:
    return RLIM_INFINITY if limit >= 1 << 63 else limit
