"""Registry and leadership: who leads, how steady that is, and whether the leader keeps up."""

from __future__ import annotations

from scripts.dashboards import processes
from scripts.dashboards.grafana import Dashboard, Graph, Query, Row, Stat, Timeline
from scripts.dashboards.promql import CLUSTER, Metrics, highest, mean, or_zero, quantile, rate, total

registry, allocator = Metrics("registry"), Metrics("allocator")
LEADS = {0: ("stands by", "blue"), 1: ("leads", "green")}
# Of what each series of the panel is 1.
SESSION = f'{{__name__=~"mezzo_(registry|allocator)_zookeeper_session", {CLUSTER}}}'
CONNECTED = registry("zookeeper_session", 'state="connected"')
CHANGES = f'{{__name__=~"mezzo_(registry|allocator)_leadership_changes_total", {CLUSTER}}}'

COMPLETED = 'step="completed"'
INVALID = 'outcome="invalid"'

LEADERSHIP = Row(
    "Who leads?",
    (
        Stat(
            title="Which registry leads?",
            description="Nobody: see the alert MezzoNoLeader.",
            queries=[Query(f"{registry('leading')} == 1", "{{instance}}")],
            by_name=True,
            nothing="nobody",
        ),
        Stat(
            title="Which allocator leads?",
            description="Registries look for the one that leads.",
            queries=[Query(f"{allocator('leading')} == 1", "{{instance}}")],
            by_name=True,
            nothing="nobody",
        ),
        Stat(
            title="How many registries could take over?",
            description="Those that stand by with a session. With none, nothing leads while the leader is restarted.",
            queries=[
                Query(or_zero(f"count({CONNECTED} == 1 unless on (namespace, instance) {registry('leading')} == 1)"))
            ],
        ),
        Stat(
            title="How often did the leadership change?",
            description="How often a registry took or lost the lead, in the time that is shown.",
            queries=[Query(total(f"increase({registry('leadership_changes_total')}[$__range])"))],
            steps=((4, "orange"),),
        ),
        Stat(
            title="Who has no session with ZooKeeper?",
            description="Registries and allocators whose session is suspended or lost.",
            queries=[
                Query(or_zero(f'count({SESSION[:-1]}, state=~"suspended|lost"}} == 1)')),
            ],
            steps=((1, "red"),),
        ),
        Timeline(
            title="Who led when?",
            description="Each registry. Never two at once; a gap is a time without a leader.",
            queries=[Query(registry("leading"), "{{instance}}")],
            mappings=LEADS,
            width=12,
        ),
        Graph(
            title="In which state are the sessions with ZooKeeper?",
            description=(
                "Registries and allocators by the state of their session; none where there is no --zk. Suspended: the "
                "connection is gone and the session may live; a leader writes nothing meanwhile."
            ),
            queries=[Query(f"sum by (job, state) ({SESSION}) > 0", "{{job}} {{state}}")],
            stacked=True,
            width=12,
        ),
        Graph(
            title="When did the leadership change?",
            description="How often a process took or lost the lead, in five minutes.",
            queries=[Query(f"sum by (job, instance) (increase({CHANGES}[5m]))", "{{job}} {{instance}}")],
            width=24,
            height=6,
        ),
    ),
)

