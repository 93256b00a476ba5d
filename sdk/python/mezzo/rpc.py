"""gRPC as the SDK's clients use it: limits, and what a status stands for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, Final, TypeVar

import grpc

from mezzo import addresses, errors

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
# What grpc makes of a stream that breaks while something is written to it, whatever the server has said.
_BROKEN_WHILE_WRITTEN_TO: Final = "Internal error from Core"
# What grpc makes of a server that takes connections, and answers nothing.
_SILENT: Final = "ping timeout"
_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}

R = TypeVar("R")


def check_address(address: str) -> str:
    """Return what is `host:port`. Raises `InvalidRequest` for the rest, which gRPC would try for ever to resolve."""
    if addresses.parse(address) is None:
        raise errors.InvalidRequest("address", f"{address!r} is not host:port")
    return address


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
    if failure.code() is grpc.StatusCode.INTERNAL and failure.details() == _BROKEN_WHILE_WRITTEN_TO:
        return errors.Unavailable("the connection broke")
    if failure.code() is grpc.StatusCode.UNAVAILABLE and _SILENT in (failure.details() or ""):
        return errors.Unavailable("the server accepts connections, but does not answer: it hangs")
    leader = dict(failure.trailing_metadata() or ()).get(LEADER_KEY)
    text = leader.decode() if isinstance(leader, bytes) else leader
    return error_of_code(failure.code().value[0], failure.details() or failure.code().name, text)


async def answer(call: Awaitable[R]) -> R:
    """What a call is answered with. Raises `MezzoError`."""
    try:
        return await call
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure) from None
    except asyncio.CancelledError:
        raise_if_closed()
        raise


async def answers(call: grpc.aio.UnaryStreamCall[Any, R]) -> AsyncGenerator[R]:
    """What a call is answered with, as it comes; the call is cancelled with the generator. Raises `MezzoError`."""
    try:
        async for each in call:
            yield each
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure) from None
    except asyncio.CancelledError:
        raise_if_closed()
        raise
    finally:
        call.cancel()


def raise_if_closed() -> None:
    """Upon a `CancelledError`: raise `Unavailable` if it is the call that was cancelled, and not who waits for it.

    That is how calls end whose channel is closed by somebody else, and nobody else's end is this task's.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        raise errors.Unavailable("the connection was closed") from None
