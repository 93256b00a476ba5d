"""Writes docs/metrics.md from the metrics that the services define; with `--check` only says whether it is up to date.

Every service's metrics are built as they are when it starts; nothing runs, and no value is of interest.
"""

# ruff: noqa: SLF001  which labels a metric has that has no values yet, prometheus_client tells in no other way

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from mezzo_agent.metrics import AgentMetrics
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_chassis.metrics import ProcessMetrics, RpcMetrics
from mezzo_gateway.metrics import Metrics as GatewayMetrics
from mezzo_registry.core.state.offer_ages import OfferAges
from mezzo_registry.metrics import RegistryMetrics

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "metrics.md"
EXPORTER_RULES = ROOT / "charts" / "mezzo" / "rules" / "mesos-exporter.yaml"
VERSION = "0"
SERVICES = ("registry", "allocator", "gateway", "agent")


class Entry(NamedTuple):
    """One metric. `name` is what a query has to say; of a histogram without `_bucket`, `_sum` and `_count`."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Zeroes(dict[str, float]):
    """Numbers that are all there, and all zero."""

    def __missing__(self, _key: str) -> float:
        return 0.0


class Leads:
    """A registry that leads, and has seen nothing."""

    def measures(self) -> dict[str, float]:
        return Zeroes({"master/elected": 1.0})

    def offer_ages(self) -> Mapping[str, OfferAges]:
        return {}

    def oldest_offer_seconds(self) -> float:
        return 0.0


def registries() -> dict[str, CollectorRegistry]:
    """What each service shows to Prometheus, by service."""
    registry = RegistryMetrics(VERSION)
    registry.follow(Leads())
    allocator = AllocatorMetrics(VERSION)
    allocator.watch(Allocator())
    agent = AgentMetrics(VERSION)
    agent.follow(Zeroes)
    gateway = GatewayMetrics().registry
    RpcMetrics(gateway, "gateway")
    ProcessMetrics(gateway, "gateway", VERSION)
    return {
        "registry": registry.registry,
        "allocator": allocator.registry,
        "gateway": gateway,
        "agent": agent.registry,
    }


def entries(registry: CollectorRegistry) -> Iterator[Entry]:
    """The metrics of one service."""
    for collector in list(registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            kind = str(collector._type)
            name = collector._name + ("_total" if kind == "counter" else "")
            yield Entry(name, kind, tuple(collector._labelnames), collector._documentation)
            continue
        for family in collector.collect():
            labels = getattr(family, "_labelnames", ())
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Entry(name, family.type, tuple(labels), family.documentation)


def sections() -> dict[str, list[Entry]]:
    """The metrics under the headings of the page: what every service has comes first, `<service>` in its names."""
    services = {service: list(entries(registry)) for service, registry in registries().items()}
    holders: defaultdict[Entry, list[str]] = defaultdict(list)
    for service, all_of_it in services.items():
        for entry in all_of_it:
            general = entry._replace(name=entry.name.replace(f"mezzo_{service}_", "mezzo_<service>_", 1))
            holders[general].append(service)
    common = sorted(entry for entry, found in holders.items() if len(found) == len(SERVICES))
    told = {"Of every service": common}
    for service in SERVICES:
        own = [
            entry._replace(name=entry.name.replace("<service>", service))
            for entry, found in holders.items()
            if service in found and len(found) < len(SERVICES)
        ]
        told[f"Of the {service}"] = sorted(own)
    return told


def names() -> set[str]:
    """Every name that a query may use, with those that histograms have."""
    found = set()
    for registry in registries().values():
        for entry in entries(registry):
            found.add(entry.name)
            if entry.type == "histogram":
                found |= {entry.name + suffix for suffix in ("_bucket", "_sum", "_count")}
    return found


HEAD = """\
# Metrics

Written by `make docs` from the code; not edited by hand.

