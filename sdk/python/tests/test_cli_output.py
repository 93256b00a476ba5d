"""What the verbs of `mezzo` make of a gateway's answers, whoever chose the names in them."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from mesos.v1 import mesos_pb2 as mesos
from mezzo.cli import agents
from mezzo.cli.app import app
from mezzo.cli.output import ENDED_STATES, STATES, age
from mezzo.cli.table import Table
from mezzo.cli.windows import Window, window_of
from mezzo.task_states import TERMINAL

# Markup of rich, one of its emoji, a link of it, and a control sequence that would colour the terminal.
HOSTILE = "[red]x[/y] :smile: [link=http://x]z \x1b[31m\nnext"
SHOWN = "[red]x[/y] :smile: [link=http://x]z \\x1b[31m\\nnext"
NOTHING = {"cpus": 0.0, "mem": 0.0, "disk": 0.0, "gpus": 0.0}


class Gateway:
    """A gateway that answers GETs with documents of the test's own, in a thread."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answering.answers.get(unquote(urlsplit(self.path).path))
                self.send_response(404 if answer is None else 200)
                for name, value in answering.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    served = Gateway()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def mezzo(gateway: Gateway, *words: str) -> str:
    """What the verb writes to its standard output; it succeeds, and says nothing else."""
    result = CliRunner().invoke(app, ["--api", gateway.address, *words], env={"TERM": "dumb"})
    assert (result.exit_code, result.stderr) == (0, ""), result
    return result.stdout


def agent(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "hostname": name,
        "active": True,
        "standing": "CONNECTED",
        "pid": f"slave(1)@{name}",
        "version": name,
        "attributes": {name: name},
        "registered_time": 1.0,
        "resources": {**NOTHING, "cpus": 4.0},
        "used_resources": NOTHING,
        "offered_resources": NOTHING,
    }


def framework(name: str) -> dict[str, Any]:
    task = {
        "id": name,
        "name": name,
        "framework_id": name,
        "framework_name": name,
        "slave_id": name,
        "hostname": name,
        "executor_id": name,
        "message": name,
        "reason": "REASON_COMMAND_EXECUTOR_FAILED",
        "role": name,
        "state": "TASK_RUNNING",
        "resources": NOTHING,
        "statuses": [],
    }
    return {
        "id": name,
        "name": name,
        "roles": [name],
        "user": name,
        "hostname": name,
        "capabilities": [name],
        "connected": True,
        "active": True,
        "registered_time": 1.0,
        "unregistered_time": 0.0,
        "used_resources": NOTHING,
        "offered_resources": NOTHING,
        "tasks": [task],
        "unreachable_tasks": [],
        "completed_tasks": [],
    }


def cluster_of(name: str, *, planned: bool = False) -> dict[str, Any]:
    """The answers of a cluster in which everything has this name; with maintenance planned, if that is asked for."""
    quota = {"role": name, "guarantee": {name: 1.0}, "limit": {name: 1.0}, "consumed": {name: 1.0}}
    role = {
        "name": name,
        "weight": 1.0,
        "quota": quota,
        "frameworks": [name],
        "allocated": {name: 1.0},
        "offered": {name: 1.0},
        "reserved": {name: 1.0},
    }
    frameworks = {"frameworks": [framework(name)], "completed_frameworks": []}
    members = [{"service": "registry", "address": name, "standing": "LEADING", "version": name, "peer": name}]
    window = {"machine_ids": [{"hostname": name, "ip": name}], "unavailability": {"start": {"nanoseconds": 10**9}}}
    state = {"slaves": [agent(name)], "leader": name, "elected_time": 1.0, **frameworks}
    explanation = {
        "framework_id": name,
        "framework_name": name,
        "verdict": f"{name} waits",
        "summary": [f"{name} has to end"],
        "agents_turned_away": {name: 1},
        "agents_offerable": 0,
        "role": name,
        "places": [
            {"name": name, "share": 0.5, "place": 1, "of": 2, "drawn_by_lot": False, "allocations": 0, "kind": kind}
            for kind in ("ROLE", "OWN_FRAMEWORKS", "FRAMEWORK")
        ],
        "binding_quotas": [{"role": name, "resource": name, "consumed": 1.0, "limit": 1.0}],
    }
    return {
        "/state": {**state, "activated_slaves": 1.0, "deactivated_slaves": 0.0, "unreachable_slaves": 0.0},
        "/version": {"version": name},
        "/redirect": {},
        "/mezzo/v1/agents": {"agents": [agent(name)]},
        "/mezzo/v1/tasks": {"tasks": frameworks["frameworks"][0]["tasks"]},
        "/mezzo/v1/members": {"members": members},
        f"/mezzo/v1/tasks/{name}/{name}": {"verdict": name, "summary": [name]},
        "/state-summary": {"frameworks": [framework(name)]},
        "/frameworks": frameworks,
        "/roles": {"roles": [role]},
        "/quota": {"configs": [{"role": name, "limits": {name: {"value": 1.0}}}]},
        "/weights": [{"role": name, "weight": 1.0}],
        "/maintenance/status": {},
        "/maintenance/schedule": {"windows": [window]} if planned else {},
        "/api/v1/explain": {
            "explanations": [explanation],
            "unanswered_offers": [{"framework_id": name, "framework_name": name, "role": name, "offers": 2}],
        },
    }