STORE = Row(
    "Is the store fast enough?",
    (
        Graph(
            title="How long does a commit take?",
            description=(
                "One transaction of the store: ZooKeeper's, or SQLite's. An agent is admitted when its record is "
                "written. MezzoCommitSlow fires above one second."
            ),
            queries=[
                Query(quantile(0.5, registry("store_transaction_duration_seconds_bucket")), "median"),
                Query(quantile(0.99, registry("store_transaction_duration_seconds_bucket")), "99 in 100"),
                Query(mean(registry, "store_transaction_duration_seconds"), "mean"),
            ],
            unit="s",
            steps=((1, "red"),),
        ),
        Graph(
            title="How many commits are there?",
            description="Transactions each second. Nothing is written for tasks, so they are few.",
            queries=[Query(total(rate(registry("store_transaction_duration_seconds_count"))), "transactions")],
            unit="suffix: /s",
        ),
        Graph(
            title="How much waits to be written?",
            description="Groups of writes. What they tell of waits with them: agents to be admitted, most often.",
            queries=[Query(highest(registry("store_writes_waiting")), "groups")],
        ),
        Graph(
            title="How large is the store?",
            description="What its records weigh, keys left out. It grows with the agents, not with the tasks.",
            queries=[Query(highest(registry("store_bytes")), "records")],
            unit="bytes",
        ),
        Graph(
            title="How much is written?",
            description="Records each second: agents that come and go, quota, weights, maintenance.",
            queries=[Query(total(rate(registry("store_writes_total"))), "records")],
            unit="suffix: /s",
        ),
    ),
)

CORE = Row(
    "Does the leader keep up?",
    (
        Graph(
            title="How many events does the core handle?",
            description="Whatever agents, frameworks, operators and the allocator say.",
            queries=[Query(rate(registry("events_total")), "{{instance}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="How many events wait?",
            description="For the core's next turn. More and more of them: it does not keep up.",
            queries=[Query(highest(registry("events_waiting")), "events")],
        ),
        Graph(
            title="How long does a turn take?",
            description="A turn handles all events that wait. What comes meanwhile waits for its end.",
            queries=[
                Query(quantile(0.5, registry("turn_duration_seconds_bucket")), "median"),
                Query(quantile(0.99, registry("turn_duration_seconds_bucket")), "99 in 100"),
            ],
            unit="s",
        ),
        Graph(
            title="How busy is the core?",
            description="The part of the time in which it decides. Near 1 it is at its limit.",
            queries=[Query(rate(registry("turn_duration_seconds_sum")), "{{instance}}")],
            unit="percentunit",
            max=1,
            steps=((0.8, "red"),),
        ),
        Graph(
            title="How long do calls take?",
            description="99 in 100 calls end within this, by method. Streams are as long as they last, and left out.",
            queries=[
                Query(
                    quantile(
                        0.99,
                        registry("rpc_duration_seconds_bucket", 'method!~"Connect|Watch|Subscribe|Events"'),
                        "method",
                    ),
                    "{{method}}",
                )
            ],
            unit="s",
        ),
        Graph(
            title="How do agents come and go?",
            description=(
                "Agents in five minutes: registrations of new ones, reregistrations of known ones, and those that were "
                "removed or marked unreachable."
            ),
            queries=[
                Query(total(f"increase({registry('agents_admitted_total')}[5m])", "how"), "{{how}}"),
                Query(total(f"increase({registry('agents_removed_total')}[5m])", "reason"), "removed: {{reason}}"),
                Query(total(f"increase({registry('agents_unreachable_total', COMPLETED)}[5m])"), "unreachable"),
            ],
        ),
        Graph(
            title="What do frameworks and agents say?",
            description="Messages each second, by kind. Those that nobody sends are left out.",
            queries=[Query(f"{total(rate(registry('messages_total')), 'kind')} > 0", "{{kind}}")],
            unit="suffix: /s",
            stacked=True,
        ),
        Graph(
            title="Which messages make no sense?",
            description="Messages, updates and acknowledgements each second that were refused, by kind.",
            queries=[Query(total(rate(registry("checked_messages_total", INVALID)), "kind"), "{{kind}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="Which calls fail?",
            description="Calls that end each second with another code than OK. CANCELLED is a stream whose peer went.",
            queries=[
                Query(
                    or_zero(total(rate(registry("rpc_handled_total", 'code!="OK"')), "method", "code")),
                    "{{method}} {{code}}",
                )
            ],
            unit="suffix: /s",
        ),
    ),
)

DASHBOARD = Dashboard(
    "registry",
    "Registry and leadership",
    "Who leads, how steady that is, how fast the store is, and whether the leader keeps up.",
    (LEADERSHIP, STORE, CORE, processes.streams(registry), processes.row(registry)),
)
