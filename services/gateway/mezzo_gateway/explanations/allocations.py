"""Explanations of the allocator in plain sentences: why a framework is offered what it is, and what would change it.

An explanation (`mezzo.allocator.v1.Explanation`) is about one framework in one role: on all agents, or on the one that
was asked for. Whoever shows explanations shows these sentences.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mezzo import jsonpb
from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.allocator.v1.allocator_pb2 import BindingQuota, Explanation, Headroom, InactiveReason, Place
from mezzo.operator.wording import amounts, counted, duration, number, own_frameworks

# Rules that turn agents away, in the order in which they are looked at: what is said of one agent and of several, and
# what would have to change. `{minimum}` is the smallest offer that the framework takes.
RULES: Mapping[str, tuple[str, str, str]] = {
    "inactive": (
        "is disconnected, draining, deactivated or not on the whitelist",
        "are disconnected, draining, deactivated or not on the whitelist",
        "they have to come back, or be reactivated",
    ),
    "gpu": (
        "has GPUs, which are kept for frameworks with the capability GPU_RESOURCES",
        "have GPUs, which are kept for frameworks with the capability GPU_RESOURCES",
        "the framework has to subscribe with the capability GPU_RESOURCES",
    ),
    "region": (
        "lies in another region than the registry",
        "lie in another region than the registry",
        "the framework has to subscribe with the capability REGION_AWARE",
    ),
    "agent_capability": (
        "lacks a capability that the role or the framework needs of agents",
        "lack a capability that the role or the framework needs of agents",
        "such agents have to be replaced by newer ones",
    ),
    "constraint": (
        "does not meet the framework's offer constraints",
        "do not meet the framework's offer constraints",
        "the framework has to ask for less, or agents need other attributes",
    ),
    "nothing_free": (
        "has nothing free",
        "have nothing free",
        "tasks there have to end, or offers that are out to be answered",
    ),
    "not_visible": (
        "has nothing free but what is reserved for other roles, or of a kind that the framework has no capability for",
        "have nothing free but what is reserved for other roles, or of a kind that the framework has no capability for",
        "it has to be unreserved, or the framework to subscribe in that role or with that capability",
    ),
    "below_minimum": (
        "has less free than the smallest offer it takes, {minimum}",
        "have less free than the smallest offer it takes, {minimum}",
        "more has to become free on one agent, or the framework to take less",
    ),
    "quota_limit": (
        "would be offered, but a quota limit leaves no room",
        "would be offered, but a quota limit leaves no room",
        "the limit has to be raised, or something of that role to end",
    ),
    "quota_headroom": (
        "has nothing free but what is set aside for the guarantees of other roles",
        "have nothing free but what is set aside for the guarantees of other roles",
        "a guarantee has to be lowered, or agents to be added",
    ),
    "refused": (
        "is refused by the framework",
        "are refused by the framework",
        "",
    ),
}

# What the allocator calls the node of a role's own frameworks, which stands beside the roles below it.
OWN_NODE = "."
# As many of those who hold unanswered offers are in a document, and as many are named in a sentence.
HOLDERS_MAX, HOLDERS_NAMED_MAX = 20, 3

# Why a framework is inactive, and what would have to change.
REMEDIES: Mapping[InactiveReason.ValueType, str] = {
    allocator.INACTIVE_REASON_NOT_SUBSCRIBED: "it has to subscribe in it",
    allocator.INACTIVE_REASON_DISCONNECTED: "it has to connect again",
    allocator.INACTIVE_REASON_SUPPRESSED: "it has to revive",
}


class PlaceKind(StrEnum):
    """What stands in a place among siblings of the role tree."""

    ROLE = "ROLE"
    # All frameworks that are subscribed in the role itself, together; roles below it stand beside them.
    OWN_FRAMEWORKS = "OWN_FRAMEWORKS"
    FRAMEWORK = "FRAMEWORK"


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Offers that a framework has in a role, and has neither used nor declined."""

    framework_id: str
    role: str
    offers: int
    # Since when the oldest of them waits, as long ago as this; None: nobody knows.
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """Who else has offers to answer: a few by name, and how many offers the rest of them have."""

    named: list[Unanswered]
    rest: int
    rest_offers: int