# How often the name is told.
VERBS = {
    ("status",): 3,
    ("members", "-o", "wide"): 3,
    ("agents", "-o", "wide"): 6,
    ("frameworks", "-o", "wide"): 6,
    ("tasks", "-o", "wide"): 9,
    ("roles", "-o", "wide"): 7,
    ("quota",): 3,
    ("weights",): 1,
    ("why",): 10,
    ("describe", "task", HOSTILE): 11,
    ("describe", "agent", HOSTILE): 8,
    ("describe", "framework", HOSTILE): 8,
    ("describe", "role", HOSTILE): 9,
    ("agents", "-o", "name"): 1,
    ("tasks", "-o", "name"): 1,
}


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_names_are_shown_as_they_are_whatever_they_are(words: tuple[str, ...], gateway: Gateway) -> None:
    gateway.answers = cluster_of(HOSTILE)
    told = mezzo(gateway, *words)
    assert told.count(SHOWN) == VERBS[words], told
    gateway.answers = cluster_of("plain")
    # No name is a line of its own, or moves the cursor.
    plain = ["plain" if word == HOSTILE else word for word in words]
    assert len(mezzo(gateway, *plain).splitlines()) == len(told.splitlines())
    assert "\x1b" not in told


# ------------------------------------------------------------------------------------------------------ for programs

LISTS = {
    ("agents",): {"id", "hostname", "active", "attributes", "resources", "used_resources", "offered_resources"},
    ("frameworks",): {"id", "name", "roles", "connected", "active", "tasks", "used_resources"},
    ("frameworks", "--all"): {"id", "name", "roles", "connected", "active", "tasks", "used_resources"},
    ("tasks",): {"id", "name", "framework_id", "slave_id", "state", "resources", "statuses"},
    ("tasks", "--all"): {"id", "name", "framework_id", "slave_id", "state", "resources", "statuses"},
    ("roles",): {"name", "weight", "quota", "frameworks", "allocated", "offered", "reserved"},
    ("quota",): {"role", "guarantee", "limit", "consumed"},
    ("weights",): {"role", "weight"},
    ("members",): {"service", "address", "standing", "version"},
}
SINGLE = {
    ("status",): {"leader", "version", "agents_active", "frameworks", "total", "used", "offered", "tasks"},
    ("why",): {"explanations"},
    ("why", "plain"): {"explanations"},
    ("describe", "task", "plain"): {"id", "state", "message", "verdict", "summary", "framework_name", "hostname"},
    ("describe", "agent", "plain"): {"id", "hostname", "state", "tasks", "attributes", "resources"},
    ("describe", "framework", "plain"): {"id", "name", "roles", "tasks", "used_resources"},
    ("describe", "role", "plain"): {"name", "weight", "quota", "framework_names"},
}
SNAKE_CASE = re.compile("[a-z][a-z0-9_]*")


