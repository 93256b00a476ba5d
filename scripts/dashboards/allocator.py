"""Allocator: does it decide in time, and who is offered what."""

from __future__ import annotations

from scripts.dashboards import processes
from scripts.dashboards.grafana import YES_OR_NO, Dashboard, Graph, Query, Row, Stat
from scripts.dashboards.promql import Metrics, highest, or_zero, quantile, rate, share, total

allocator, registry = Metrics("allocator"), Metrics("registry")

AT_WORK = Row(
    "Is it at work?",
    (
        Stat(
            title="Which allocator leads?",
            description="The registry opens its session with this one.",
            queries=[Query(f"{allocator('leading')} == 1", "{{instance}}")],
            by_name=True,
            nothing="nobody",
        ),
        Stat(
            title="Does a registry use it?",
            description="no: no offers are made. See the alert MezzoAllocatorAway.",
            queries=[Query(or_zero(highest(allocator("rpc_active", 'method="Session"'))))],
            mappings=YES_OR_NO,
        ),
        Stat(
            title="Is its inner loop compiled?",
            description="It is within seconds of the start; until then, and where that fails, decisions take longer.",
            queries=[Query(f"min({allocator('inner_loop_compiled')})")],
            mappings={0: ("no", "orange"), 1: ("yes", "green")},
        ),
        Stat(
            title="How many agents may be offered?",
            description="Agents that are connected and not about to be taken away.",
            queries=[Query(highest(allocator("agents_active")))],
        ),
        Stat(
            title="How many frameworks are connected?",
            description="As the allocator knows them.",
            queries=[Query(highest(allocator("frameworks_active")))],
        ),
        Stat(
            title="How many sessions began?",
            description="In the time that is shown. Each begins with a snapshot of everything; many are odd.",
            queries=[Query(total(f"increase({allocator('sessions_total')}[$__range])"))],
            steps=((5, "orange"),),
        ),
    ),
)

SPEED = Row(
    "Does it decide in time?",
    (
        Graph(
            title="How long does a change wait for its decision?",
            description=(
                "From the first change since the last cycle to the decision about it. --allocation_interval is the "
                "least of it. MezzoAllocationSlow fires above 5 seconds."
            ),
            queries=[
                Query(quantile(0.5, allocator("cycle_latency_seconds_bucket")), "median"),
                Query(quantile(0.99, allocator("cycle_latency_seconds_bucket")), "99 in 100"),
            ],
            unit="s",
            steps=((5, "red"),),
        ),
        Graph(
            title="How long does a decision take?",
            description="One cycle: all agents with something free are gone through.",
            queries=[
                Query(quantile(0.5, allocator("cycle_duration_seconds_bucket")), "median"),
                Query(quantile(0.99, allocator("cycle_duration_seconds_bucket")), "99 in 100"),
            ],
            unit="s",
        ),
        Graph(
            title="How busy is it?",
            description="The part of the time in which it decides.",
            queries=[Query(rate(allocator("cycle_duration_seconds_sum")), "{{instance}}")],
            unit="percentunit",
            max=1,
            steps=((0.8, "red"),),
        ),
        Graph(
            title="How often does it decide?",
            description="Cycles each second.",
            queries=[Query(total(rate(allocator("cycle_duration_seconds_count"))), "cycles")],
            unit="suffix: /s",
        ),
        Graph(
            title="How many agents does a cycle look at?",
            description="On average. Only what has changed is looked at between two full cycles.",
            queries=[
                Query(
                    share(
                        total(rate(allocator("agents_considered_total"))),
                        total(rate(allocator("cycle_duration_seconds_count"))),
                    ),
                    "agents",
                )
            ],
        ),
        Graph(
            title="What is it told?",
            description="Events each second, by kind.",
            queries=[Query(total(rate(allocator("events_total")), "event"), "{{event}}")],
            unit="suffix: /s",
        ),
    ),
)

WHO = Row(
    "Who is offered what?",
    (
        Graph(
            title="Who is offered something?",
            description="Allocations each second, by role: each becomes an offer, or part of one.",
            queries=[Query(total(rate(allocator("allocations_total")), "role"), "{{role}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="Who waits for offers?",
            description=(
                "For how long somebody in the role has taken part without being offered anything. "
                "MezzoFrameworkStarved fires above 10 minutes; `mezzo why <role>` says what is in the way."
            ),
            queries=[Query(or_zero(highest(allocator("starvation_seconds"), "role")), "{{role}}")],
            unit="s",
            steps=((600, "red"),),
        ),
        Graph(
            title="Who refuses offers?",
            description="Refusals in force, by role: agents that are not offered to a framework again for now.",
            queries=[Query(or_zero(total(allocator("filters"), "role")), "{{role}}")],
        ),
        Graph(
            title="Why are offers not accepted?",
            description=(
                "Offers that ended each second, by outcome. declined: the framework did not want it; rescinded: it was "
                "taken back; timed_out: nobody answered; withdrawn: its agent or framework went."
            ),
            queries=[Query(total(rate(registry("offers_ended_total")), "outcome"), "{{outcome}}")],
            unit="suffix: /s",
            stacked=True,
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
        Graph(
            title="How much is held or offered?",
            description="The part of everything that is used by tasks or in an offer, by resource.",
            queries=[
                Query(
                    share(
                        total(allocator("resources_allocated"), "resource"), total(allocator("resources"), "resource")
                    ),
                    "{{resource}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
        Graph(
            title="How much is kept free for guarantees?",
            description="Headroom: the part of everything that nobody else is offered, so that guarantees can be met.",
            queries=[
                Query(
                    or_zero(share(total(allocator("headroom"), "resource"), total(allocator("resources"), "resource"))),
                    "{{resource}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
    ),
)

MAINTENANCE = Row(
    "Is maintenance under way?",
    (
        Stat(
            title="How many agents are about to be maintained?",
            description="Agents of machines in the maintenance schedule.",
            queries=[Query(highest(allocator("maintenance_agents")))],
            width=6,
            height=6,
        ),
        Stat(
            title="How many inverse offers are out?",
            description="Requests to leave an agent that frameworks have not answered.",
            queries=[Query(highest(allocator("inverse_offers")))],
            width=6,
            height=6,
        ),
        Graph(
            title="What do frameworks answer?",
            description="Inverse offers that ended, by answer; and those that were made.",
            queries=[
                Query(or_zero(total(rate(allocator("inverse_offers_ended_total")), "answer")), "{{answer}}"),
                Query(total(rate(allocator("inverse_allocations_total"))), "made"),
            ],
            unit="suffix: /s",
            width=12,
            height=6,
        ),
    ),
)

DASHBOARD = Dashboard(
    "allocator",
    "Allocator",
    "Whether the allocator is at work, decides in time, and who is offered what.",
    (AT_WORK, SPEED, WHO, MAINTENANCE, processes.streams(allocator), processes.row(allocator)),
)
