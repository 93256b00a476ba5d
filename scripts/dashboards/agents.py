"""Agents and containers: are the agents well, do containers start, is there room for their sandboxes."""

from __future__ import annotations

from scripts.dashboards import processes
from scripts.dashboards.grafana import (
    ODD_ABOVE_ZERO,
    WRONG_ABOVE_ZERO,
    Bars,
    Dashboard,
    Graph,
    Query,
    Row,
    Stat,
    Variable,
)
from scripts.dashboards.promql import CLUSTER, INSTANCE, Metrics, or_zero, quantile, rate, share, total

agent, registry = Metrics("agent", (CLUSTER, INSTANCE)), Metrics("registry")
FAILED = 'outcome="failed"'

AGENTS = Row(
    "Are the agents well?",
    (
        Stat(
            title="How many agents run?",
            description="Processes that are scraped.",
            queries=[Query(f"count({agent('registered')})")],
        ),
        Stat(
            title="Which of them are not registered?",
            description="They run, and the registry does not know them. See the alert MezzoAgentNotRegistered.",
            queries=[Query(or_zero(f"count({agent('registered')} == 0)"))],
            steps=WRONG_ABOVE_ZERO,
        ),
        Stat(
            title="Which are disconnected?",
            description="As the registry sees it: their stream has broken, and they may come back.",
            queries=[Query(or_zero(total(registry("agents", 'state="disconnected"'))))],
            steps=ODD_ABOVE_ZERO,
        ),
        Stat(
            title="Which are unreachable?",
            description="As the registry sees it: silent for --agent_ping_timeout times --max_agent_ping_timeouts.",
            queries=[Query(or_zero(total(registry("agents", 'state="unreachable"'))))],
            steps=ODD_ABOVE_ZERO,
        ),
        Stat(
            title="How long did the slowest recovery take?",
            description="At its last start: finding its containers again, before it registers.",
            queries=[Query(f"max({agent('recovery_seconds')})")],
            unit="s",
            steps=((30, "orange"),),
        ),
        Stat(
            title="Was any journal damaged?",
            description="Damage that was found, and passed over, when agents started.",
            queries=[Query(total(agent("recovery_errors_total")))],
            steps=WRONG_ABOVE_ZERO,
        ),
        Graph(
            title="How full are the agents?",
            description="The part of the CPUs that tasks and executors hold, by agent: the ten fullest.",
            queries=[
                Query(
                    "topk(10, "
                    + share(
                        agent("resource_allocated", 'resource="cpus"'), agent("resource_capacity", 'resource="cpus"')
                    )
                    + ")",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
        Graph(
            title="How much memory is given away?",
            description="Memory that tasks and executors hold, by agent: the ten fullest.",
            queries=[
                Query(
                    "topk(10, "
                    + share(agent("resource_allocated", 'resource="mem"'), agent("resource_capacity", 'resource="mem"'))
                    + ")",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
        Graph(
            title="Does an agent keep up?",
            description="99 in 100 turns end within this: decide, write to the journal, act. A slow disk shows here.",
            queries=[Query(quantile(0.99, agent("turn_duration_seconds_bucket"), "instance"), "{{instance}}")],
            unit="s",
        ),
    ),
)

CONTAINERS = Row(
    "Do containers start, and end?",
    (
        Graph(
            title="What do tasks do?",
            description="Tasks on the agents, by state.",
            queries=[Query(total(agent("tasks"), "state"), "{{state}}")],
            stacked=True,
        ),
        Graph(
            title="How do tasks end?",
            description="Tasks that end each second, by their last state.",
            queries=[Query(total(rate(agent("tasks_ended_total")), "state"), "{{state}}")],
            unit="suffix: /s",
            stacked=True,
        ),
        Graph(
            title="What do executors do?",
            description="Executors, and commands without one, by state.",
            queries=[Query(total(agent("executors"), "state"), "{{state}}")],
            stacked=True,
        ),
        Graph(
            title="How long does a launch take?",
            description="From the order to the program, fetching included, by outcome.",
            queries=[
                Query(quantile(0.5, agent("container_launch_seconds_bucket"), "outcome"), "{{outcome}}, median"),
                Query(quantile(0.99, agent("container_launch_seconds_bucket"), "outcome"), "{{outcome}}, 99 in 100"),
            ],
            unit="s",
        ),
        Graph(
            title="Which launches fail?",
            description="Launches that fail each second, by agent: the ten with the most. See MezzoLaunchesFailing.",
            queries=[
                Query(
                    or_zero(f"topk(10, {rate(agent('container_launch_seconds_count', FAILED))})"),
                    "{{instance}}",
                )
            ],
            unit="suffix: /s",
        ),
        Graph(
            title="How long does it take to end a container?",
            description="From the order to destroy it to its end.",
            queries=[
                Query(quantile(0.5, agent("container_destroy_seconds_bucket")), "median"),
                Query(quantile(0.99, agent("container_destroy_seconds_bucket")), "99 in 100"),
            ],
            unit="s",
        ),
        Graph(
            title="Which containers leave processes behind?",
            description="Containers of which something was left after they were destroyed, in five minutes, by agent.",
            queries=[Query(f"increase({agent('container_destroy_errors_total')}[5m])", "{{instance}}")],
        ),
        Graph(
            title="Do fetches succeed?",
            description="Tasks each second for which URIs were fetched, by outcome.",
            queries=[Query(total(rate(agent("fetches_total")), "outcome"), "{{outcome}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="Do updates of tasks make sense?",
            description="Status updates each second; invalid ones come from executors that break the rules.",
            queries=[Query(total(rate(agent("status_updates_total")), "outcome"), "{{outcome}}")],
            unit="suffix: /s",
        ),
    ),
)

DISK = Row(
    "Is there room on the disk?",
    (
        Bars(
            title="How full are the disks of the sandboxes?",
            description=(
                "The disk of --work_dir, the ten fullest. Old sandboxes are removed so that --gc_disk_headroom "
                "(a tenth) stays free; MezzoSandboxDiskFull fires above 93%."
            ),
            queries=[Query(f"topk(10, {agent('disk_used_ratio')})", "{{instance}}")],
            unit="percentunit",
            max=1,
            steps=((0.9, "orange"), (0.93, "red")),
        ),
        Graph(
            title="How many sandboxes wait to be removed?",
            description="They stay for --gc_delay, less when the disk fills.",
            queries=[Query(total(agent("sandboxes_pending_removal")), "sandboxes")],
        ),
        Graph(
            title="How many sandboxes are removed?",
            description="Each second, by outcome.",
            queries=[Query(total(rate(agent("sandbox_removals_total")), "outcome"), "{{outcome}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="How full is the fetcher's cache?",
            description="The part of --fetcher_cache_size that is used, by agent: the ten fullest.",
            queries=[
                Query(
                    f"topk(10, {share(agent('fetcher_cache_bytes'), agent('fetcher_cache_limit_bytes'))})",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            max=1,
        ),
    ),
)

DASHBOARD = Dashboard(
    "agents",
    "Agents and containers",
    "Whether the agents are well, containers start and end, and there is room for sandboxes.",
    (AGENTS, CONTAINERS, DISK, processes.streams(agent), processes.row(agent)),
    (Variable("instance", "Agent", "mezzo_agent_registered"),),
)
