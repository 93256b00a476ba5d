"""Between resources as messages and resources as values, remembering the forms met lately.

Most tasks of a framework ask for the same, most offers of a cluster look alike: parsing and printing each of them anew
would be the dearest thing that the registry does.
"""

from collections.abc import Sequence
from typing import Final

from mesos.v1 import mesos_pb2 as mesos
from mezzo.memo import Memo
from mezzo.resources import Form, Resources, validate

FORMS_MAX: Final = 4096
"""How many forms are remembered each way."""

FORM_BYTES_MAX: Final = 2048
"""How long a form may be, serialised, to be remembered: as a value, ranges take about twenty times as much memory."""

FORM_PIECES_MAX: Final = 256
"""How many amounts, ranges and items a value may have for its form to be remembered."""

_values: Memo[bytes, Resources] = Memo(FORMS_MAX, size_max=FORM_BYTES_MAX)
_messages: Memo[tuple[Resources, str, Form], list[mesos.Resource]] = Memo(FORMS_MAX, size_max=FORM_PIECES_MAX)


def value_of(messages: Sequence[mesos.Resource], field: str = "resources") -> Resources:
    """Return the value of some messages, without their allocations.

    Raises:
        ResourceError: a message is wrong; the error names what of `field`.
    """
    key = b"|".join([message.SerializePartialToString() for message in messages])
    value = _values.find(key)
    if value is None:
        validate(messages, field)
        value = _values.keep(key, Resources.of(messages, field).unallocated(), size=len(key))
    return value


def allocated(resources: Resources, role: str, form: Form = Form.REFINED) -> list[mesos.Resource]:
    """Return the messages of resources that are allocated to a role. Shared: to be copied from, never changed."""
    key = (resources, role, form)
    messages = _messages.find(key)
    if messages is None:
        messages = (resources.allocated_to(role) if role else resources).messages(form)
        _messages.keep(key, messages, size=resources.pieces())
    return messages


def plain(resources: Resources, form: Form = Form.REFINED) -> list[mesos.Resource]:
    """Return the messages of resources without allocation. Shared: to be copied from, never changed."""
    return allocated(resources, "", form)
