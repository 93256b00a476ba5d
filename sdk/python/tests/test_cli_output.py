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
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from mezzo.cli import agents
from mezzo.cli.app import app
from mezzo.cli.maintenance import Window, window_of

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
                answer = answering.answers.get(urlsplit(self.path).path)
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
        "slave_id": name,
        "executor_id": name,
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


def cluster_of(name: str) -> dict[str, Any]:
    """The answers of a cluster in which everything has this name."""
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
        "/state": {**state, "activated_slaves": 1.0, "unreachable_slaves": 0.0},
        "/version": {"version": name},
        "/slaves": {"slaves": [agent(name)], "recovered_slaves": []},
        "/frameworks": frameworks,
        "/roles": {"roles": [role]},
        "/quota": {"configs": [{"role": name, "limits": {name: {"value": 1.0}}}]},
        "/weights": [{"role": name, "weight": 1.0}],
        "/maintenance/status": {},
        "/maintenance/schedule": {},
        "/api/v1/explain": {
            "explanations": [explanation],
            "unanswered_offers": [{"framework_id": name, "framework_name": name, "role": name, "offers": 2}],
        },
    }


# How often the name is told.
VERBS = {
    ("status",): 2,
    ("agents", "-o", "wide"): 6,
    ("frameworks", "-o", "wide"): 6,
    ("tasks", "-o", "wide"): 6,
    ("roles", "-o", "wide"): 7,
    ("quota",): 3,
    ("weights",): 1,
    ("why",): 10,
}


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_names_are_shown_as_they_are_whatever_they_are(words: tuple[str, ...], gateway: Gateway) -> None:
    gateway.answers = cluster_of(HOSTILE)
    told = mezzo(gateway, *words)
    assert told.count(SHOWN) == VERBS[words], told
    gateway.answers = cluster_of("plain")
    # No name is a line of its own, or moves the cursor.
    assert len(mezzo(gateway, *words).splitlines()) == len(told.splitlines())
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
}
SINGLE = {
    ("status",): {"leader", "version", "agents_active", "frameworks", "total", "used", "offered", "tasks"},
    ("why",): {"explanations"},
    ("why", "plain"): {"explanations"},
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
        "/slaves": {"slaves": []},
        "/frameworks": {"frameworks": [], "completed_frameworks": []},
        "/roles": {"roles": []},
        "/quota": {"configs": []},
        "/weights": [],
        "/maintenance/schedule": {},
    }
    assert mezzo(gateway, *words, "-o", "json") == "[]\n"
    assert len(mezzo(gateway, *words).splitlines()) == 1


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_answer_that_nobody_keeps_up_to_date_is_told_as_such(
    output: str, words: tuple[str, ...], gateway: Gateway
) -> None:
    gateway.answers, gateway.headers = cluster_of("plain"), {"Mezzo-Stale": "1.000"}
    result = CliRunner().invoke(app, ["--api", gateway.address, words[0], "-o", output], env={"TERM": "dumb"})
    assert result.exit_code == 0
    assert re.fullmatch(
        r"mezzo: no registry leads, or none can be reached; what follows is \d+ s old\n", result.stderr
    ), result.stderr
    gateway.headers = {}
    assert mezzo(gateway, words[0], "-o", output) == result.stdout


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
    assert state_of({"active": False}) == "disconnected"
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
