"""Every verb that asks a cluster, where it cannot: one line that says what is wrong, and the code for its kind."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from mezzo.cli.app import ASK_NOBODY
from mezzo_chassis.testing import ServiceProcess, free_ports
from scripts.cli_reference import verbs
from tests.cluster import Cluster
from tests.mezzo_command import PATIENCE_SECONDS, MezzoCommand

pytestmark = pytest.mark.timeout(120)

EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNREACHABLE = 1, 66, 69
PAUSE_SECONDS = 0.05

# What is typed of each verb.
WORDS = {
    **{verb: verb for verb in ("status", "members", "agents", "frameworks", "tasks", "roles", "why", "events")},
    **{verb: verb for verb in ("quota", "weights", "maintenance")},
    **{f"describe {kind}": f"describe {kind} x" for kind in ("task", "agent", "framework", "role")},
    "run": "run -- true",
    "logs": "logs x",
    "ls": "ls x",
    "cat": "cat x:stdout",
    "get": "get x:stdout",
    "kill": "kill x",
    "teardown": "teardown --yes x",
    "quota set": "quota set x --limit cpus:1",
    "quota remove": "quota remove x",
    "weights set": "weights set x 2",
    "maintenance schedule": "maintenance schedule x",
    "maintenance cancel": "maintenance cancel x",
    "maintenance down": "maintenance down --yes x",
    "maintenance up": "maintenance up x",
}


def test_every_verb_that_asks_a_cluster_is_tried() -> None:
    known = {verb.name for verb in verbs() if verb.name.split()[0] not in ASK_NOBODY}
    assert known - {"describe"} == WORDS.keys()


def assert_one_line(text: str, *parts: str) -> None:
    assert text.startswith("mezzo: "), text
    assert text.count("\n") == 1, text
    assert all(part in text for part in parts), text


# ------------------------------------------------------------------------------------------------------- no cluster


@pytest.mark.parametrize("verb", WORDS)
def test_that_nobody_answers_is_told_with_who_could(verb: str) -> None:
    ended = MezzoCommand("127.0.0.1:1")(*WORDS[verb].split())
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, "no gateway answers at http://127.0.0.1:1: Connection refused;", "MEZZO_API")


# ------------------------------------------------------------------------------------------------- somebody else


@contextmanager
def serving(answers: Mapping[str, bytes]) -> Iterator[str]:
    """The address of a server that has these documents, and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(b"<html>Not Found</html>" if body is None else body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>Not Found</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("verb", WORDS)
def test_a_wrong_port_is_told_as_one(verb: str) -> None:
    with serving({"/health": b""}) as address:
        ended = MezzoCommand(address)(*WORDS[verb].split())
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, address, "is not a gateway")


