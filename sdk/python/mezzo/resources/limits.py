"""`TaskInfo.limits`: how far a task may go above its resources. Registry and agent check them alike."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources.scalar import SCALAR_MAX, ResourceError

LIMITABLE = ("cpus", "mem")


def check_limits(limits: Mapping[str, mesos.Value.Scalar], field: str) -> None:
    """Refuse what is no limit: it is finite and at most SCALAR_MAX, or infinite for no bound.

    Raises:
        ResourceError: names the limit.
    """
    for name, limit in limits.items():
        where, value = f"{field}['{name}']", limit.value
        if name not in LIMITABLE:
            raise ResourceError(where, f"only {' and '.join(LIMITABLE)} can have limits")
        if math.isnan(value):
            raise ResourceError(where, f"{value} is not a number")
        if value < 0:
            raise ResourceError(where, f"{value:g} is negative")
        if math.isfinite(value) and value > SCALAR_MAX:
            raise ResourceError(where, f"{value:g} is larger than {SCALAR_MAX}; for no bound it is Infinity")