@pytest.mark.parametrize(
    ("words", "keys"), [*LISTS.items(), *SINGLE.items()], ids=lambda value: " ".join(sorted(value))
)
def test_a_list_is_a_list_of_objects_and_anything_else_one_object(
    words: tuple[str, ...], keys: set[str], gateway: Gateway
) -> None:
    gateway.answers = cluster_of("plain")
    told = json.loads(mezzo(gateway, *words, "-o", "json"))
    if words in LISTS:
        assert isinstance(told, list)
        (told,) = told
    assert keys <= told.keys()
    assert all(SNAKE_CASE.fullmatch(key) for key in told)


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_list_of_nothing_is_an_empty_list(words: tuple[str, ...], gateway: Gateway) -> None:
    gateway.answers = {
        "/state": {"slaves": [], "frameworks": [], "completed_frameworks": []},
        "/mezzo/v1/agents": {"agents": []},
        "/mezzo/v1/tasks": {"tasks": []},
        "/mezzo/v1/members": {"members": []},
        "/frameworks": {"frameworks": [], "completed_frameworks": []},
        "/roles": {"roles": []},
        "/quota": {"configs": []},
        "/weights": [],
        "/maintenance/schedule": {},
    }
    assert mezzo(gateway, *words, "-o", "json") == "[]\n"
    assert len(mezzo(gateway, *words).splitlines()) == 1


def verb_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """Without the format, and of what is plain."""
    if "-o" in words:
        words = words[: words.index("-o")]
    return tuple("plain" if word == HOSTILE else word for word in words)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_answer_that_nobody_keeps_up_to_date_is_told_as_such(
    output: str, words: tuple[str, ...], gateway: Gateway
) -> None:
    gateway.answers, gateway.headers = cluster_of("plain"), {"Mezzo-Stale": "1.000"}
    result = CliRunner().invoke(app, ["--api", gateway.address, *verb_of(words), "-o", output], env={"TERM": "dumb"})
    assert result.exit_code == 0
    assert re.fullmatch(
        r"mezzo: no registry leads, or none can be reached; what follows is \d+ s old\n", result.stderr
    ), result.stderr
    gateway.headers = {}
    assert mezzo(gateway, *verb_of(words), "-o", output) == result.stdout


# ------------------------------------------------------------------------------------------------------ maintenance

HOUR_SECONDS = 3600
NOW = 1_900_000_000


def state_of(agent_changes: dict[str, Any], **more: Any) -> str:
    window = Window("h1", "", NOW - HOUR_SECONDS, NOW + HOUR_SECONDS, down=False)
    planned = [dataclasses.replace(window, **more)] if more or agent_changes.pop("planned", False) else []
    one = {**agent("h1"), "pid": "slave(1)@10.0.0.7:5051", **agent_changes}
    return agents.state_of(one, window_of(one, planned), NOW).plain


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
def test_the_state_of_an_agent_tells_what_is_planned_for_its_machine() -> None:
    since, until = "2030-03-17 16:46:40", "2030-03-17 18:46:40"
    assert state_of({}) == "active"
    assert state_of({"active": False, "standing": "DISCONNECTED"}) == "disconnected"
    assert state_of({"active": False, "standing": "RECOVERED"}) == "recovered"
    assert (
        state_of({"active": False, "standing": "UNREACHABLE", "since": NOW - HOUR_SECONDS})
        == f"unreachable since {since}"
    )
    assert state_of({"active": False, "standing": "GONE"}) == "gone"
    assert state_of({"deactivated": True}) == "deactivated"
    assert state_of({"active": False, "deactivated": True, "drain_info": {"state": "DRAINING"}}) == "draining"
    assert state_of({"active": False, "deactivated": True, "drain_info": {"state": "DRAINED"}}) == "drained"
    assert state_of({"planned": True}) == f"draining, maintenance since {since} until {until}"
    later = NOW + HOUR_SECONDS
    assert state_of({}, since=later, until=None) == f"draining, maintenance from {until}"
    assert state_of({}, down=True) == f"draining, in maintenance since {since} until {until}"
    assert state_of({"active": False}, down=True).startswith("disconnected, in maintenance since ")


