"""The name under which an agent is reached, as libprocess wrote it: `slave(1)@10.0.0.7:5051`."""

import re
from typing import NamedTuple

PORT_MAX = 65_535
_FORM = re.compile(r"(?P<process>[^@\s]*)@(?P<host>[^@\s]+):(?P<port>[0-9]{1,5})")


class ProcessId(NamedTuple):
    """Its parts. An IPv6 address is without its brackets."""

    process: str
    host: str
    port: int


def parse(pid: str) -> ProcessId | None:
    """None for what is none."""
    found = _FORM.fullmatch(pid)
    if found is None or int(found["port"]) > PORT_MAX:
        return None
    return ProcessId(found["process"], found["host"].strip("[]"), int(found["port"]))