Every service answers `GET /metrics` on a port of its own (`--metrics_port`: registry 9060, allocator 9061, gateway
9062, agent 9063) in the formats of Prometheus and OpenMetrics. Units are base units: seconds, and bytes for memory and
disk too, which Mesos counts in MiB.

Names, labels and meanings are part of Mezzo's interface. What is to go is marked here as deprecated for one minor
version at least, in which its successor is there as well. Labels have few values: no id of a task, framework or agent
is ever one. Roles are told one by one up to 1,000; those beyond are `all others`.

Counters whose meaning says "in this term" begin at zero when another registry leads: take `rate()` or `increase()` of
them before `sum()`. A registry that does not lead tells nothing of the cluster.

The dashboards in `charts/mezzo/dashboards` and the alerts in `charts/mezzo/rules` use these names and no others.
"""

EXPORTER_HEAD = """
## The names of mesos_exporter

`charts/mezzo/rules/mesos-exporter.yaml` records what mesos_exporter made of a Mesos cluster, so that dashboards
written for it go on. Load it into Prometheus as a rule file; the chart does with
`monitoring.prometheusRule.enabled`. Gauges of durations are in milliseconds and those of memory and disk in MiB, as
they were, but for names that end in `_bytes`. What it had by task and executor (`cpu_user_seconds_total{id=…}` and
the like) is not there: a label for each task is what makes a Prometheus fall over. The same numbers are in `GET
/monitor/statistics` of each agent, and `GET /metrics/snapshot` of gateways and agents has all of Mesos' own names,
for those who would rather go on with mesos_exporter itself.

`/metrics/snapshot` alone has the metrics of single frameworks and roles:

- `master/frameworks/<name>/<id>/…` of up to 200 frameworks; `master/frameworks_without_metrics` says how many are left
  out, and `--publish_per_framework_metrics=false` of the registry leaves out all;
- `allocator/mesos/roles/<role>/…`, `allocator/mesos/quota/roles/<role>/…` and
  `allocator/mesos/offer_filters/roles/<role>/…` of up to 1000 roles each; `allocator/mesos/roles_without_metrics` and
  `allocator/mesos/quota/roles_without_metrics` say how many are left out.

Of the names that mesos_exporter reads from `/metrics/snapshot`, these are left out: `registrar/log/…` and
`overlay/log/…` (there is no replicated log), `containerizer/mesos/filesystem/containers_new_rootfs` and
`…/provisioner/bind/remove_rootfs_errors` (there are no images yet), and `slave/tasks_error` (which Mesos' agents do not
tell either). mesos_exporter logs that they are missing, and goes on.

Of its series these are not recorded: those of the names above, `mesos_master_frameworks_messages` (a label for each
framework), `mesos_slave_task_state_counts_by_source_reason`, `mesos_registrar_state_fetch_ms`,
`mesos_master_recovery_slave_removal_events_total`, `mesos_master_allocator_event_queue_dispatches`,
`mesos_slave_executor_directory_max_allowed_age_secs`, `mesos_slave_executors_preempted` and
`mesos_slave_containerizer_provisioner_remove_container_errors`.

| series | from |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for heading, found in sections().items():
        parts.append(f"\n## {heading}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [
            f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {one.meaning} |\n"
            for one in found
        ]
    parts.append(EXPORTER_HEAD)
    for group in yaml.safe_load(EXPORTER_RULES.read_text())["groups"]:
        for rule in group["rules"]:
            labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
            series = f"{rule['record']}{{{labels}}}" if labels else rule["record"]
            expression = " ".join(rule["expr"].split()).replace("|", "\\|")
            parts.append(f"| `{series}` | `{expression}` |\n")
    return "".join(parts)


def main() -> int:
    """The exit code: 1 when the page is out of date and was not to be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    wanted = page()
    if parser.parse_args().check:
        if PAGE.read_text() != wanted:
            print(f"{PAGE.name} is not what the code gives: make docs", file=sys.stderr)
            return 1
    else:
        PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
