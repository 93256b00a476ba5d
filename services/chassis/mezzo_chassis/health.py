"""Asks a service by gRPC whether it serves, for the health checks of containers.

`python -m mezzo_chassis.health HOST:PORT [--timeout=SECONDS]` prints one line, and ends with 0 if the service serves,
with 1 if it does not or cannot be reached, with 2 if the address is no address.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mezzo import durations
from mezzo_chassis.config import address
from mezzo_chassis.errors import Exit

TIMEOUT_SECONDS = 3.0


def status(target: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """The name of what the server at `host:port` says of itself: `SERVING`, `NOT_SERVING`, `UNKNOWN`.

    Raises:
        grpc.RpcError: it does not answer in time.
    """
    with grpc.insecure_channel(target) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line about the service, and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    timeouts = [argument.removeprefix("--timeout=") for argument in arguments if argument.startswith("--timeout=")]
    targets = [argument for argument in arguments if not argument.startswith("--timeout=")]
    try:
        (target,) = targets
        address(target)
        timeout_seconds = durations.parse(timeouts[-1]) if timeouts else TIMEOUT_SECONDS
    except ValueError as error:
        click.echo(f"usage: python -m mezzo_chassis.health HOST:PORT [--timeout=SECONDS] ({error})", err=True)
        return Exit.BAD_CONFIGURATION
    try:
        answer = status(target, timeout_seconds)
    except grpc.RpcError as error:
        code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        click.echo(f"{target}: no answer ({code})")
        return Exit.FAILED
    click.echo(f"{target}: {answer}")
    return 0 if answer == "SERVING" else Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