@contextmanager
def serving_grpc() -> Iterator[str]:
    """The address of a server that says first what one of gRPC does."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(bytes.fromhex("000000040000000000"))  # SETTINGS
            self.rfile.read(1)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("verb", ["status", "run", "logs", "events", "quota set"])
def test_a_port_of_grpc_is_told_as_a_wrong_one(verb: str) -> None:
    with serving_grpc() as address:
        ended = MezzoCommand(address)(*WORDS[verb].split())
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, f"http://{address} is not a gateway: it does not speak HTTP;", "MEZZO_API")


OF_OUR_OWN_PATHS = ("members", "agents", "tasks", "maintenance", "describe task", "describe agent")


@pytest.mark.parametrize("verb", OF_OUR_OWN_PATHS)
def test_a_gateway_of_another_version_is_told_with_its_version(verb: str) -> None:
    answers = {
        "/version": b'{"version": "1.11.0", "mezzo_version": "0.0.7"}',
        "/state-summary": b'{"frameworks": [], "slaves": []}',
        "/maintenance/schedule": b"{}",
    }
    with serving(answers) as address:
        ended = MezzoCommand(address)(*WORDS[verb].split())
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, f"the gateway at http://{address} is of another version, 0.0.7: it has no /mezzo/v1/")


# -------------------------------------------------------------------------------------------------------- no leader


@dataclass(frozen=True, slots=True)
class Leaderless(MezzoCommand):
    """`mezzo` on such a gateway, and where that serves gRPC."""

    grpc: str


@pytest.fixture(scope="module")
def leaderless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaderless]:
    """A gateway that has never found a registry."""
    folder = tmp_path_factory.mktemp("leaderless")
    http, grpc, metrics, nobody = free_ports(4)
    ports = {"port": http, "grpc_port": grpc, "metrics_port": metrics}
    flags: dict[str, object] = {"ip": "127.0.0.1", **ports, "master": f"127.0.0.1:{nobody}"}
    process = ServiceProcess.service("gateway", flags, folder=Path(folder), name="gateway", grpc_port=grpc)
    process.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{http}/health", timeout=PATIENCE_SECONDS):
                    break
            except OSError:
                assert time.monotonic() < deadline, "the gateway does not listen"
                time.sleep(PAUSE_SECONDS)
        yield Leaderless(f"127.0.0.1:{http}", f"127.0.0.1:{grpc}")
    finally:
        process.kill()


# It waits for one, and says so.
WAITING = ("run",)


@pytest.mark.parametrize("verb", [verb for verb in WORDS if verb not in WAITING])
def test_that_nobody_leads_is_told(verb: str, leaderless: MezzoCommand) -> None:
    ended = leaderless(*WORDS[verb].split())
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, "")
    assert_one_line(ended.stderr, "no leading registry can be reached")


def test_a_service_that_is_not_ready_yet_is_told_as_such(leaderless: Leaderless) -> None:
    ready, waiting, nobody = leaderless.api, leaderless.grpc, "127.0.0.1:1"
    ended = leaderless("health", ready, waiting)
    assert (ended.code, ended.stderr) == (EXIT_FAILED, "")
    assert ended.stdout == f"{ready} is ready\n{waiting} is not ready\n"
    ended = leaderless("health", nobody, ready)
    assert (ended.code, ended.stdout) == (EXIT_UNREACHABLE, f"{ready} is ready\n")
    assert_one_line(ended.stderr, f"{nobody} does not answer: Connection refused")


# -------------------------------------------------------------------------------------------- wrong and ambiguous ids


@pytest.fixture(scope="module")
def mezzo(cluster: Cluster) -> MezzoCommand:
    made = MezzoCommand(cluster.gateway().http)
    for _ in range(2):
        made.output("run", "--name", "twin", "--", "true")
    return made


NOBODY = {
    "task": ("describe task", "logs", "ls", "cat", "get", "kill"),
    "agent": ("describe agent", "tasks --agent", "why --agent", "maintenance schedule"),
    "framework": ("describe framework", "tasks --framework", "why --framework", "teardown --yes"),
    "role": ("describe role", "quota remove"),
}


@pytest.mark.parametrize("verb", [verb for kind in NOBODY.values() for verb in kind])
def test_a_wrong_id_is_told_with_what_lists_the_right_ones(verb: str, mezzo: MezzoCommand) -> None:
    ended = mezzo(*verb.split(), "nobody:f" if verb in ("cat", "get") else "nobody")
    assert ended.stdout == ""
    # Mesos answers 400 to who removes a quota that there is not.
    assert ended.code == (EXIT_FAILED if verb == "quota remove" else EXIT_NOT_FOUND)
    assert_one_line(ended.stderr, "nobody")
    if not verb.startswith(("why", "quota")):
        assert "; mezzo " in ended.stderr


@pytest.mark.parametrize("words", ["describe task twin-", "logs twin-", "ls twin-", "cat twin-:stdout", "kill twin-"])
def test_an_ambiguous_id_is_told_with_those_that_it_may_be(words: str, mezzo: MezzoCommand) -> None:
    first, second = sorted(task["id"] for task in mezzo.json("tasks", "--all") if task["name"] == "twin")
    ended = mezzo(*words.split())
    assert (ended.code, ended.stdout) == (EXIT_FAILED, "")
    assert_one_line(ended.stderr, f"twin- is ambiguous: {first}, {second}")


def test_an_ambiguous_name_of_a_framework_is_told_with_their_ids(mezzo: MezzoCommand) -> None:
    ids = [one["id"] for one in mezzo.json("frameworks", "--all") if one["name"] == "mezzo run twin"]
    ended = mezzo("describe", "framework", "mezzo run twin")
    assert (ended.code, ended.stdout) == (EXIT_FAILED, "")
    assert_one_line(ended.stderr, "mezzo run twin is ambiguous: ", *ids)
