"""A service's life, and what it says of it."""

import asyncio
import contextvars
import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzo.errors import TEXT_CHARACTERS_MAX
from mezzo_chassis import log
from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.lifecycle import Lifecycle, freeze_gc, run

PROGRAM = """
import asyncio, sys, warnings
from mezzo_chassis.lifecycle import run
from mezzo_chassis import log

log.configure("test", "info", "json")

async def serve(lifecycle):
    log.bind_correlation_id("abc")
    warnings.warn("two\\nlines")
    log.get_logger("x").info("serving", port=1, zk_password="swordfish")
    print("ready", flush=True)
    await lifecycle.stopping.wait()
    log.get_logger("x").info("ending", signal=lifecycle.signal.name)

sys.exit(run(serve, service="test"))
"""


def test_a_service_ends_on_sigterm_and_logs_json_without_secrets() -> None:
    lines = []
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                process.terminate()
            else:
                lines.append(json.loads(line))
    assert process.returncode == 0
    warning = lines.pop(0)
    assert (warning["level"], warning["service"]) == ("warning", "test")
    assert "two\nlines" in warning["event"]
    assert [(line["event"], line["service"], line["correlation_id"]) for line in lines] == [
        ("serving", "test", "abc"),
        ("ending", "test", "abc"),
    ]
    assert lines[0]["zk_password"] == "<secret>"
    assert lines[1]["signal"] == "SIGTERM"


def test_what_keeps_a_service_from_starting_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(lifecycle: Lifecycle) -> None:
        raise StartupError(Exit.UNWRITABLE, "/nowhere cannot be written\nsays zk://user:sword fish@host:1/m")

    assert run(serve, service="agent") == Exit.UNWRITABLE
    assert capsys.readouterr().err == "mezzo agent: /nowhere cannot be written says zk://host:1/m\n"


def test_a_background_task_that_fails_ends_the_service() -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    async def serve(lifecycle: Lifecycle) -> None:
        lifecycle.spawn(fail(), "fail")
        lifecycle.spawn(asyncio.Event().wait(), "wait for ever")
        await lifecycle.stopping.wait()

    assert run(serve, service="agent") == Exit.FAILED


def test_a_background_task_that_cannot_start_is_told_in_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail() -> None:
        raise StartupError(Exit.BAD_CREDENTIALS, "the certificate in /a.pem expired on 2020-02-29")

    async def serve(lifecycle: Lifecycle) -> None:
        lifecycle.spawn(fail(), "fail")
        await lifecycle.stopping.wait()

    assert run(serve, service="registry") == Exit.BAD_CREDENTIALS
    assert "mezzo registry: the certificate in /a.pem expired on 2020-02-29\n" in capsys.readouterr().err


def test_what_is_left_in_the_background_is_ended_with_the_service() -> None:
    ended = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def serve(lifecycle: Lifecycle) -> None:
        for name in ("a", "b"):
            lifecycle.spawn(work(name), name)
        done = lifecycle.spawn(asyncio.sleep(0), "is done by itself")
        await done
        assert not lifecycle.stopping.is_set()
        lifecycle.stop()

    assert run(serve, service="agent") == 0
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_service_is_told_which_signal_ends_it(number: signal.Signals) -> None:
    told = []

    async def serve(lifecycle: Lifecycle) -> None:
        os.kill(os.getpid(), number)
        await lifecycle.stopping.wait()
        # A second signal on the way out changes nothing.
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        told.append(lifecycle.signal)

    assert run(serve, service="agent", signals=(signal.SIGUSR1,)) == 0
    assert told == [number]


def test_what_lives_is_left_out_of_collections_once_it_is_frozen() -> None:
    kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    before = gc.get_freeze_count()
    freeze_gc()
    try:
        assert gc.get_freeze_count() >= before + len(kept)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    "given", ["two\nlines", "x" * 129, "a b", "\x1b[31m", "é"], ids=["lines", "long", "space", "terminal", "foreign"]
)
def test_a_cause_that_cannot_be_kept_as_it_is_is_none(given: str) -> None:
    assert log.accepted_cause(given) == ""
    assert log.accepted_cause("term-1f/timer_fired/7") == "term-1f/timer_fired/7"