@pytest.mark.parametrize(
    ("hostname", "ip", "concerned"),
    [
        ("h1", "", True),
        ("", "10.0.0.7", True),
        ("h1", "10.0.0.7", True),
        ("h1", "10.0.0.8", False),
        ("h2", "10.0.0.7", False),
        ("h2", "", False),
    ],
)
def test_a_machine_is_found_by_what_it_is_named_by(hostname: str, ip: str, concerned: bool) -> None:
    assert (state_of({}, hostname=hostname, ip=ip) != "active") == concerned


def test_what_is_planned_is_told_of_agents_and_of_machines_that_have_none_any_more(gateway: Gateway) -> None:
    gateway.answers = cluster_of("h1")
    start = {"start": {"nanoseconds": (NOW - HOUR_SECONDS) * 10**9}, "duration": {"nanoseconds": 2 * 10**9}}
    machines = [{"hostname": "H1"}, {"hostname": "h2", "ip": "10.0.0.8"}, {"ip": "10.0.0.9"}]
    gateway.answers["/maintenance/schedule"] = {"windows": [{"machine_ids": machines, "unavailability": start}]}
    gateway.answers["/maintenance/status"] = {
        "draining_machines": [{"id": machines[0]}],
        "down_machines": machines[1:],
    }
    first, second, third = mezzo(gateway, "agents").splitlines()[1:]
    assert "draining, maintenance from " in first or "draining, maintenance since " in first
    assert second.split()[:4] == ["–", "h2", "in", "maintenance"]
    assert third.split()[:4] == ["–", "10.0.0.9", "in", "maintenance"]
    (told,) = json.loads(mezzo(gateway, "agents", "-o", "json"))
    since = float(NOW - HOUR_SECONDS)
    assert told["maintenance"] == {"state": "DRAINING", "since": since, "until": since + 2}


# ------------------------------------------------------------------------------------------- tables, names, and sorting


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("tasks",), "plain\n"),
        (("agents",), "plain\n"),
        (("frameworks",), "plain\n"),
        (("roles",), "plain\n"),
        (("members",), "plain\n"),
        (("quota",), "plain\n"),
        (("weights",), "plain\n"),
        (("maintenance",), "plain\n"),
    ],
    ids=str,
)
def test_names_alone_are_for_other_commands(words: tuple[str, ...], shown: str, gateway: Gateway) -> None:
    gateway.answers = cluster_of("plain", planned=True)
    assert mezzo(gateway, *words, "-o", "name") == shown
    heading, *rows = mezzo(gateway, *words).splitlines()
    assert heading == heading.upper()
    bare = mezzo(gateway, *words, "--no-headers").splitlines()
    assert [line.split() for line in bare] == [line.split() for line in rows]
    documents = json.loads(mezzo(gateway, *words, "-o", "json"))
    assert yaml.safe_load(mezzo(gateway, *words, "-o", "yaml")) == documents


@pytest.mark.parametrize("words", SINGLE, ids=" ".join)
def test_yaml_says_what_json_says(words: tuple[str, ...], gateway: Gateway) -> None:
    gateway.answers = cluster_of("plain")
    assert yaml.safe_load(mezzo(gateway, *words, "-o", "yaml")) == json.loads(mezzo(gateway, *words, "-o", "json"))