class Surroundings:
    """What the allocator does not say, and whoever has a copy of the cluster's state knows."""

    def __init__(self, names: Mapping[str, str] | None = None, unanswered: Sequence[Unanswered] = ()) -> None:
        """Names by framework id; offers of every framework on the agents asked about, the longest wait first."""
        self.names = names or {}
        self.unanswered = unanswered
        # There may be as many explanations as there are frameworks: each is told without going through all of them.
        self._offers = {(each.framework_id, each.role): each.offers for each in unanswered}
        self._offers_of_all = sum(self._offers.values())

    def name(self, framework_id: str) -> str:
        return self.names.get(framework_id) or framework_id

    def own(self, explanation: Explanation) -> int:
        """How many offers whoever is explained has to answer in that role."""
        return self._offers.get((explanation.framework_id, explanation.role), 0)

    def others(self, explanation: Explanation) -> Others:
        own = (explanation.framework_id, explanation.role)
        first = self.unanswered[: HOLDERS_NAMED_MAX + 1]
        named = [each for each in first if (each.framework_id, each.role) != own][:HOLDERS_NAMED_MAX]
        offers = self._offers_of_all - self.own(explanation) - sum(each.offers for each in named)
        return Others(named, len(self.unanswered) - (own in self._offers) - len(named), offers)


NOTHING_KNOWN = Surroundings()


def answer(found: Iterable[Explanation], surroundings: Surroundings) -> dict[str, Any]:
    """What is answered to whoever asks why, as JSON.

    `explanations` has a `document` for each; `unanswered_offers` says who has offers to answer, the oldest first,
    `HOLDERS_MAX` at most.
    """
    unanswered: list[Any] = [_unanswered(each, surroundings) for each in surroundings.unanswered[:HOLDERS_MAX]]
    return {"explanations": [document(each, surroundings) for each in found], "unanswered_offers": finite(unanswered)}


def document(explanation: Explanation, surroundings: Surroundings = NOTHING_KNOWN) -> dict[str, Any]:
    """The explanation as JSON: its fields in snake case, those that say nothing too; and besides

    - `framework_name`, `verdict` and `summary`;
    - `kind` for each of the `places`, a `PlaceKind`.

    Optional fields (`next_refusal_ends_seconds`, `last_offered_seconds`) are left out where they are not set, and so is
    `inactive_reason` of what is active. A number that is none, which JSON cannot say, is null.
    """
    fields = _complete(explanation)
    for place, shown in zip(explanation.places, fields["places"], strict=True):
        shown["kind"] = str(_kind_of(place, explanation))
    fields["framework_name"] = surroundings.names.get(explanation.framework_id, "")
    fields["verdict"] = verdict(explanation, surroundings)
    fields["summary"] = summary(explanation, surroundings)
    whole: dict[str, Any] = finite(fields)
    return whole


def _kind_of(place: Place, explanation: Explanation) -> PlaceKind:
    if place.name == OWN_NODE:
        return PlaceKind.OWN_FRAMEWORKS
    return PlaceKind.FRAMEWORK if place.name == explanation.framework_id else PlaceKind.ROLE


def _unanswered(one: Unanswered, surroundings: Surroundings) -> dict[str, Any]:
    row = {
        "framework_id": one.framework_id,
        "framework_name": surroundings.names.get(one.framework_id, ""),
        "role": one.role,
        "offers": one.offers,
    }
    return row if one.oldest_seconds is None else {**row, "oldest_seconds": one.oldest_seconds}


def verdict(explanation: Explanation, surroundings: Surroundings = NOTHING_KNOWN) -> str:
    """The explanation in one sentence."""
    who = f"{surroundings.name(explanation.framework_id)} in role {explanation.role}"
    if not explanation.active:
        return f"{who} is inactive: {explanation.inactive_because}"
    total = agents_considered(explanation)
    if explanation.agents_offerable:
        found = _agents(explanation.agents_offerable, total)
        enough = explanation.agents_large_enough or not explanation.requested
        return f"{who} can be offered {found}" + (
            " when its turn comes" if enough else ", and nothing as large as it asked for"
        )
    if not total:
        return f"{who} is offered nothing: there is no agent"
    out = surroundings.own(explanation)
    if out:
        return f"{who} has {counted(out, 'offer')} to answer, and nothing more can be offered to it"
    rule, count = max(_turned_away(explanation), key=lambda each: each[1])
    if rule == "quota_limit" and explanation.binding_quotas:
        return f"{who} is offered nothing: {_about_quota(explanation.binding_quotas[0], surroundings)}"
    phrase = _phrase_of(rule, count, total, explanation)
    others = surroundings.others(explanation)
    holders = f", and {_about_holders(others, surroundings)}" if rule == "nothing_free" and others.named else ""
    return f"{who} is offered nothing: {phrase}{holders}"


