"""A framework's side of the scheduler API.

    async with SchedulerClient(GrpcTransport("127.0.0.1:5060"), FrameworkInfo(user="", name="mine")) as scheduler:
        async for event in scheduler.events():
            ...

The same client speaks gRPC to a registry, or Mesos' v1 HTTP API to a gateway or a Mesos master.
"""

from typing import TYPE_CHECKING

from mezzo.lazy import lazy_names

if TYPE_CHECKING:
    from mezzo.scheduler.client import SchedulerClient
    from mezzo.scheduler.detection import DetectingTransport, Detector
    from mezzo.scheduler.transport import GrpcTransport, HttpTransport, Transport
    from mezzo.zookeeper import ZooKeeperDetector

__all__ = [
    "DetectingTransport",
    "Detector",
    "GrpcTransport",
    "HttpTransport",
    "SchedulerClient",
    "Transport",
    "ZooKeeperDetector",
]

__getattr__ = lazy_names(
    __name__,
    {
        "DetectingTransport": "detection",
        "Detector": "detection",
        "GrpcTransport": "transport",
        "HttpTransport": "transport",
        "SchedulerClient": "client",
        "Transport": "transport",
        "ZooKeeperDetector": "mezzo.zookeeper",
    },
)
