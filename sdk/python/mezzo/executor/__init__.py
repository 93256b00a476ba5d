"""An executor's side of the executor API.

    async with ExecutorClient.from_environment() as executor:
        async for event in executor.events():
            ...

The same client speaks gRPC to an agent, or Mesos' v1 HTTP API over TCP or a Unix socket.
"""

from typing import TYPE_CHECKING

from mezzo.lazy import lazy_names

if TYPE_CHECKING:
    from mezzo.executor.client import ExecutorClient
    from mezzo.executor.environment import ExecutorEnvironment
    from mezzo.executor.transport import GrpcTransport, HttpTransport, Transport

__all__ = ["ExecutorClient", "ExecutorEnvironment", "GrpcTransport", "HttpTransport", "Transport"]

__getattr__ = lazy_names(
    __name__,
    {
        "ExecutorClient": "client",
        "ExecutorEnvironment": "environment",
        "GrpcTransport": "transport",
        "HttpTransport": "transport",
        "Transport": "transport",
    },
)
