"""What a framework tells of itself."""

import math
from collections.abc import Iterable, Mapping

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.errors import InvalidRequest
from mezzo.offer_constraints import RegexLimits, compile_constraints
from mezzo.resources import UNRESERVED_ROLE, check_role, to_thousandths
from mezzo.validation.identifiers import check_framework_id, check_text
from mezzo_registry.core.settings import (
    FAILOVER_TIMEOUT_SECONDS_MAX,
    MINIMUM_GROUPS_MAX,
    MINIMUM_QUANTITIES_MAX,
)
from mezzo_registry.core.validation.labels import check_labels
from mezzo_registry.core.validation.roles import check_roles

Capability = mesos.FrameworkInfo.Capability


def has_capability(info: mesos.FrameworkInfo, capability: "Capability.Type.ValueType") -> bool:
    """Return whether the framework has a capability."""
    return any(one.type == capability for one in info.capabilities)


def roles_of(info: mesos.FrameworkInfo) -> tuple[str, ...]:
    """Return the roles in which a framework is offered resources."""
    if has_capability(info, Capability.MULTI_ROLE):
        return tuple(info.roles)
    return (info.role or UNRESERVED_ROLE,)


def check_framework_info(info: mesos.FrameworkInfo, field: str) -> None:
    """Refuse an invalid FrameworkInfo.

    Raises:
        InvalidRequest: its roles, id, failover time-out, offer filters or labels make no sense.
    """
    if info.id.value:
        check_framework_id(info.id, f"{field}.id")
    check_text(info.user, f"{field}.user")
    if has_capability(info, Capability.MULTI_ROLE):
        if info.HasField("role"):
            raise InvalidRequest(f"{field}.role", "must not be set by a framework with MULTI_ROLE, which has 'roles'")
        check_roles(info.roles, f"{field}.roles")
    else:
        if info.roles:
            raise InvalidRequest(f"{field}.roles", "must not be set by a framework without the capability MULTI_ROLE")
        if info.HasField("role"):
            check_role(info.role, f"{field}.role")
    timeout = info.failover_timeout
    if not math.isfinite(timeout) or not 0 <= timeout <= FAILOVER_TIMEOUT_SECONDS_MAX:
        raise InvalidRequest(
            f"{field}.failover_timeout", f"is {timeout:g} seconds; must be from 0 to {FAILOVER_TIMEOUT_SECONDS_MAX:.0f}"
        )
    _check_offer_filters(info, f"{field}.offer_filters")
    check_labels(info.labels, f"{field}.labels.labels")


def _check_offer_filters(info: mesos.FrameworkInfo, field: str) -> None:
    roles = frozenset(roles_of(info))
    for role, filters in info.offer_filters.items():
        if role not in roles:
            raise InvalidRequest(f"{field}['{role}']", "the framework does not have this role")
        where = f"{field}['{role}'].min_allocatable_resources.quantities"
        groups = filters.min_allocatable_resources.quantities
        if len(groups) > MINIMUM_GROUPS_MAX:
            raise InvalidRequest(where, f"has {len(groups)}; at most {MINIMUM_GROUPS_MAX} are allowed")
        for index, group in enumerate(groups):
            _check_minimum(group.quantities, f"{where}[{index}].quantities")


def _check_minimum(quantities: Mapping[str, mesos.Value.Scalar], field: str) -> None:
    if len(quantities) > MINIMUM_QUANTITIES_MAX:
        raise InvalidRequest(field, f"has {len(quantities)}; at most {MINIMUM_QUANTITIES_MAX} are allowed")
    for name, quantity in quantities.items():
        if not name:
            raise InvalidRequest(field, "has a resource with an empty name")
        to_thousandths(quantity.value, f"{field}['{name}'].value")


def check_suppressed_roles(suppressed: Iterable[str], info: mesos.FrameworkInfo, field: str) -> None:
    """Refuse to suppress roles that the framework does not have.

    Raises:
        InvalidRequest: a role is no role, named twice, or not the framework's.
    """
    suppressed = list(suppressed)
    check_roles(suppressed, field)
    roles = frozenset(roles_of(info))
    for index, role in enumerate(suppressed):
        if role not in roles:
            raise InvalidRequest(f"{field}[{index}]", f"the framework does not have the role '{role}'")


def check_offer_constraints(
    constraints: scheduler.OfferConstraints, info: mesos.FrameworkInfo, field: str, limits: RegexLimits
) -> None:
    """Refuse offer constraints that cannot be applied.

    Raises:
        InvalidRequest: a role is not the framework's; a group, selector or predicate says nothing; or a regular
            expression is none, or costs more than `limits`.
    """
    compile_constraints(constraints, roles_of(info), field, limits)


def check_update(old: mesos.FrameworkInfo, new: mesos.FrameworkInfo, field: str) -> None:
    """Refuse a change of what a framework cannot change while it lives.

    Raises:
        InvalidRequest: the principal, the user or `checkpoint` would change.
    """
    check_principal(old, new, field)
    if old.user != new.user:
        raise InvalidRequest(f"{field}.user", f"cannot change from '{old.user}' to '{new.user}'")
    if old.checkpoint != new.checkpoint:
        raise InvalidRequest(f"{field}.checkpoint", f"cannot change from {old.checkpoint} to {new.checkpoint}")


def check_principal(old: mesos.FrameworkInfo, new: mesos.FrameworkInfo, field: str) -> None:
    """Refuse another principal.

    Raises:
        InvalidRequest: the principal would change.
    """
    if old.principal != new.principal:
        raise InvalidRequest(f"{field}.principal", f"cannot change from '{old.principal}' to '{new.principal}'")
