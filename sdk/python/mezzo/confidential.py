"""What is not shown: passwords in addresses, and secrets in messages of Mesos.

Frameworks hand secrets to their tasks in their tasks' own messages, and operators see those messages in the state of
the cluster. They see that there is a secret, and not which.
"""

from __future__ import annotations

import re
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesos.v1 import mesos_pb2 as mesos

SECRET = "<secret>"  # noqa: S105  what stands in the place of one

# `user:password@` of an address. A password may hold an @ of its own.
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/]*@")


def without_credentials(text: str) -> str:
    """`text` without what stands before the host in any address in it."""
    return _USER_INFORMATION.sub("", text) if "@" in text else text


def withhold(message: Message) -> None:
    """Take the values of secrets, and the passwords in URIs, out of a message of Mesos."""
    if isinstance(message, mesos.Secret):
        message.ClearField("value")
    elif isinstance(message, mesos.Credential):
        message.ClearField("secret")
    elif isinstance(message, mesos.CommandInfo.URI):
        message.value = without_credentials(message.value)
    else:
        for field in _ways(message.DESCRIPTOR):
            value = getattr(message, field.name)
            if field.is_repeated:
                for each in value:
                    withhold(each)
            elif message.HasField(field.name):
                withhold(value)


@cache
def _ways(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a kind of message below which there may be something to withhold."""
    return tuple(field for field in descriptor.fields if _leads_there(field, frozenset()))


def _leads_there(field: FieldDescriptor, passed: frozenset[str]) -> bool:
    kind = field.message_type
    if kind is None or kind.full_name in passed or kind.GetOptions().map_entry:
        return False
    if kind in (mesos.Secret.DESCRIPTOR, mesos.Credential.DESCRIPTOR, mesos.CommandInfo.URI.DESCRIPTOR):
        return True
    return any(_leads_there(each, passed | {kind.full_name}) for each in kind.fields)
