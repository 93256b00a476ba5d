"""Exit codes of `mezzo`, one for each kind of failure; what is between 66 and 78 is from sysexits.h."""

from __future__ import annotations

FAILED = 1
USAGE = 2
PORT_IN_USE = 3
NOT_FOUND = 66
UNREACHABLE = 69
TIMED_OUT = 124
NOT_RUN = 125
NOT_INSTALLED = 127
INTERRUPTED = 130
