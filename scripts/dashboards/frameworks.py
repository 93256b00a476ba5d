"""Frameworks and roles: who gets how much, who waits, and what comes of tasks."""

from __future__ import annotations

from scripts.dashboards.grafana import ODD_ABOVE_ZERO, Dashboard, Graph, Query, Row, Stat, Table, Variable
from scripts.dashboards.promql import CLUSTER, ROLE, Metrics, highest, or_zero, quantile, rate, share, total

registry, roles = Metrics("registry"), Metrics("allocator", (CLUSTER, ROLE))
REFUSED = 'outcome!="accepted"'

FRAMEWORKS = Row(
    "Are the frameworks well?",
    (
        Stat(
            title="How many frameworks are connected?",
            description="Frameworks that are subscribed.",
            queries=[Query(or_zero(total(registry("frameworks", 'state="connected"'))))],
        ),
        Stat(
            title="Which frameworks are away?",
            description="Disconnected: their tasks are killed when their failover timeout ends.",
            queries=[Query(or_zero(total(registry("frameworks", 'state="disconnected"'))))],
            steps=ODD_ABOVE_ZERO,
        ),
        Stat(
            title="Who has waited longest for an offer?",
            description="The role, of those that take part. `mezzo why <role>` says what is in the way.",
            queries=[Query(f"topk(1, {highest(roles('starvation_seconds'), 'role')})", "{{role}}")],
            by_name=True,
            nothing="nobody",
        ),
        Stat(
            title="For how long?",
            description="How long that role has waited.",
            queries=[Query(or_zero(highest(roles("starvation_seconds"))))],
            unit="s",
            steps=((60, "orange"), (600, "red")),
        ),
        Stat(
            title="How many offers are out?",
            description="Offers that frameworks have not answered. They hold what they offer.",
            queries=[Query(or_zero(total(registry("outstanding_offers"))))],
        ),
        Stat(
            title="How old is the oldest offer?",
            description="For how long it has been out. Who does not answer is told by the alert MezzoOffersUnanswered.",
            queries=[Query(or_zero(highest(registry("oldest_offer_age_seconds"))))],
            unit="s",
            steps=((60, "orange"), (600, "red")),
        ),
        Stat(
            title="How many tasks run?",
            description="Tasks in TASK_RUNNING.",
            queries=[Query(or_zero(total(registry("tasks", 'state="running"'))))],
        ),
    ),
)

SHARES = Row(
    "Who gets how much?",
    (
        Graph(
            title="Who has the largest share?",
            description=(
                "Dominant share of each role: its part of the resource of which it has most, divided by its weight. "
                "Who has less is offered first."
            ),
            queries=[Query(highest(roles("dominant_share"), "role"), "{{role}}")],
            unit="percentunit",
        ),
        Graph(
            title="Who is offered something?",
            description="Allocations each second, by role.",
            queries=[Query(total(rate(roles("allocations_total")), "role"), "{{role}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="Who waits for offers?",
            description="For how long somebody in the role has taken part without being offered anything.",
            queries=[Query(or_zero(highest(roles("starvation_seconds"), "role")), "{{role}}")],
            unit="s",
            steps=((600, "red"),),
        ),
        Graph(
            title="Who refuses offers?",
            description="Refusals in force, by role. Long ones (refuse_seconds) keep a framework from offers.",
            queries=[Query(or_zero(total(roles("filters"), "role")), "{{role}}")],
        ),
        Graph(
            title="Why are offers not accepted?",
            description="Offers that were not accepted, by what became of them, as a part of all that ended.",
            queries=[
                Query(
                    f"{total(rate(registry('offers_ended_total', REFUSED)), 'outcome')}"
                    f" / on () group_left () ({total(rate(registry('offers_ended_total')))} > 0)",
                    "{{outcome}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
        Graph(
            title="How soon are offers answered?",
            description=(
                "The age of offers when they ended: half of them, and 99 in 100, by outcome. What nobody answers is "
                "taken back after --offer_timeout."
            ),
            queries=[
                Query(quantile(0.5, registry("offer_age_seconds_bucket"), "outcome"), "{{outcome}}, median"),
                Query(quantile(0.99, registry("offer_age_seconds_bucket"), "outcome"), "{{outcome}}, 99 in 100"),
            ],
            unit="s",
        ),
    ),
)


def _quota_table(title: str, which: str, unit: str) -> Table:
    return Table(
        title=title,
        description="Of each role with quota, by resource, as it is now.",
        queries=[
            Query(highest(roles(f"quota_{what}", which), "role", "resource"))
            for what in ("guarantee", "limit", "consumed")
        ],
        columns=("role", "resource"),
        values=("guaranteed", "allowed", "used"),
        unit=unit,
        width=12,
    )


QUOTA = Row(
    "Is quota kept?",
    (
        _quota_table("How many processors are guaranteed, allowed and used?", 'resource!~"mem|disk"', "short"),
        _quota_table("How much memory and disk is guaranteed, allowed and used?", 'resource=~"mem|disk"', "bytes"),
        Graph(
            title="Who comes near its limit?",
            description="What counts against quota, as a part of the limit. At 1 the role is offered no more.",
            queries=[
                Query(
                    or_zero(
                        share(
                            highest(roles("quota_consumed"), "role", "resource"),
                            highest(roles("quota_limit"), "role", "resource"),
                        )
                    ),
                    "{{role}} {{resource}}",
                )
            ],
            unit="percentunit",
            width=12,
            steps=((1, "red"),),
        ),
        Graph(
            title="Who has less than it is guaranteed?",
            description=(
                "What is missing, as a part of the guarantee. Odd only where the role also waits for offers: who asks "
                "for nothing is given nothing."
            ),
            queries=[
                Query(
                    or_zero(
                        "clamp_min(1 - "
                        + share(
                            highest(roles("quota_consumed"), "role", "resource"),
                            highest(roles("quota_guarantee"), "role", "resource"),
                        )
                        + ", 0)"
                    ),
                    "{{role}} {{resource}}",
                )
            ],
            unit="percentunit",
            max=1,
            width=12,
        ),
    ),
)

TASKS = Row(
    "What comes of the tasks?",
    (
        Graph(
            title="What do tasks do?",
            description="Tasks that have not ended, by state.",
            queries=[Query(total(registry("tasks"), "state"), "{{state}}")],
            stacked=True,
        ),
        Graph(
            title="Which part of the tasks fails?",
            description="Of those that end, the part in TASK_FAILED or TASK_ERROR. See the alert MezzoTasksFailing.",
            queries=[
                Query(
                    share(
                        total(rate(registry("tasks_ended_total", 'state=~"failed|error"'))),
                        total(rate(registry("tasks_ended_total"))),
                    ),
                    "failed",
                )
            ],
            unit="percentunit",
            max=1,
            steps=((0.5, "red"),),
        ),
        Graph(
            title="Why do tasks end?",
            description="The ten most frequent reasons, with the state and who gave it.",
            queries=[
                Query(
                    f"topk(10, {total(rate(registry('task_reasons_total')), 'state', 'source', 'reason')})",
                    "{{state}} {{source}} {{reason}}",
                )
            ],
            unit="suffix: /s",
        ),
    ),
)

DASHBOARD = Dashboard(
    "frameworks",
    "Frameworks and roles",
    "Who gets how much, who waits for offers, whether quota is kept, and what comes of tasks.",
    (FRAMEWORKS, SHARES, QUOTA, TASKS),
    (Variable("role", "Role", "mezzo_allocator_dominant_share"),),
)
