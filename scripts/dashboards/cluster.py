"""Cluster overview: is it well, what runs on it, what is it made of."""

from __future__ import annotations

from scripts.dashboards.grafana import (
    ODD_ABOVE_ZERO,
    WRONG_ABOVE_ZERO,
    YES_OR_NO,
    Dashboard,
    Graph,
    Query,
    Row,
    Stat,
    Table,
)
from scripts.dashboards.promql import CLUSTER, Metrics, highest, or_zero, rate, share, total

registry, allocator, gateway = Metrics("registry"), Metrics("allocator"), Metrics("gateway")
EVERYTHING = f'job=~"mezzo-.*", {CLUSTER}'

HEALTH = Row(
    "Is the cluster well?",
    (
        Stat(
            title="Who leads?",
            description="The registry that leads. Nobody: nothing can be launched; see the alert MezzoNoLeader.",
            queries=[Query(f"{registry('leading')} == 1", "{{instance}}")],
            by_name=True,
            nothing="nobody",
        ),
        Stat(
            title="Is an allocator at work?",
            description="Whether an allocator has a session with the registry. Without one no offers are made.",
            queries=[Query(or_zero(highest(allocator("rpc_active", 'method="Session"'))))],
            mappings=YES_OR_NO,
        ),
        Stat(
            title="Do all gateways follow the leader?",
            description="no: one of them answers 503 to whatever needs the leader.",
            queries=[Query(f"min({gateway('registry_connected')})")],
            mappings=YES_OR_NO,
            nothing="no gateway",
        ),
        Stat(
            title="Which agents are away?",
            description="Agents that are disconnected (they may come back with their tasks) or unreachable.",
            queries=[Query(or_zero(total(registry("agents", 'state=~"disconnected|unreachable"'))))],
            steps=ODD_ABOVE_ZERO,
        ),
        Stat(
            title="Which processes do not answer?",
            description="Targets that Prometheus cannot scrape.",
            queries=[Query(or_zero(f"count(up{{{EVERYTHING}}} == 0)"))],
            steps=WRONG_ABOVE_ZERO,
        ),
        Stat(
            title="How many alerts fire?",
            description="Of Mezzo's own; what to do about each stands in its runbook.",
            queries=[
                Query(or_zero(f'count(ALERTS{{alertname=~"Mezzo.*", alertstate="firing", {CLUSTER}}})')),
            ],
            steps=WRONG_ABOVE_ZERO,
        ),
    ),
)

WORK = Row(
    "What runs on it?",
    (
        Stat(
            title="How many agents are connected?",
            description="Agents that can be given tasks.",
            queries=[Query(or_zero(total(registry("agents", 'state="connected"'))))],
        ),
        Stat(
            title="How many frameworks are connected?",
            description="Frameworks that have not ended and are subscribed.",
            queries=[Query(or_zero(total(registry("frameworks", 'state="connected"'))))],
        ),
        Stat(
            title="Which frameworks are away?",
            description="Disconnected: their tasks run on until their failover timeout.",
            queries=[Query(or_zero(total(registry("frameworks", 'state="disconnected"'))))],
            steps=ODD_ABOVE_ZERO,
        ),
        Stat(
            title="How many tasks run?",
            description="Tasks in TASK_RUNNING.",
            queries=[Query(or_zero(total(registry("tasks", 'state="running"'))))],
        ),
        Stat(
            title="How many offers are out?",
            description="Offers that their frameworks have not answered yet.",
            queries=[Query(or_zero(total(registry("outstanding_offers"))))],
        ),
        Stat(
            title="How many tasks end each second?",
            description="Whatever their end was.",
            queries=[Query(or_zero(total(rate(registry("tasks_ended_total")))))],
            unit="suffix: /s",
        ),
        Graph(
            title="How full is the cluster?",
            description="The part of what the agents have that tasks and executors hold, by resource.",
            queries=[
                Query(
                    share(
                        total(registry("resource_allocated"), "resource"),
                        total(registry("resource_capacity"), "resource"),
                    ),
                    "{{resource}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
        Graph(
            title="What do tasks do?",
            description="Tasks that have not ended, by state. Many in staging: agents do not answer, or launch slowly.",
            queries=[Query(total(registry("tasks"), "state"), "{{state}}")],
            stacked=True,
        ),
        Graph(
            title="How do tasks end?",
            description="Tasks that end each second, by their last state.",
            queries=[Query(total(rate(registry("tasks_ended_total")), "state"), "{{state}}")],
            unit="suffix: /s",
            stacked=True,
        ),
        Graph(
            title="How many agents are there?",
            description="By state: unreachable ones are counted until they are forgotten (--registry_max_agent_age).",
            queries=[Query(total(registry("agents"), "state"), "{{state}}")],
            stacked=True,
        ),
        Graph(
            title="What becomes of offers?",
            description="Offers that are no longer out, by outcome.",
            queries=[Query(total(rate(registry("offers_ended_total")), "outcome"), "{{outcome}}")],
            unit="suffix: /s",
            stacked=True,
        ),
        Graph(
            title="Why do tasks end otherwise than well?",
            description="The ten most frequent reasons that were given with the ends of tasks.",
            queries=[
                Query(
                    f"topk(10, {total(rate(registry('task_reasons_total')), 'state', 'reason')})",
                    "{{state}} {{reason}}",
                )
            ],
            unit="suffix: /s",
        ),
    ),
)

PARTS = Row(
    "What is it made of?",
    (
        Table(
            title="Which versions run?",
            description="Processes by service and version. Several versions of a service: an upgrade is under way.",
            queries=[
                Query(
                    "count by (job, version) "
                    f'({{__name__=~"mezzo_(registry|allocator|gateway|agent)_build_info", {CLUSTER}}})'
                )
            ],
            columns=("job", "version"),
            values=("processes",),
        ),
        Table(
            title="Since when does each run?",
            description="The youngest of each service: a process that is restarted again and again never gets old.",
            queries=[Query(f"min by (job) (time() - process_start_time_seconds{{{EVERYTHING}}})")],
            columns=("job",),
            values=("age of the youngest",),
            unit="s",
        ),
        Table(
            title="Which alerts fire?",
            description="Empty when all is well.",
            queries=[Query(f'ALERTS{{alertname=~"Mezzo.*", alertstate="firing", {CLUSTER}}}')],
            columns=("severity", "alertname", "instance", "role"),
            nothing="none",
        ),
    ),
)

DASHBOARD = Dashboard(
    "cluster",
    "Cluster overview",
    "Whether the cluster is well, what runs on it, and what it is made of.",
    (HEALTH, WORK, PARTS),
)
