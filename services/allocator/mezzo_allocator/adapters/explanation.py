"""Explanations on the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import from_thousandths
from mezzo_allocator.core.explain import OFFERABLE, Explanation


def explanation_message(told: Explanation, now: float) -> wire.Explanation:
    """The message of an explanation; `now` is on the core's clock."""
    verdicts = Counter(told.verdicts.values())
    message = wire.Explanation(
        framework_id=told.framework_id,
        role=told.role,
        active=told.inactive_because is None,
        inactive_because=told.inactive_because or "",
        agents_turned_away={rule: count for rule, count in verdicts.items() if rule != OFFERABLE},
        agents_offerable=verdicts[OFFERABLE],
        largest_free=_amounts(told.largest_free),
        minimum=[wire.Amounts(amounts=_amounts(alternative)) for alternative in told.minimum],
        refusals=told.refusals,
    )
    for binding in told.binding_quotas:
        message.binding_quotas.add(
            role=binding.role,
            resource=binding.resource,
            limit=from_thousandths(binding.limit),
            consumed=from_thousandths(binding.consumed),
        )
    for place in told.places:
        message.places.add(
            name=place.name, share=place.share, place=place.place, of=place.of, allocations=place.allocations
        )
    if told.next_refusal_ends is not None:
        message.next_refusal_ends_seconds = max(0.0, told.next_refusal_ends - now)
    if told.last_offered is not None:
        message.last_offered_seconds = max(0.0, now - told.last_offered)
    return message


def _amounts(thousandths: Mapping[str, int]) -> dict[str, float]:
    return {name: from_thousandths(amount) for name, amount in thousandths.items()}
