"""Explanations on the wire."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import from_thousandths
from mezzo_allocator.core.explain import OFFERABLE, Explanation, Inactivity
from mezzo_allocator.core.quota_in_use import BindingQuota, Headroom

_REASONS = {
    None: wire.INACTIVE_REASON_UNSPECIFIED,
    Inactivity.NOT_SUBSCRIBED: wire.INACTIVE_REASON_NOT_SUBSCRIBED,
    Inactivity.DISCONNECTED: wire.INACTIVE_REASON_DISCONNECTED,
    Inactivity.SUPPRESSED: wire.INACTIVE_REASON_SUPPRESSED,
}


def explanation_message(explanation: Explanation, now: float) -> wire.Explanation:
    """The message of an explanation; `now` is on the core's clock."""
    verdicts = Counter(explanation.verdicts.values())
    message = wire.Explanation(
        framework_id=explanation.framework_id,
        role=explanation.role,
        active=explanation.inactive_because is None,
        inactive_because=explanation.inactive_because.value if explanation.inactive_because else "",
        inactive_reason=_REASONS[explanation.inactive_because],
        agents_turned_away={rule: count for rule, count in verdicts.items() if rule != OFFERABLE},
        agents_offerable=verdicts[OFFERABLE],
        largest_free=_amounts(explanation.largest_free),
        minimum=[wire.Amounts(amounts=_amounts(alternative)) for alternative in explanation.minimum],
        refusals=explanation.refusals,
        requested=[wire.Amounts(amounts=_amounts(each)) for each in explanation.requested],
        agents_large_enough=explanation.agents_large_enough,
        agents_gone_by=explanation.agents_gone_by,
    )
    message.binding_quotas.extend(map(_binding_quota, explanation.binding_quotas))
    message.places.extend(wire.Place(**dataclasses.asdict(place)) for place in explanation.places)
    if explanation.headroom is not None:
        message.headroom.CopyFrom(_headroom(explanation.headroom))
    if explanation.next_refusal_ends is not None:
        message.next_refusal_ends_seconds = max(0.0, explanation.next_refusal_ends - now)
    if explanation.last_offered is not None:
        message.last_offered_seconds = max(0.0, now - explanation.last_offered)
    return message


def _binding_quota(binding: BindingQuota) -> wire.BindingQuota:
    message = wire.BindingQuota(
        role=binding.role,
        resource=binding.resource,
        limit=from_thousandths(binding.limit),
        consumed=from_thousandths(binding.consumed),
    )
    for consumer in binding.consumers:
        amount = from_thousandths(consumer.amount)
        if consumer.is_role:
            message.consumers.add(role=consumer.name, amount=amount)
        else:
            message.consumers.add(framework_id=consumer.name, amount=amount)
    return message


def _headroom(headroom: Headroom) -> wire.Headroom:
    message = wire.Headroom(needed=_amounts(headroom.needed), free=_amounts(headroom.free))
    for unmet in headroom.unmet:
        message.unmet_guarantees.add(
            role=unmet.role,
            resource=unmet.resource,
            guarantee=from_thousandths(unmet.guarantee),
            consumed=from_thousandths(unmet.consumed),
        )
    return message


def _amounts(thousandths: Mapping[str, int]) -> dict[str, float]:
    return {name: from_thousandths(amount) for name, amount in thousandths.items()}
