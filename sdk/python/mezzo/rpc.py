"""gRPC as the SDK's clients use it: limits, and what a status stands for."""

from __future__ import annotations

from typing import Final

import grpc

from mezzo import errors

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
LEADER_KEY: Final = "mezzo-leader"

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

_ERRORS: Final[dict[grpc.StatusCode, type[errors.MezzoError]]] = {
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthorized,
    grpc.StatusCode.PERMISSION_DENIED: errors.Forbidden,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.LimitExceeded,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
    grpc.StatusCode.INTERNAL: errors.InternalError,
}
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def error_of_code(number: int, message: str, leader: str | None = None) -> errors.MezzoError:
    """The error that a `google.rpc.Code` stands for."""
    code = _BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return errors.NotLeading(leader)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        field, colon, rest = message.partition(": ")
        return errors.InvalidRequest(field, rest) if colon and " " not in field else errors.InvalidRequest("", message)
    return _ERRORS.get(code, errors.Unavailable)(message)


def error_of(failure: grpc.aio.AioRpcError) -> errors.MezzoError:
    """The error that a failed call stands for."""
    leader = dict(failure.trailing_metadata() or ()).get(LEADER_KEY)
    text = leader.decode() if isinstance(leader, bytes) else leader
    return error_of_code(failure.code().value[0], failure.details() or failure.code().name, text)
