"""What operators configure for roles: checked against what is configured, stored, and then applied.

A call is checked against what will be configured once everything before it is stored, so that calls may come
faster than the store writes. Offers that stand in the way of what was configured are rescinded.
"""

from collections.abc import Iterable, Mapping

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mezzo.errors import Conflict, InvalidRequest, LimitExceeded
from mezzo.resources import Quantities
from mezzo_registry.core import records
from mezzo_registry.core.context import Context
from mezzo_registry.core.effects import Answer, Persist
from mezzo_registry.core.events import RolesStored
from mezzo_registry.core.offers import offering
from mezzo_registry.core.operators import quota_room
from mezzo_registry.core.settings import ROLE_RECORDS_BYTES_MAX
from mezzo_registry.core.state import consumption, roles
from mezzo_registry.core.state.roles import NO_QUOTA, Configuration, Quota
from mezzo_registry.core.validation.quota import check_quota_configs, check_quota_request, check_weights
from mezzo_registry.core.views import allocator_messages, observers

Response = master.Response


# --- at the beginning of a term ---------------------------------------------------------------------------------------


def recovered(context: Context, configuration: Configuration) -> None:
    """Configure what the store holds; the weights of the flags where it has none."""
    cluster = context.state
    for one in (cluster.configuration, cluster.pending_configuration):
        one.apply(configuration.weights, configuration.quotas)
    if not context.settings.weights:
        return
    if cluster.configuration.weights:
        context.warn("--weights ignored: the store has weights", weights=cluster.configuration.weights)
    else:
        _persist(context, None, weights=context.settings.weights)


# --- calls ------------------------------------------------------------------------------------------------------------


def get_weights(context: Context, _call: master.Call) -> master.Response:
    """Return the configured weights."""
    response = Response(type=Response.GET_WEIGHTS)
    response.get_weights.SetInParent()
    for role, weight in sorted(context.state.configuration.weights.items()):
        response.get_weights.weight_infos.add(role=role, weight=weight)
    return response


def get_quota(context: Context, _call: master.Call) -> master.Response:
    """Return the configured quotas, in Mesos' form and in its legacy form."""
    response = Response(type=Response.GET_QUOTA)
    status = response.get_quota.status
    status.SetInParent()
    for role, one in sorted(context.state.configuration.quotas.items()):
        status.configs.append(roles.encode(role, one))
        info = status.infos.add(role=role)
        for name, amount in sorted(roles.amounts(one.guarantees.items()).items()):
            resource = info.guarantee.add(name=name, type=mesos.Value.SCALAR)
            resource.scalar.value = amount
    return response


def update_weights(context: Context, call: master.Call, request: int) -> None:
    """Set weights, all or none.

    Raises:
        InvalidRequest: one makes no sense.
        LimitExceeded: what is configured for all roles would be too much.
    """
    if not call.HasField("update_weights"):
        raise InvalidRequest("update_weights", "is required for a call of type UPDATE_WEIGHTS")
    infos = call.update_weights.weight_infos
    _persist(context, request, weights=check_weights(infos, "update_weights.weight_infos"))


def update_quota(context: Context, call: master.Call, request: int) -> None:
    """Set quotas, all or none.

    Raises:
        InvalidRequest: one makes no sense, in itself, in the tree of roles, or in this cluster; the last is not looked
            at with `force`.
        LimitExceeded: what is configured for all roles would be too much.
    """
    if not call.HasField("update_quota"):
        raise InvalidRequest("update_quota", "is required for a call of type UPDATE_QUOTA")
    field = "update_quota.quota_configs"
    configs = call.update_quota.quota_configs
    quotas = check_quota_configs(configs, field)
    _check_tree(context, quotas, {config.role: f"{field}[{index}]" for index, config in enumerate(configs)}, field)
    if not call.update_quota.force:
        short = _overcommitment(context, quotas)
        if short:
            raise InvalidRequest(field, f"{short} ('force' overrides this)")
        _check_consumption(context, quotas, field)
    _persist(context, request, quotas=quotas)


def set_quota(context: Context, call: master.Call, request: int) -> None:
    """Set the quota of a role that has none, in the legacy form: guarantee and limit at once.

    Raises:
        InvalidRequest: it makes no sense, in itself or in the tree of roles, or the role has a quota.
        Conflict: the cluster is too small; not looked at with `force`.
    """
    if not call.HasField("set_quota"):
        raise InvalidRequest("set_quota", "is required for a call of type SET_QUOTA")
    field, quota_request = "set_quota.quota_request", call.set_quota.quota_request
    quotas = {quota_request.role: check_quota_request(quota_request, field)}
    if quota_request.role in context.state.pending_configuration.quotas:
        raise InvalidRequest(f"{field}.role", f"role '{quota_request.role}' has a quota; remove or update it")
    _check_tree(context, quotas, {quota_request.role: field}, field)
    short = _overcommitment(context, quotas)
    if short and not quota_request.force:
        raise Conflict(f"{field}.guarantee: {short} ('force' overrides this)")
    _persist(context, request, quotas=quotas)


