"""Functions made of source: what writing and reading have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

Namespace = dict[str, Any]


def function(name: str, lines: list[str], namespace: Namespace, descriptor: Descriptor) -> Callable[..., Any]:
    """The function of that name which the lines define; what they mention is in the namespace.

    The lines come from the descriptors of compiled protos, and from nobody who sends messages.
    """
    source = "\n".join(lines)
    exec(compile(source, f"<{name} {descriptor.full_name}>", "exec"), namespace)  # noqa: S102
    made: Callable[..., Any] = namespace[name]
    return made


def later(namespace: Namespace, name: str, make: Callable[[], Callable[..., Any]]) -> None:
    """Put a function in the namespace that is made when it is first called.

    Messages may contain themselves, and most of what a message may contain never comes.
    """

    def made_now(*arguments: Any) -> Any:
        namespace[name] = make()
        return namespace[name](*arguments)

    namespace[name] = made_now


def is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
