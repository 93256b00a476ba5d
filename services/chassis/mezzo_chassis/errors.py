"""How errors end a service, and what they become on the wire."""

from __future__ import annotations

import re
from enum import IntEnum
from http import HTTPStatus

import grpc

from mezzo import errors


class Exit(IntEnum):
    """Exit codes. Each says one thing, so that whoever starts services can act on it.

    They are told to operators in docs/operations/troubleshooting.md.
    """

    FAILED = 1
    BAD_CONFIGURATION = 2
    PORT_IN_USE = 3
    UNWRITABLE = 4
    INCOMPATIBLE_STATE = 5
    BAD_CREDENTIALS = 6
    DEFECT = 7


# `user:password@` of an address, also where a slash or a blank in the password is not escaped.
_BEFORE_AN_AT = re.compile(r"(?<=:/).*@")


def in_one_line(text: str) -> str:
    """What is wrong, for standard error: one line, and nothing of a password, however ill its address is written."""
    return _BEFORE_AN_AT.sub("/", " ".join(text.splitlines()))


class StartupError(Exception):
    """A service cannot start; the message says in one line what is in the way, and where."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


GRPC_STATUS: dict[type[errors.MezzoError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthorized: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.Conflict: grpc.StatusCode.ABORTED,
    errors.LimitExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.NotLeading: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}

HTTP_STATUS: dict[type[errors.MezzoError], HTTPStatus] = {
    errors.InvalidRequest: HTTPStatus.BAD_REQUEST,
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.LimitExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unimplemented: HTTPStatus.NOT_IMPLEMENTED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.InternalError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def grpc_status(error: errors.MezzoError) -> grpc.StatusCode:
    return next((GRPC_STATUS[each] for each in type(error).__mro__ if each in GRPC_STATUS), grpc.StatusCode.UNKNOWN)


def http_status(error: errors.MezzoError) -> HTTPStatus:
    found = (HTTP_STATUS[each] for each in type(error).__mro__ if each in HTTP_STATUS)
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def from_status(code: grpc.StatusCode, message: str, leader: str | None = None) -> errors.MezzoError:
    """The error that a peer's gRPC status stands for."""
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return errors.NotLeading(leader)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        field, colon, rest = message.partition(": ")
        return errors.InvalidRequest(field, rest) if colon and " " not in field else errors.InvalidRequest("", message)
    by_code = {status: error for error, status in GRPC_STATUS.items()}
    return by_code.get(code, errors.Unavailable)(message)
