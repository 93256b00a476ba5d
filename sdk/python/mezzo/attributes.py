"""Attributes of an agent, as `--attributes` takes them: `rack:abc;zone:west;level:10;keys:[1000-1500]`."""

from __future__ import annotations

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources.scalar import ResourceError
from mezzo.resources.text import fill_value, pairs


def parse(text: str) -> list[mesos.Attribute]:
    """Attributes in the order given. Raises `ResourceError` naming the attribute that is wrong."""
    found = []
    for name, value in pairs(text):
        attribute = mesos.Attribute(name=name)
        fill_value(attribute, value, name)
        if attribute.type == mesos.Value.SET:
            raise ResourceError(name, "a set cannot be an attribute")
        found.append(attribute)
    return found
