"""The algebra of resources: what an agent has, a framework is offered, and a task uses.

A `Resources` is an immutable value: amounts by kind, where a kind is everything that makes two amounts different things
(name, reservations, disk, who it is allocated to, …). Scalars are exact to three decimals. The semantics are Mesos'
(docs/attributes-resources.md, reservation.md, persistent-volume.md, shared-resources.md of apache/mesos).
"""

from mezzo.resources.disk import Disk
from mezzo.resources.kind import Kind
from mezzo.resources.quantities import Limits, Quantities
from mezzo.resources.reservation import Form, Reservation
from mezzo.resources.role import UNRESERVED_ROLE, check_role
from mezzo.resources.scalar import ResourceError, from_thousandths, to_thousandths
from mezzo.resources.text import parse, parse_limits, parse_quantities
from mezzo.resources.validation import validate
from mezzo.resources.value import Resources

__all__ = [
    "UNRESERVED_ROLE",
    "Disk",
    "Form",
    "Kind",
    "Limits",
    "Quantities",
    "Reservation",
    "ResourceError",
    "Resources",
    "check_role",
    "from_thousandths",
    "parse",
    "parse_limits",
    "parse_quantities",
    "to_thousandths",
    "validate",
]
