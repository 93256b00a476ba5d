"""Gateway: is it asked much, does it answer, and how fast."""

from __future__ import annotations

from scripts.dashboards import processes
from scripts.dashboards.grafana import YES_OR_NO, Dashboard, Graph, Query, Row, Stat, Variable
from scripts.dashboards.promql import CLUSTER, INSTANCE, Metrics, or_zero, quantile, rate, share, total

gateway = Metrics("gateway", (CLUSTER, INSTANCE))

ANSWERS = Row(
    "Does it answer?",
    (
        Stat(
            title="Do all gateways follow the leader?",
            description="no: one of them answers 503 to whatever needs the leader.",
            queries=[Query(f"min({gateway('registry_connected')})")],
            mappings=YES_OR_NO,
            nothing="no gateway",
        ),
        Stat(
            title="How many requests are there?",
            description="HTTP requests answered each second; streams are counted when they end.",
            queries=[Query(total(rate(gateway("http_requests_total"))))],
            unit="reqps",
        ),
        Stat(
            title="How many of them fail?",
            description="Answered with a status of 500 or above, each second. See the alert MezzoGatewayErrors.",
            queries=[Query(or_zero(total(rate(gateway("http_requests_total", 'status=~"5.."')))))],
            unit="reqps",
            steps=((0.001, "red"),),
        ),
        Stat(
            title="How long do answers take?",
            description="99 in 100 come within this.",
            queries=[Query(quantile(0.99, gateway("http_request_seconds_bucket")))],
            unit="s",
            steps=((1, "orange"),),
        ),
        Stat(
            title="How many frameworks listen?",
            description="Event streams of frameworks that are open.",
            queries=[Query(total(gateway("framework_streams")))],
        ),
        Stat(
            title="How many operators listen?",
            description="Event streams of operators that are open.",
            queries=[Query(total(gateway("operator_streams")))],
        ),
        Graph(
            title="What is asked for?",
            description="Requests each second, by endpoint.",
            queries=[Query(f"{total(rate(gateway('http_requests_total')), 'endpoint')} > 0", "{{endpoint}}")],
            unit="reqps",
            stacked=True,
        ),
        Graph(
            title="What is answered?",
            description="Requests each second, by status. 307 leads to the leader; 400 and 409 blame the client.",
            queries=[Query(total(rate(gateway("http_requests_total")), "status"), "{{status}}")],
            unit="reqps",
            stacked=True,
        ),
        Graph(
            title="Which part of the answers are errors?",
            description="With a status of 500 or above. MezzoGatewayErrors fires above one in twenty.",
            queries=[
                Query(
                    or_zero(
                        share(
                            total(rate(gateway("http_requests_total", 'status=~"5.."'))),
                            total(rate(gateway("http_requests_total"))),
                        )
                    ),
                    "errors",
                )
            ],
            unit="percentunit",
            steps=((0.05, "red"),),
        ),
        Graph(
            title="How long do answers take, by endpoint?",
            description="99 in 100 come within this, from the head of the request to the end of the answer.",
            queries=[
                Query(f"{quantile(0.99, gateway('http_request_seconds_bucket'), 'endpoint')} >= 0", "{{endpoint}}")
            ],
            unit="s",
        ),
        Graph(
            title="Where does the time go?",
            description="Seconds spent on answers in each second, by endpoint.",
            queries=[Query(f"{total(rate(gateway('http_request_seconds_sum')), 'endpoint')} > 0", "{{endpoint}}")],
            unit="percentunit",
            stacked=True,
        ),
    ),
)

STREAMS = Row(
    "Does it keep up with the cluster?",
    (
        Graph(
            title="How much changes in the cluster?",
            description="Changes each second that a gateway applies to its copy of the state.",
            queries=[Query(rate(gateway("state_changes_total")), "{{instance}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="How much are frameworks told?",
            description="Events each second that are sent to frameworks over HTTP.",
            queries=[Query(rate(gateway("framework_events_total")), "{{instance}}")],
            unit="suffix: /s",
        ),
        Graph(
            title="Who listens?",
            description="Event streams that are open, of frameworks and of operators, by gateway.",
            queries=[
                Query(gateway("framework_streams"), "{{instance}} frameworks"),
                Query(gateway("operator_streams"), "{{instance}} operators"),
            ],
            stacked=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    "gateway",
    "Gateway",
    "Whether the gateways answer, how fast, and whether they keep up with the cluster.",
    (ANSWERS, STREAMS, processes.streams(gateway), processes.row(gateway)),
    (Variable("instance", "Gateway", "mezzo_gateway_registry_connected"),),
)