def summary(explanation: Explanation, surroundings: Surroundings = NOTHING_KNOWN) -> list[str]:
    """Sentences, without full stops, that say why and what would have to change; the weightiest first."""
    sentences = list(_about_taking_part(explanation, surroundings))
    sentences += _about_agents(explanation)
    others = surroundings.others(explanation)
    if others.named:
        sentences.append(f"offers that are out keep what is in them: {_about_holders(others, surroundings)}")
    sentences += [_about_quota(quota, surroundings) for quota in explanation.binding_quotas]
    if explanation.HasField("headroom"):
        sentences.append(_about_headroom(explanation.headroom))
    sentences += _about_amounts(explanation)
    sentences += _about_place(explanation, surroundings)
    if explanation.HasField("last_offered_seconds"):
        sentences.append(f"it was last offered something {duration(explanation.last_offered_seconds)} ago")
    else:
        sentences.append("it has never been offered anything")
    return sentences


def agents_considered(explanation: Explanation) -> int:
    """How many agents the explanation is about."""
    return explanation.agents_offerable + sum(explanation.agents_turned_away.values())


def minimum(explanation: Explanation) -> str:
    """The smallest offer that it takes: `cpus 4, mem 32 or gpus 1`."""
    return " or ".join(amounts(each.amounts) for each in explanation.minimum) or "anything at all"


# ----------------------------------------------------------------------------------------------------- the sentences


def _about_taking_part(explanation: Explanation, surroundings: Surroundings) -> Iterable[str]:
    if not explanation.active:
        remedy = REMEDIES.get(explanation.inactive_reason)
        yield f"{explanation.inactive_because}; {remedy}" if remedy else explanation.inactive_because
    out = surroundings.own(explanation)
    if out:
        yield f"it has {counted(out, 'offer')} that it has neither used nor declined"


def _about_agents(explanation: Explanation) -> list[str]:
    total = agents_considered(explanation)
    if not total:
        return ["there is no agent"]
    sentences = []
    if explanation.agents_offerable:
        verb = "is" if explanation.agents_offerable == 1 else "are"
        sentences.append(f"{_agents(explanation.agents_offerable, total)} {verb} free to be offered")
    for rule, count in sorted(_turned_away(explanation), key=lambda each: -each[1]):
        sentence = _phrase_of(rule, count, total, explanation)
        remedy = _refusals_end(explanation) if rule == "refused" else RULES.get(rule, ("", "", ""))[2]
        sentences.append(f"{sentence}; {remedy}" if remedy else sentence)
    return sentences


def _refusals_end(explanation: Explanation) -> str:
    ends = "it has to revive"
    if explanation.HasField("next_refusal_ends_seconds"):
        which = "the refusal" if explanation.refusals == 1 else "the next refusal"
        ends = f"{which} ends in {duration(explanation.next_refusal_ends_seconds)}, or when the framework revives"
    return ends


def _about_holders(others: Others, surroundings: Surroundings) -> str:
    """`spark has 2 offers unanswered for 5 min, web has 1 offer unanswered, 3 others have 7`."""
    phrases = [
        f"{surroundings.name(each.framework_id)} has {counted(each.offers, 'offer')} unanswered"
        + (f" for {duration(each.oldest_seconds)}" if each.oldest_seconds is not None else "")
        for each in others.named
    ]
    if others.rest:
        phrases.append(f"{counted(others.rest, 'other')} {'has' if others.rest == 1 else 'have'} {others.rest_offers}")
    return ", ".join(phrases)


def _about_quota(quota: BindingQuota, surroundings: Surroundings) -> str:
    used = f"{quota.resource} {number(quota.consumed)} of {number(quota.limit)} used"
    users = [f"{each.role or surroundings.name(each.framework_id)} {number(each.amount)}" for each in quota.consumers]
    return f"quota limit of role {quota.role}: {used}" + (f" (by {', '.join(users)})" if users else "")


