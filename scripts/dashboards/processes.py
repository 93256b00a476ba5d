"""The rows that end each service's dashboard: how its streams and its processes are doing."""

from __future__ import annotations

from scripts.dashboards.grafana import Graph, Query, Row
from scripts.dashboards.promql import Metrics, highest, or_zero, quantile, rate, share, total


def streams(metrics: Metrics) -> Row:
    """What waits for the peers of one service."""
    return Row(
        "Do its peers keep up?",
        (
            Graph(
                title="How many streams are open?",
                description="By kind of peer. An observer is a gateway or an operator.",
                queries=[Query(or_zero(total(metrics("streams"), "peer")), "{{peer}}")],
                stacked=True,
            ),
            Graph(
                title="How much waits on the longest stream?",
                description="Messages that a peer has not taken yet. A stream on which too many wait is cut off.",
                queries=[
                    Query(
                        or_zero(highest(metrics("stream_longest_queue_items"), "instance", "peer")),
                        "{{instance}} {{peer}}",
                    )
                ],
            ),
            Graph(
                title="Which streams are cut off?",
                description="Because their peers did not keep up, in five minutes. See the alert MezzoStreamsCutOff.",
                queries=[
                    Query(
                        or_zero(total(f"increase({metrics('stream_overflows_total')}[5m])", "instance", "peer")),
                        "{{instance}} {{peer}}",
                    )
                ],
            ),
        ),
    )


def row(metrics: Metrics) -> Row:
    """CPU, memory, event loop, garbage collection and calls of one service."""
    return Row(
        "Are its processes well?",
        (
            Graph(
                title="How much CPU do they use?",
                description="Seconds of CPU a second. A process uses hardly more than one: near 1 it is at its limit.",
                queries=[Query(rate(metrics.process("process_cpu_seconds_total")), "{{instance}}")],
                unit="none",
                steps=((0.9, "orange"),),
            ),
            Graph(
                title="How much memory do they hold?",
                description="Resident memory.",
                queries=[Query(metrics.process("process_resident_memory_bytes"), "{{instance}}")],
                unit="bytes",
            ),
            Graph(
                title="How many files and connections are open?",
                description="As a part of what the process may open. See the alert MezzoFilesRunningOut.",
                queries=[
                    Query(
                        share(metrics.process("process_open_fds"), metrics.process("process_max_fds")), "{{instance}}"
                    )
                ],
                unit="percentunit",
                steps=((0.8, "red"),),
            ),
            Graph(
                title="How late does the event loop come back?",
                description=(
                    "99 in 100 times it comes back within this. A loop that is late answers late: heartbeats, too. "
                    "MezzoEventLoopLagging fires above half a second."
                ),
                queries=[Query(quantile(0.99, metrics("event_loop_lag_seconds_bucket"), "instance"), "{{instance}}")],
                unit="s",
                steps=((0.5, "red"),),
            ),
            Graph(
                title="How much time goes into garbage collection?",
                description="The part of the time in which the process stands still for it.",
                queries=[
                    Query(
                        total(rate(metrics("gc_pause_seconds_sum")), "instance", "generation"),
                        "{{instance}} {{generation}}",
                    )
                ],
                unit="percentunit",
            ),
            Graph(
                title="How many calls does it answer?",
                description="gRPC calls that ended, by method and code. A stream is a call, and counted when it ends.",
                queries=[Query(total(rate(metrics("rpc_handled_total")), "method", "code"), "{{method}} {{code}}")],
                unit="reqps",
            ),
            Graph(
                title="How many calls and streams are open?",
                description="gRPC calls that are being answered now.",
                queries=[Query(total(metrics("rpc_active"), "method"), "{{method}}")],
            ),
        ),
    )
