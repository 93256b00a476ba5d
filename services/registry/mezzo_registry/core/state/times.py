"""Points in time, as messages have them."""

from mesos.v1 import mesos_pb2 as mesos

NANOSECONDS = 1_000_000_000


def time_info(seconds: float) -> mesos.TimeInfo:
    """Convert seconds since the epoch."""
    return mesos.TimeInfo(nanoseconds=int(seconds * NANOSECONDS))