def _about_headroom(headroom: Headroom) -> str:
    unmet = [
        f"{each.role} uses {each.resource} {number(each.consumed)} of the {number(each.guarantee)} it is guaranteed"
        for each in headroom.unmet_guarantees
    ]
    laid_away = f"{amounts(headroom.needed)} must stay free for guarantees, and {amounts(headroom.free)} is"
    return f"{laid_away} ({', '.join(unmet)})" if unmet else laid_away


def _about_amounts(explanation: Explanation) -> list[str]:
    if not agents_considered(explanation):
        return []
    free = amounts(explanation.largest_free)
    most = f"the most that one agent has free for it is {free}"
    sentences = [f"{most}; the smallest offer it takes is {minimum(explanation)}" if explanation.minimum else most]
    if explanation.requested:
        asked = " or ".join(amounts(each.amounts) for each in explanation.requested)
        enough = explanation.agents_large_enough
        sentences.append(f"it asked for {asked}; {counted(enough, 'agent')} could be offered with so much")
    return sentences


def _about_place(explanation: Explanation, surroundings: Surroundings) -> Iterable[str]:
    places = [_placed(place, explanation, surroundings) for place in explanation.places if place.place and place.of > 1]
    if places:
        yield f"in the order in which turns are given {'; '.join(places)}"


def _placed(place: Place, explanation: Explanation, surroundings: Surroundings) -> str:
    kind = _kind_of(place, explanation)
    name = own_frameworks(explanation.role) if kind is PlaceKind.OWN_FRAMEWORKS else surroundings.name(place.name)
    verb = "are" if kind is PlaceKind.OWN_FRAMEWORKS else "is"
    if place.drawn_by_lot:
        return f"{name} {verb} one of {place.of}, drawn by lot (share {number(place.share)})"
    return f"{name} {verb} number {place.place} of {place.of} (share {number(place.share)})"


# ------------------------------------------------------------------------------------------------------------- words


def _turned_away(explanation: Explanation) -> Sequence[tuple[str, int]]:
    """Rules that turn agents away, in the order in which they are looked at; those not known here come last."""
    counts = explanation.agents_turned_away
    known = [rule for rule in RULES if rule in counts]
    return [(rule, counts[rule]) for rule in (*known, *sorted(counts.keys() - RULES.keys())) if counts[rule]]


def _phrase_of(rule: str, count: int, total: int, explanation: Explanation) -> str:
    one, several, _ = RULES.get(rule, (f"falls under the rule {rule}", f"fall under the rule {rule}", ""))
    phrase = (one if count == 1 else several).format(minimum=minimum(explanation))
    return f"{_agents(count, total)} {phrase}"


def _agents(count: int, total: int) -> str:
    if total == 1:
        return "the agent"
    return f"all {total} agents" if count == total else f"{count} of {total} agents"


def _complete(message: Message) -> dict[str, Any]:
    """The message as JSON, with every field that cannot be left unset; an enum that says nothing is left out.

    Numbers stay numbers, infinite ones too: what stands for those is decided once, for the whole answer.
    """
    fields = jsonpb.to_dict(message)
    for one in message.DESCRIPTOR.fields:
        is_map = one.message_type is not None and one.message_type.GetOptions().map_entry
        if is_map:
            entries = getattr(message, one.name)
            fields[one.name] = dict(entries) if _holds_numbers(one) else fields.get(one.name, {})
        elif one.is_repeated:
            values = getattr(message, one.name)
            fields[one.name] = [_complete(each) if one.message_type is not None else each for each in values]
        elif one.enum_type is not None:
            if getattr(message, one.name) not in one.enum_type.values_by_number:
                fields.pop(one.name, None)  # of a newer allocator: the words beside it say what it is
        elif one.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            if not one.has_presence or message.HasField(one.name):
                fields[one.name] = getattr(message, one.name)
        elif not one.has_presence:
            fields.setdefault(one.name, one.default_value)
    return fields


def _holds_numbers(entries: Any) -> bool:
    """Whether a map is one of doubles."""
    return bool(entries.message_type.fields_by_name["value"].cpp_type == FieldDescriptor.CPPTYPE_DOUBLE)


def finite(value: Any) -> Any:
    """The same, with null for every number that is none."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {name: finite(each) for name, each in value.items()}
        case list():
            return [finite(each) for each in value]
    return value
