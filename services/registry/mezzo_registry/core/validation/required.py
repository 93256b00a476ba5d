"""Fields that Mesos' messages require. Protobuf parses a message without them; nothing else may be done with it."""

from typing import Any, cast

from google.protobuf.message import Message

from mezzo.errors import InvalidRequest


def check_required(message: Message, prefix: str = "") -> None:
    """Refuse a message that lacks what it must have.

    Raises:
        InvalidRequest: with the path of the first field that is missing.
    """
    if not message.IsInitialized():
        missing: list[str] = cast("Any", message).FindInitializationErrors()
        raise InvalidRequest(prefix + missing[0], "must be set")
