"""How many files and connections a process may have open."""

from __future__ import annotations

import resource


def raise_limit() -> int:
    """Raise the soft limit to the hard one, which only the administrator can raise; returns what may be open now.

    The usual soft limit of 1,024 is there for programs that call select(2), and a cluster may have more agents. What
    a process starts inherits the limit, so this is not for those that run tasks.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
