"""What an agent tells the executors that it starts, through their environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mezzo import durations


@dataclass(frozen=True, slots=True)
class ExecutorEnvironment:
    """The variables named MESOS_… (docs/executor-http-api.md of apache/mesos)."""

    framework_id: str
    executor_id: str
    # host:port of the agent's HTTP API
    agent_endpoint: str
    # Path of a Unix socket with the same API, where the agent has one.
    domain_socket: str | None
    # host:port of the agent's gRPC API, where the agent says so. Of Mezzo alone: MEZZO_AGENT_GRPC_ENDPOINT.
    grpc_endpoint: str | None
    token: str | None
    # Whether the executor outlives its agent, and for how long.
    checkpoint: bool
    recovery_timeout_seconds: float
    # The longest pause between two attempts to subscribe again.
    subscription_backoff_seconds_max: float
    shutdown_grace_period_seconds: float
    directory: str

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> ExecutorEnvironment:
        """Raises `KeyError` with the name of a variable that is missing: nobody but an agent starts an executor.

        Raises `ValueError` with the name of one that is no length of time and should be.
        """
        return cls(
            framework_id=environment["MESOS_FRAMEWORK_ID"],
            executor_id=environment["MESOS_EXECUTOR_ID"],
            agent_endpoint=environment["MESOS_AGENT_ENDPOINT"],
            domain_socket=environment.get("MESOS_DOMAIN_SOCKET") or None,
            grpc_endpoint=environment.get("MEZZO_AGENT_GRPC_ENDPOINT") or None,
            token=environment.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN") or None,
            checkpoint=environment.get("MESOS_CHECKPOINT") in ("1", "true"),
            recovery_timeout_seconds=_seconds(environment, "MESOS_RECOVERY_TIMEOUT", "15mins"),
            subscription_backoff_seconds_max=_seconds(environment, "MESOS_SUBSCRIPTION_BACKOFF_MAX", "2secs"),
            shutdown_grace_period_seconds=_seconds(environment, "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs"),
            directory=environment.get("MESOS_SANDBOX") or environment.get("MESOS_DIRECTORY", "."),
        )


def _seconds(environment: Mapping[str, str], name: str, default: str) -> float:
    try:
        return durations.parse(environment.get(name, default))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