def remove_quota(context: Context, call: master.Call, request: int) -> None:
    """Remove a role's quota.

    Raises:
        InvalidRequest: the role has none, or its children's guarantees need it.
    """
    if not call.HasField("remove_quota"):
        raise InvalidRequest("remove_quota", "is required for a call of type REMOVE_QUOTA")
    role, field = call.remove_quota.role, "remove_quota.role"
    if role not in context.state.pending_configuration.quotas:
        raise InvalidRequest(field, f"role '{role}' has no quota")
    quotas = {role: NO_QUOTA}
    _check_tree(context, quotas, {role: field}, field)
    _persist(context, request, quotas=quotas)


# --- checks against what is there -------------------------------------------------------------------------------------


def _check_tree(context: Context, quotas: Mapping[str, Quota], fields: Mapping[str, str], field: str) -> None:
    """Refuse quotas that would contradict those above and below them; `fields` says where each role is named."""
    for role, how in roles.contradictions(context.state.pending_configuration.changed({}, quotas).quotas):
        raise InvalidRequest(fields.get(role, field), f"role '{role}': {how}")


def _overcommitment(context: Context, quotas: Mapping[str, Quota]) -> str:
    """Say how the cluster is too small for the guarantees; empty if it is large enough."""
    promised = roles.promised(context.state.pending_configuration.changed({}, quotas).quotas)
    capacity = consumption.capacity(context.state)
    if capacity.contains(promised):
        return ""
    return f"the guarantees of all roles, {promised}, exceed what the agents have, {capacity or 'nothing'}"


def _check_consumption(context: Context, quotas: Mapping[str, Quota], field: str) -> None:
    """Refuse limits that are already exceeded."""
    consumed = consumption.consumptions(context.state)
    for index, (role, one) in enumerate(quotas.items()):
        amounts = consumed.get(role, Quantities.EMPTY)
        if not one.limits.admit(amounts):
            raise InvalidRequest(
                f"{field}[{index}].limits",
                f"role '{role}' already consumes {amounts}, more than {one.limits} ('force' overrides this)",
            )


# --- storing and telling ----------------------------------------------------------------------------------------------


def _persist(
    context: Context,
    request: int | None,
    *,
    weights: Mapping[str, float] | None = None,
    quotas: Mapping[str, Quota] | None = None,
) -> None:
    """Store weights and quotas. Nothing follows from them before they are stored."""
    weights, quotas = weights or {}, quotas or {}
    changed = context.state.pending_configuration.changed(weights, quotas)
    size, before = records.size_of_roles(changed), records.size_of_roles(context.state.pending_configuration)
    if size > max(ROLE_RECORDS_BYTES_MAX, before):
        raise LimitExceeded(f"weights and quotas have {size} bytes; at most {ROLE_RECORDS_BYTES_MAX} are allowed")
    context.state.pending_configuration = changed
    context.emit(Persist(records.configure(weights, quotas), RolesStored(request, weights, quotas)))


def stored(context: Context, event: RolesStored) -> None:
    """Apply stored weights and quotas."""
    cluster = context.state
    before = {role: cluster.configuration.quota(role) for role in event.quotas}
    cluster.configuration.apply(event.weights, event.quotas)
    changed = sorted(event.weights.keys() | event.quotas.keys())
    for role in changed:
        allocator_messages.role_changed(context, role)
    observers.roles_changed(context, changed)
    if event.weights.keys() & _in_use(cluster.roles):
        # Whatever is out was shared by the weights of before.
        _rescind_all(context)
    if event.quotas and cluster.offers:
        raised = {
            role: one.guarantees for role, one in event.quotas.items() if one.guarantees - before[role].guarantees
        }
        quota_room.rescind(context, event.quotas, raised)
    context.note("weights and quotas updated", weights=dict(event.weights), quotas=[*event.quotas])
    if event.request is not None:
        context.emit(Answer(event.request))


def _in_use(used: Iterable[str]) -> set[str]:
    """Return the roles that frameworks have, and those above them."""
    found: set[str] = set()
    for role in used:
        while role and role not in found:
            found.add(role)
            role = role.rpartition("/")[0]  # noqa: PLW2901  walks upwards
    return found


def _rescind_all(context: Context) -> None:
    for offer in list(context.state.offers.values()):
        offering.rescind(context, offer)
