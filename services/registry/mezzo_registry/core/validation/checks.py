"""Checks and health checks of tasks."""

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest
from mezzo.validation.commands import check_command


def check_check(check: mesos.CheckInfo, field: str) -> None:
    """Refuse a check that could not be made.

    Raises:
        InvalidRequest: its type is not known, what the type needs is missing, or a time is negative.
    """
    if check.type == mesos.CheckInfo.COMMAND:
        if not check.command.command.value and not check.command.command.arguments:
            raise InvalidRequest(f"{field}.command.command.value", "is required for a check of type COMMAND")
        check_command(check.command.command, f"{field}.command.command")
    elif check.type == mesos.CheckInfo.HTTP:
        if not check.HasField("http"):
            raise InvalidRequest(f"{field}.http", "is required for a check of type HTTP")
        if check.http.path and not check.http.path.startswith("/"):
            raise InvalidRequest(f"{field}.http.path", f"'{check.http.path}' must start with '/'")
    elif check.type == mesos.CheckInfo.TCP:
        if not check.HasField("tcp"):
            raise InvalidRequest(f"{field}.tcp", "is required for a check of type TCP")
    else:
        raise InvalidRequest(f"{field}.type", "must be COMMAND, HTTP or TCP")
    for name in ("delay_seconds", "interval_seconds", "timeout_seconds"):
        _check_seconds(getattr(check, name), f"{field}.{name}")


def check_health_check(check: mesos.HealthCheck, field: str) -> None:
    """Refuse a health check that could not be made.

    Raises:
        InvalidRequest: its type is not known, what the type needs is missing, or a time is negative.
    """
    if check.type == mesos.HealthCheck.COMMAND:
        if not check.command.value and not check.command.arguments:
            raise InvalidRequest(f"{field}.command.value", "is required for a health check of type COMMAND")
        check_command(check.command, f"{field}.command")
    elif check.type == mesos.HealthCheck.HTTP:
        _check_http(check, field)
    elif check.type == mesos.HealthCheck.TCP:
        if not check.HasField("tcp"):
            raise InvalidRequest(f"{field}.tcp", "is required for a health check of type TCP")
    else:
        raise InvalidRequest(f"{field}.type", "must be COMMAND, HTTP or TCP")
    for name in ("delay_seconds", "interval_seconds", "timeout_seconds", "grace_period_seconds"):
        _check_seconds(getattr(check, name), f"{field}.{name}")


def _check_http(check: mesos.HealthCheck, field: str) -> None:
    if not check.HasField("http"):
        raise InvalidRequest(f"{field}.http", "is required for a health check of type HTTP")
    if check.http.scheme not in ("", "http", "https"):
        raise InvalidRequest(f"{field}.http.scheme", f"'{check.http.scheme}' is neither http nor https")
    if check.http.path and not check.http.path.startswith("/"):
        raise InvalidRequest(f"{field}.http.path", f"'{check.http.path}' must start with '/'")


def _check_seconds(seconds: float, field: str) -> None:
    if not seconds >= 0:
        raise InvalidRequest(field, f"is {seconds:g}; must not be negative")
