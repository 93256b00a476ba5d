"""Dashboards, alerts and recording rules, asked of a real Prometheus that scrapes a cluster at work."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
from collections.abc import Iterator

import aiohttp
import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo.http import JSON
from mezzo.scheduler import HttpTransport
from tests.cluster import Cluster
from tests.framework import Framework
from tests.mezzo_command import MezzoCommand
from tests.observability.dashboards import Asked, asked
from tests.observability.prometheus import SCRAPE_SECONDS, WINDOW, Prometheus, prometheus_missing
from tests.observability.prose import RUNBOOKS, shell_lines
from tests.observability.rules import alerts, promtool_tests, rules
from tests.polling import eventually

pytestmark = pytest.mark.timeout(300)

ROLE = "web"
# What shows something only when something is wrong, and the alert or panel beside it says so anyway.
EMPTY_WHEN_ALL_IS_WELL = {("mezzo-cluster", "Which alerts fire?")}
# Labels of which nothing is to be seen until it happens.
ONLY_WHEN_IT_HAPPENS = ('status=~"5.."', 'code!="OK"')
# What MezzoSandboxDiskFull calls full: of this machine's disk, too.
DISK_FULL = 0.93
# Nothing is wrong with a cluster whose machine does something else for a moment.
OF_A_BUSY_MACHINE = {"MezzoAllocationSlow", "MezzoCommitSlow", "MezzoEventLoopLagging"}
PROMETHEUS_OWN = {"__name__", "job", "instance", "namespace"}
ALL_ASKED = list(asked())
ALL_RULES = rules()

METRICS_PORTS = {"registry": "9060", "allocator": "9061", "gateway": "9062", "agent": "9063"}
METRICS_COMMAND = re.compile(r"curl -s http://(\w+):(\d+)/metrics \| grep (?:-E )?'?([^'#]+?)'?\s*(?:#.*)?$")
HTTP_COMMAND = re.compile(r"curl -si? http://(gateway|agent):505[01](/[\w/]+)")
RUNBOOK_LINES = [(page.stem, line) for page in sorted(RUNBOOKS.glob("*.md")) for line in shell_lines(page.read_text())]
GREPS = [(page, *found.groups()) for page, line in RUNBOOK_LINES if (found := METRICS_COMMAND.search(line))]
ASKS = [(page, *found.groups()) for page, line in RUNBOOK_LINES if (found := HTTP_COMMAND.search(line))]

every_dashboard = pytest.mark.parametrize("dashboard", sorted({question.dashboard for question in ALL_ASKED}))
every_service = pytest.mark.parametrize("service", sorted({host for _, host, _, _ in GREPS}))


def asked_by(dashboard: str) -> list[Asked]:
    """What the panels of a dashboard ask for."""
    return [question for question in ALL_ASKED if question.dashboard == dashboard]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has scraped a cluster before, during and after work."""
    if missing := prometheus_missing():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("observed")
    with Cluster(folder, agents=2) as cluster, Prometheus(folder / "prometheus", cluster) as running:
        asyncio.run(observed_work(running))
        yield running


async def observed_work(prometheus: Prometheus) -> None:
    """Two frameworks: tasks that finish, that fail, that are killed, and that run on while Prometheus looks."""
    await prometheus.ready()
    url = prometheus.cluster.url
    mezzo = MezzoCommand(prometheus.cluster.gateway().http)
    quota = ("quota", "set", ROLE, "--guarantee=cpus:1,mem:128", "--limit=cpus:3,mem:2048", "--force")
    # In a thread: it has a loop of its own.
    await asyncio.to_thread(mezzo.output, *quota)
    first, second = (Framework(HttpTransport(url, JSON)) for _ in range(2))
    for framework in (first, second):
        framework.client.framework_info.roles.append(ROLE)
        framework.client.framework_info.capabilities.add(type=mesos.FrameworkInfo.Capability.MULTI_ROLE)
    async with first, second, aiohttp.ClientSession() as http, http.post(f"{url}/api/v1", json={"type": "SUBSCRIBE"}):
        stubborn = first.add("trap '' TERM; while :; do sleep 0.1; done", shape=with_little_grace)
        await first.job_is(stubborn, mesos.TASK_RUNNING)
        await second.job_is(second.add("sleep 600"), mesos.TASK_RUNNING)
        await prometheus_has(prometheus, 'mezzo_registry_tasks{state="running"} == 2')
        short = [first.add("true") for _ in range(6)] + [first.add("exit 3"), first.add("true", shape=unfetchable)]
        await first.until(lambda: all(job.end for job in short))
        await ask_around(url)
        await prometheus_has(prometheus, 'mezzo_registry_tasks_ended_total{state="failed"} >= 2')
        # One more, after the first rates could be taken.
        later = [first.add("true"), first.add("exit 4"), first.add("true", shape=unfetchable)]
        await first.until(lambda: all(job.end for job in later))
        await ask_around(url)
        await first.client.kill(stubborn.task_id)
        await first.job_is(stubborn, mesos.TASK_KILLED)
        await prometheus_has(prometheus, 'mezzo_registry_tasks_ended_total{state="killed"} >= 1')
        await prometheus_has(prometheus, "mezzo_agent_container_destroy_seconds_count >= 1")
        # While they are subscribed: who leaves first is away, and not at its end.
        await asyncio.gather(first.client.teardown(), second.client.teardown())
    await prometheus_has(prometheus, "sum(mezzo_registry_frameworks) == 0")


def unfetchable(task: mesos.TaskInfo) -> None:
    """The task cannot be launched, and a reason is given for it."""
    task.command.uris.add(value="file:///no/such/file/anywhere")


def with_little_grace(task: mesos.TaskInfo) -> None:
    """When it does not end upon SIGTERM, its container is soon destroyed."""
    task.kill_policy.grace_period.nanoseconds = 100_000_000