@pytest.fixture
def fresh_logging() -> Iterator[None]:
    """Leaves the process' logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("fresh_logging")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_tells_no_local_variables(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "info", form)

    def fail(credential: str) -> None:
        raise ValueError("a defect")

    try:
        fail("sword" + "fish")
    except ValueError:
        logging.getLogger("elsewhere").exception("failed")
    told = capsys.readouterr().out
    assert "ValueError: a defect" in told
    assert "in fail" in told
    assert "swordfish" not in told


class Address:
    """What is written by its `repr` alone."""

    def __repr__(self) -> str:
        return "Address(zk://user:swordfish@host:1/m)"


@pytest.mark.usefixtures("fresh_logging")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_told_nowhere_in_an_event(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "info", form)
    address = "zk://user:sword@fish@host:1/m"
    logger = log.get_logger("secrets")
    logger.info(f"connecting to {address}", nested={"zk_Password": "swordfish", "where": [address, {"a": address}]})
    logger.info("read", headers={"Authorization": "Bearer swordfish"}, which=Address(), token="swordfish")
    logging.getLogger("elsewhere").warning("cannot reach %s, nor %r", address, Address())
    try:
        raise ValueError(f"refused by {address}")
    except ValueError as error:
        logger.exception("failed", error=error)
        logging.getLogger("elsewhere").exception("failed")
    told = capsys.readouterr().out
    assert "fish" not in told
    assert "sword@" not in told
    assert "\x1b" not in told  # colours are for terminals
    assert told.count("host:1/m") >= 8
    assert "ValueError: refused by zk://host:1/m" in told


@pytest.mark.usefixtures("fresh_logging")
def test_lines_carry_the_cause_of_what_they_tell(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "info", "json")
    causes = ["call-7", "call-8", ""]

    def work() -> None:
        log.bind_cause(lambda: causes[0])
        log.get_logger("one").info("ours")
        causes.pop(0)
        logging.getLogger("elsewhere").warning("of a library")
        log.get_logger("one").info("its own", cause="call-9")
        causes.pop(0)
        log.get_logger("one").info("between events")

    contextvars.Context().run(work)
    log.get_logger("one").info("of nobody")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("ours", "call-7"),
        ("of a library", "call-8"),
        ("its own", "call-9"),
        ("between events", None),
        ("of nobody", None),
    ]


@pytest.mark.usefixtures("fresh_logging")
def test_an_event_is_one_line_of_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "debug", "json")
    log.get_logger("lines").info(
        "two\nlines",
        text="a\r\nb\u2028c",
        number=float("nan"),
        bytes=b"\xff",
        many={3, 2},
        none=None,
        path=Path("/a\nb"),
    )
    logging.getLogger("elsewhere").error("two\nlines", stack_info=True)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.get_logger("lines").exception("failed")
    lines = capsys.readouterr().out.splitlines()
    events = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [event["event"] for event in events] == ["two\nlines", "two\nlines", "failed"]
    assert events[0]["text"] == "a\r\nb\u2028c"
    assert "Traceback" in events[2]["exception"]
    for event in events:
        assert {"timestamp", "level", "service", "event"} <= event.keys()


@pytest.mark.usefixtures("fresh_logging")
def test_an_event_is_one_line_on_the_console_whatever_a_client_sends(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "info", "console")
    forged = "/x\r\n2026-11-30 [error] forged \x1b[2J\u2028 \udcff end"
    log.get_logger("lines").info(forged, path=forged)
    logging.getLogger("elsewhere").warning("refused %s", forged)
    try:
        raise ValueError(forged)
    except ValueError:
        log.get_logger("lines").exception("failed")
    told = capsys.readouterr().out
    assert told.isascii()
    assert "\x1b" not in told
    assert "\r" not in told
    events, _, traceback = told.partition("Traceback")
    assert len(events.splitlines()) == 3
    assert r"/x\r\n2026-11-30 [error] forged \x1b[2J\u2028 \udcff end" in events
    assert "in test_an_event_is_one_line" in traceback


@pytest.mark.usefixtures("fresh_logging")
def test_the_level_can_be_changed_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "warning", "json")
    elsewhere = logging.getLogger("elsewhere")
    elsewhere.info("unheard")
    log.set_level("debug")
    elsewhere.debug("heard")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["heard"]
    with pytest.raises(KeyError):
        log.set_level("loud")


def test_long_values_of_a_log_line_are_cut_and_tracebacks_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("test", "info", "json")
    try:
        raise ValueError("x" * 5000)
    except ValueError:
        log.get_logger("long").exception("refused", why="x" * 10**6, parts=["y" * 5000])
    line = json.loads(capsys.readouterr().out)
    assert max(len(line["why"]), len(line["parts"][0])) <= TEXT_CHARACTERS_MAX
    assert line["why"].endswith(" characters left out)")
    assert "x" * 5000 in line["exception"]
