"""What operators ask to be configured for roles."""

from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.quota import quota_pb2 as quota
from mezzo.errors import InvalidRequest
from mezzo.resources import UNRESERVED_ROLE, Limits, Quantities, ResourceError, check_role, to_thousandths
from mezzo_registry.core.state import roles
from mezzo_registry.core.state.roles import Quota

WEIGHT_MIN, WEIGHT_MAX = 1e-6, 1e6
"""Shares are divided by weights: beyond these they are no numbers that can be compared."""


def check_weights(infos: Sequence[mesos.WeightInfo], field: str) -> dict[str, float]:
    """Refuse invalid weights. Returns them by role.

    Raises:
        InvalidRequest: a role is no role or is named twice, or a weight is not a positive number.
    """
    weights: dict[str, float] = {}
    for index, info in enumerate(infos):
        role, where = info.role.strip(), f"{field}[{index}]"
        check_role(role, f"{where}.role")
        if role in weights:
            raise InvalidRequest(f"{where}.role", f"role '{role}' is named twice")
        if not WEIGHT_MIN <= info.weight <= WEIGHT_MAX:
            raise InvalidRequest(
                f"{where}.weight",
                f"is {info.weight:g} for role '{role}'; must be positive, from {WEIGHT_MIN:g} to {WEIGHT_MAX:g}",
            )
        weights[role] = info.weight
    return weights


def check_quota_configs(configs: Sequence[quota.QuotaConfig], field: str) -> dict[str, Quota]:
    """Refuse quotas that are invalid in themselves. Returns them by role.

    Raises:
        InvalidRequest: a role is no role or is named twice; an amount is negative, too large or no number; guarantees
            exceed limits; or a resource is not a scalar.
    """
    quotas: dict[str, Quota] = {}
    for index, config in enumerate(configs):
        where = f"{field}[{index}]"
        check_role(config.role, f"{where}.role")
        if config.role in quotas:
            raise InvalidRequest(f"{where}.role", f"role '{config.role}' is named twice")
        quotas[config.role] = _check_config(config, where)
    return quotas


def _check_config(config: quota.QuotaConfig, field: str) -> Quota:
    for kind, scalars in (("guarantees", config.guarantees), ("limits", config.limits)):
        for name in scalars:
            if not name:
                raise InvalidRequest(f"{field}.{kind}", "has a resource with an empty name")
            if name == "ports":
                raise InvalidRequest(f"{field}.{kind}['ports']", "only scalar resources can have quota")
    try:
        one = roles.decode(config)
    except ResourceError as error:
        raise error.below(field) from None
    for name, guarantee in one.guarantees.items():
        limit = one.limits.get(name)
        if limit is not None and guarantee > limit:
            raise InvalidRequest(
                f"{field}.guarantees['{name}'].value",
                f"is {guarantee / 1000:g} for role '{config.role}', more than its limit, {limit / 1000:g}",
            )
    return one


def check_quota_request(request: quota.QuotaRequest, field: str) -> Quota:
    """Refuse an invalid quota in the legacy form, which is guarantee and limit at once.

    Raises:
        InvalidRequest: the role is no role; there is no guarantee; or one is no plain scalar, or named twice.
    """
    check_role(request.role, f"{field}.role")
    if not request.guarantee:
        raise InvalidRequest(f"{field}.guarantee", "must not be empty")
    amounts: dict[str, int] = {}
    for index, resource in enumerate(request.guarantee):
        where = f"{field}.guarantee[{index}]"
        _check_plain(resource, where)
        if resource.name in amounts:
            raise InvalidRequest(f"{where}.name", f"'{resource.name}' is named twice")
        amounts[resource.name] = to_thousandths(resource.scalar.value, f"{where}.scalar.value")
    return Quota(Quantities(amounts), Limits(amounts))


def _check_plain(resource: mesos.Resource, field: str) -> None:
    if not resource.name:
        raise InvalidRequest(f"{field}.name", "must not be empty")
    if resource.type != mesos.Value.SCALAR or not resource.HasField("scalar"):
        raise InvalidRequest(f"{field}.type", "only scalar resources can have quota")
    if resource.reservations or resource.HasField("reservation") or resource.role not in ("", UNRESERVED_ROLE):
        raise InvalidRequest(f"{field}.reservations", "must be empty: quota is for unreserved resources")
    for name in ("disk", "revocable", "shared", "allocation_info"):
        if resource.HasField(name):
            raise InvalidRequest(f"{field}.{name}", "must not be set in a quota")
