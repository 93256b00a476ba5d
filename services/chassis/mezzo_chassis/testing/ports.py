"""Free ports on loopback.

They lie below those that the kernel gives to outgoing connections (from 32768 on, by Linux's default), and below those
that agents offer to tasks: so nothing takes one between its being picked and its being listened on. Each process walks
the range from a place of its own, so it gives no port twice, and two test runs at once rarely meet.
"""

from __future__ import annotations

import itertools
import random
import socket

_FIRST, _LAST = 10000, 29999
_start = random.SystemRandom().randint(_FIRST, _LAST)
_walk = itertools.cycle(itertools.chain(range(_start, _LAST + 1), range(_FIRST, _start)))


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on now."""
    return list(itertools.islice(filter(_is_free, _walk), count))


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