def several(gateway: Gateway, *changes: dict[str, Any]) -> None:
    """A cluster with a task for each of the changes."""
    gateway.answers = cluster_of("plain")
    (one,) = gateway.answers["/mezzo/v1/tasks"]["tasks"]
    gateway.answers["/mezzo/v1/tasks"] = {"tasks": [{**one, **change} for change in changes]}


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("id", ["t2", "t9", "t10"]),
        ("-id", ["t10", "t9", "t2"]),
        ("age", ["t9", "t10", "t2"]),
        ("resources", ["t10", "t2", "t9"]),
    ],
)
def test_a_list_is_sorted_by_a_column_and_numbers_in_it_count(column: str, order: list[str], gateway: Gateway) -> None:
    def status(timestamp: float) -> list[dict[str, Any]]:
        return [{"state": "TASK_RUNNING", "timestamp": timestamp}]

    several(
        gateway,
        {"id": "t10", "statuses": status(20.0), "resources": {"cpus": 0.5}},
        {"id": "t9", "statuses": status(30.0), "resources": {"cpus": 10.0}},
        {"id": "t2", "statuses": status(10.0), "resources": {"cpus": 9.0}},
    )
    assert mezzo(gateway, "tasks", "-o", "name", "--sort-by", column).split() == order


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["a", "b"]),
        (("--state", "staging"), ["b"]),
        (("--state", "TASK_RUNNING,failed"), ["a", "c"]),
        (("--all",), ["a", "b", "c"]),
        (("--role", "web"), ["a"]),
        (("--role", "web", "--all"), ["a", "c"]),
        (("-l", "tier=front"), ["b"]),
        (("-l", "tier", "--all"), ["b", "c"]),
        (("-l", "tier=front", "-l", "zone=a"), []),
        (("--agent", "plain"), ["a", "b"]),
        (("--framework", "pl"), ["a", "b"]),
    ],
    ids=str,
)
def test_tasks_are_filtered(words: tuple[str, ...], found: list[str], gateway: Gateway) -> None:
    several(
        gateway,
        {"id": "a", "role": "web"},
        {"id": "b", "state": "TASK_STAGING", "labels": [{"key": "tier", "value": "front"}]},
        {"id": "c", "state": "TASK_FAILED", "role": "web", "labels": [{"key": "tier", "value": "back"}]},
    )
    assert mezzo(gateway, "tasks", "-o", "name", *words).split() == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tasks", "--state", "runing"), "'runing' is not a state of tasks; did you mean running?"),
        (("agents", "--state", "lost"), "'lost' is not a state of agents; must be one of active, disconnected,"),
        (("tasks", "--sort-by", "hostnam"), "'hostnam' is not a column;"),
        (("tasks", "--sort-by", "ages"), "'ages' is not a column; did you mean age?"),
        (("tasks", "-l", "=front"), "'=front': expected NAME=VALUE, or NAME"),
        (("events", "--type", "task_update"), "'task_update' is not a type of events; did you mean task_updated?"),
        (("health", "5050"), "'5050' is not an address; expected host:port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_that_mean_nothing_are_usage_errors_that_say_what_was_meant(
    words: tuple[str, ...], said: str, gateway: Gateway
) -> None:
    gateway.answers = cluster_of("plain")
    result = CliRunner().invoke(app, ["--api", gateway.address, *words], env={"TERM": "dumb", "COLUMNS": "300"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("mezzo: ")
    assert result.stderr.endswith(f"; see mezzo {words[0]} --help\n")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_states_of_tasks_are_mesos() -> None:
    assert set(mesos.TaskState.keys()) == STATES
    assert {name for name in STATES if mesos.TaskState.Value(name) in TERMINAL} == ENDED_STATES - {"TASK_UNKNOWN"}


# ------------------------------------------------------------------------------------------------------------ widths

LONG = "0123456789-0123456789-0123456789-0123456789-0123456789-S0"


def test_ids_are_never_cut_and_other_columns_are_before_a_line_is_too_long() -> None:
    table = Table(("id", "name", "message"), name="id", width=100)
    row = {"id": LONG, "name": "n" * 30, "message": "m" * 200}
    heading, line = table.lines([row], headers=True)
    assert line.plain.startswith(f"{LONG}  n")
    assert line.plain.endswith("…")
    assert line.cell_len == 100
    assert heading.plain.startswith("ID ")


def test_an_id_that_is_wider_than_the_terminal_is_shown_whole() -> None:
    (line,) = Table(("id", "name", "agent id"), name="id", width=20).lines(
        [{"id": LONG, "name": "a name", "agent id": LONG}], headers=False
    )
    assert line.plain.count(LONG) == 2


def test_wide_characters_count_as_wide_as_they_are() -> None:
    table = Table(("id", "name"), name="id", width=None)
    first, second = table.lines([{"id": "日本", "name": "x"}, {"id": "ab", "name": "y"}], headers=False)
    assert (first.plain, second.plain) == ("日本  x", "ab    y")


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d")]
)
def test_an_age_is_short(seconds: int, told: str) -> None:
    assert age(NOW - seconds, NOW) == told
    assert age(None, NOW) == "–"
