"""Logs on this side of a gateway: the last lines, lines of several tasks, and going on where a connection broke."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import pytest

from mezzo.cli import log_follower, log_printer
from mezzo.cli.errors import ApiError
from mezzo.cli.log_follower import Log, UntilAway, follow, offset_of_last_lines

LOG = Log("/mezzo/v1/tasks/F/t", "stdout")


class Written:
    """A gateway with one log. It breaks off after so many bytes of each answer, until they are used up."""

    def __init__(self, text: bytes, *breaks: int | Exception) -> None:
        self.text = text
        self._breaks = list(breaks)
        self.asked: list[tuple[int, int | None]] = []

    async def stream(
        self, path: str, opened: Callable[[Mapping[str, str]], None] | None = None, /, **query: str
    ) -> AsyncIterator[bytes]:
        assert path == f"{LOG.task_path}/files/stdout"
        offset, length = int(query.get("offset", "0")), int(query["length"]) if "length" in query else None
        self.asked.append((offset, length))
        end = self._breaks.pop(0) if self._breaks else None
        if isinstance(end, Exception):
            raise end
        if opened is not None:
            opened({"Mezzo-File-Size": str(len(self.text))})
        part = self.text[offset:] if length is None else self.text[offset : offset + length]
        if part:
            yield part[:end]
        if end is not None:
            raise aiohttp.ClientPayloadError("cut off")


@pytest.mark.parametrize(
    ("text", "lines", "rest"),
    [
        (b"1\n2\n3\n", 2, b"2\n3\n"),
        (b"1\n2\n3", 2, b"2\n3"),
        (b"1\n2\n3\n", 3, b"1\n2\n3\n"),
        (b"1\n2\n3\n", 99, b"1\n2\n3\n"),
        (b"1\n2\n\n", 1, b"\n"),
        (b"1\n2\n", 0, b""),
        (b"", 5, b""),
        (b"x" * 9 + b"\n" + b"y" * 9, 1, b"y" * 9),
    ],
)
async def test_the_last_lines_are_found_however_long_they_are(
    text: bytes, lines: int, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_follower, "TAIL_BYTES", 2)
    offset = await offset_of_last_lines(Written(text), LOG, lines)  # type: ignore[arg-type]
    assert text[offset:] == rest


async def test_of_a_long_log_only_the_end_is_read() -> None:
    gateway = Written(b"line\n" * 1_000_000)
    assert await offset_of_last_lines(gateway, LOG, 10) == 5 * (1_000_000 - 10)  # type: ignore[arg-type]
    assert [length for _, length in gateway.asked] == [0, log_follower.TAIL_BYTES]


async def followed(gateway: Written, notes: list[str], offset: int = 0) -> bytes:
    out = io.BytesIO()
    patience = UntilAway(lambda failure: notes.append(str(failure)))
    await follow(gateway, LOG, out.write, patience, offset)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "RETRY_SECONDS_MIN", 1e-6)
    monkeypatch.setattr(log_follower, "RETRY_SECONDS_MAX", 1e-6)


async def test_a_log_that_breaks_off_goes_on_where_it_did() -> None:
    notes: list[str] = []
    gateway = Written(b"0123456789", 3, ApiError(503, "no leader"), TimeoutError(), 0, 4)
    assert await followed(gateway, notes) == b"0123456789"
    assert [offset for offset, _ in gateway.asked] == [0, 3, 3, 3, 3, 7]
    # Once for each time that it was away.
    assert notes == ["cut off", "cut off", "cut off"]


async def test_a_log_that_could_never_be_read_is_not_waited_for() -> None:
    with pytest.raises(ApiError, match="no such task"):
        await followed(Written(b"", ApiError(404, "no such task")), [])


async def test_a_log_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "AWAY_SECONDS_MAX", 0.0)
    with pytest.raises(aiohttp.ClientPayloadError):
        await followed(Written(b"0123456789", 3), [])


class Standing:
    """Stands in for a stream of this process."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Any:
    standing = Standing()
    monkeypatch.setattr(log_printer, "_out", lambda _stream: standing.buffer)
    return standing.buffer


def test_lines_of_several_tasks_are_marked_and_never_run_into_each_other(out: io.BytesIO) -> None:
    first = log_printer.Lines("stdout", log_printer.prefix("web-1", "stdout"), 0)
    second = log_printer.Lines("stderr", log_printer.prefix("web-2", "stderr"), 1)
    first.write(b"one\ntw")
    second.write(b"warning\n\n")
    first.write(b"o\nend")
    first.close()
    second.close()
    assert out.getvalue().decode().splitlines() == [
        "[web-1] one",
        "[web-2 stderr] warning",
        "[web-2 stderr] ",
        "[web-1] two",
        "[web-1] end",
    ]


def test_a_line_without_an_end_is_not_held_back_for_ever(out: io.BytesIO) -> None:
    lines = log_printer.Lines("stdout", "[t]", 0)
    lines.write(b"x" * (log_printer.LINE_BYTES_MAX + 1))
    assert out.getvalue() == b"[t] " + b"x" * (log_printer.LINE_BYTES_MAX + 1) + b"\n"


def test_what_a_task_is_called_does_not_move_the_cursor(out: io.BytesIO) -> None:
    log_printer.Lines("stdout", log_printer.prefix("a\x1b[2Jb", "stdout"), 0).write(b"x\n")
    assert out.getvalue() == b"[a\\x1b[2Jb] x\n"
