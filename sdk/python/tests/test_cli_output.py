"""What the verbs of `mezzo` make of a gateway's answers, whoever chose the names in them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from mezzo.cli import app

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
        "unanswered_offers": [{"framework_id": name, "framework_name": name, "role": name, "offers": 2}],
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
        "/api/v1/explain": {"explanations": [explanation]},
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