async def ask_around(url: str) -> None:
    """Requests that the gateway answers, and one that it refuses."""
    async with aiohttp.ClientSession() as http:
        for path in ("state", "slaves", "tasks", "frameworks", "roles", "health", "metrics/snapshot", "no-such-path"):
            async with http.get(f"{url}/{path}") as response:
                await response.read()
        async with http.post(f"{url}/api/v1", json={"type": "NO_SUCH_CALL"}) as response:
            assert response.status == 400


async def prometheus_has(prometheus: Prometheus, expression: str) -> None:
    await eventually(lambda: prometheus.now(expression), expression)


async def finite_numbers(prometheus: Prometheus, expression: str) -> list[float]:
    """What an expression was, over all the time that Prometheus has watched; NaN and infinity left out."""
    (scraped,) = await prometheus.now("max(timestamp(up))")
    (watched,) = await prometheus.now('count_over_time(up{job="mezzo-registry"}[10m])')
    end = float(scraped["value"][1])
    start = end - float(watched["value"][1]) * SCRAPE_SECONDS
    data = await prometheus.get("query_range", query=expression, start=start, end=end, step=SCRAPE_SECONDS)
    numbers = [float(value) for series in data["result"] for _, value in series["values"]]
    return [number for number in numbers if math.isfinite(number)]


@every_dashboard
async def test_every_panel_has_an_answer(dashboard: str, prometheus: Prometheus) -> None:
    wrong = []
    for question in asked_by(dashboard):
        numbers = await finite_numbers(prometheus, question.as_sent(WINDOW))
        if bool(numbers) == ((question.dashboard, question.panel) in EMPTY_WHEN_ALL_IS_WELL):
            wrong.append(f"{question}: {question.expression} gave {len(numbers)} numbers")
    assert not wrong, "\n".join(wrong)


@every_dashboard
async def test_every_series_that_a_panel_asks_for_exists(dashboard: str, prometheus: Prometheus) -> None:
    known = await prometheus.get("metadata")
    missing = []
    for selector in sorted({one for question in asked_by(dashboard) for one in question.selectors()}):
        # `or vector(0)` answers for what was never there, too.
        if any(part in selector for part in ONLY_WHEN_IT_HAPPENS):
            # The services tell of the metric nevertheless: in OpenMetrics without the end of its name.
            found = selector.partition("{")[0].removesuffix("_total") in known
        else:
            found = bool(await prometheus.get("series", **{"match[]": Asked("", "", selector).as_sent(WINDOW)}))
        if not found:
            missing.append(selector)
    assert not missing, "\n".join(missing)


async def test_the_series_that_alerts_are_tried_with_are_like_those_of_a_cluster(prometheus: Prometheus) -> None:
    unlike = []
    for alert in alerts():
        tried = {series["series"] for test in promtool_tests(alert)["tests"] for series in test["input_series"]}
        for series in sorted(tried):
            name, _, conditions = series.partition("{")
            labels = set(re.findall(r"(\w+)=", conditions))
            there = await prometheus.get("series", **{"match[]": name})
            if not any(labels - PROMETHEUS_OWN == one.keys() - PROMETHEUS_OWN for one in there):
                unlike.append(f"{alert}: {series}")
    assert not unlike, "\n".join(unlike)


async def test_every_rule_can_be_asked(prometheus: Prometheus) -> None:
    for _, rule in ALL_RULES:
        await prometheus.now(rule.expression)


async def test_no_alert_fires_while_all_is_well(prometheus: Prometheus) -> None:
    # Nor did any under load, when many a condition may hold for a moment.
    assert not await finite_numbers(prometheus, 'ALERTS{alertstate="firing"}')
    usage = shutil.disk_usage(prometheus.folder)
    disk_is_full = usage.used / usage.total > DISK_FULL

    raised = {alert["labels"]["alertname"] for alert in (await prometheus.get("alerts"))["alerts"]}
    assert raised - OF_A_BUSY_MACHINE == ({"MezzoSandboxDiskFull"} if disk_is_full else set())


async def test_each_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    groups = (await prometheus.get("rules"))["groups"]
    found = [(rule["name"], rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]]
    assert sorted(name for name, *_ in found) == sorted(rule.name for _, rule in ALL_RULES)
    assert not [each for each in found if each[1] != "ok"]


@every_service
async def test_what_runbooks_look_for_in_the_metrics_is_there(service: str, prometheus: Prometheus) -> None:
    async with aiohttp.ClientSession() as http, http.get(prometheus.cluster.nodes[f"{service}-0"].metrics) as response:
        lines = (await response.text()).splitlines()
    missing = []
    for page, host, port, pattern in GREPS:
        if host != service:
            continue
        if port != METRICS_PORTS[host]:
            missing.append(f"{page}: port {port} of {host}")
        wanted = pattern.split("|")
        missing += [f"{page}: {one}" for one in wanted if not any(re.search(one, line) for line in lines)]
    assert not missing, "\n".join(missing)


async def test_what_runbooks_ask_for_is_answered(prometheus: Prometheus) -> None:
    unanswered = []
    async with aiohttp.ClientSession() as http:
        for page, host, path in ASKS:
            async with http.get(f"http://{prometheus.cluster.nodes[f'{host}-0'].http}{path}") as response:
                if response.status in (404, 501):
                    unanswered.append(f"{page}: {host}{path}: {response.status}")
    assert not unanswered, "\n".join(unanswered)


async def test_what_is_recorded_is_there(prometheus: Prometheus) -> None:
    records = [rule for is_alert, rule in ALL_RULES if not is_alert]
    missing = [record.name for record in records if not await finite_numbers(prometheus, record.name)]
    assert not missing, "\n".join(missing)
