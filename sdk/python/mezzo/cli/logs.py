"""`mezzo logs`: what tasks wrote, wherever they ran."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import typer

from mezzo.cli import log_printer
from mezzo.cli.asking import ask
from mezzo.cli.errors import ApiError, print_error, print_note
from mezzo.cli.examples import Example, examples
from mezzo.cli.selection import Framework, Labels, Names, Selection, Task, path_of, select

if TYPE_CHECKING:
    from mezzo.cli.api import Api
    from mezzo.cli.log_follower import Failure, Log

STREAMS = ("stdout", "stderr")
NOTE_AGAIN_SECONDS = 5.0
"""After which a failure is another one, and not of another log at the same time."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the logs is to be printed, and how."""

    streams: tuple[str, ...]
    follow: bool
    tail: int | None
    prefixed: bool | None


@examples(
    Example("mezzo logs web", "Print what the task whose id begins with web has written.", "web is up", on=("web",)),
    Example("mezzo logs --follow web", "Print it, and what follows.", "web is up", on=("web",), code=130, follows=True),
    Example(
        "mezzo logs --tail 1 --stdout web batch",
        "Print the last line of the standard output of two tasks, each after the task's id.",
        r"^\[web-\w+\] web is up$",
        on=("web", "batch"),
    ),
)
def logs(
    context: typer.Context,
    tasks: Names = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing until the tasks have ended.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="Print only so many last lines of each stream.")
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print standard output alone.")] = False,
    stderr: Annotated[bool, typer.Option("--stderr", help="Print standard error alone.")] = False,
    framework: Framework = None,
    label: Labels = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="With --framework and --label, include tasks that have ended.")
    ] = False,
    prefixed: Annotated[
        bool | None,
        typer.Option(
            "--prefix/--no-prefix",
            help="Begin each line with the task and, for standard error, the stream; by default with several tasks.",
        ),
    ] = None,
) -> None:
    """Print what tasks wrote: their standard output to standard output, their standard error to standard error."""
    streams = tuple(name for name, alone in zip(STREAMS, (stdout, stderr), strict=True) if alone) or STREAMS
    wanted, selection = Wanted(streams, follow, tail, prefixed), Selection.of(tasks, framework, label)

    async def question(api: Api) -> None:
        await _print(api, await select(api, selection, ended=everything), wanted)

    ask(context, question)


async def _print(api: Api, tasks: Sequence[Task], wanted: Wanted) -> None:
    from mezzo.cli.log_follower import FOLLOWED_TASKS_MAX, Log

    if wanted.follow and len(tasks) > FOLLOWED_TASKS_MAX:
        message = f"{len(tasks)} tasks match; at most {FOLLOWED_TASKS_MAX} are followed at once"
        raise ApiError(HTTPStatus.CONFLICT, message)
    prefixed = len(tasks) > 1 if wanted.prefixed is None else wanted.prefixed
    reconnecting = _Reconnecting()
    reading = [
        _read(
            api,
            Log(path_of(task), stream),
            wanted,
            _Printer.of(str(task["id"]), stream, number, prefixed),
            reconnecting,
        )
        for number, task in enumerate(tasks)
        for stream in wanted.streams
    ]
    if wanted.follow:
        ended = await asyncio.gather(*reading, return_exceptions=True)
    else:
        ended = [await _outcome(one) for one in reading]
    failures = [each for each in ended if each is not None]
    for failure in failures[1:]:
        print_error(str(failure) or type(failure).__name__)
    if failures:
        raise failures[0]


async def _outcome(reading: Coroutine[object, object, None]) -> Exception | None:
    try:
        await reading
    except Exception as error:  # noqa: BLE001 - the other logs are read all the same
        return error
    return None


@dataclass(frozen=True, slots=True)
class _Printer:
    """Where the pieces of one log go."""

    write: Callable[[bytes], None]
    close: Callable[[], None]

    @classmethod
    def of(cls, task_id: str, stream: str, number: int, prefixed: bool) -> _Printer:
        if not prefixed:
            return cls(log_printer.raw(stream), lambda: None)
        lines = log_printer.Lines(stream, log_printer.prefix(task_id, stream), number)
        return cls(lines.write, lines.close)


async def _read(api: Api, log: Log, wanted: Wanted, printer: _Printer, reconnecting: Callable[[Failure], None]) -> None:
    from mezzo.cli.log_follower import UntilAway, copy, follow, offset_of_last_lines

    offset = 0 if wanted.tail is None else await offset_of_last_lines(api, log, wanted.tail)
    try:
        if wanted.follow:
            await follow(api, log, printer.write, UntilAway(reconnecting), offset)
        else:
            await copy(api, log, printer.write, offset)
    finally:
        printer.close()


class _Reconnecting:
    """Says that logs broke off: once, however many they are."""

    def __init__(self) -> None:
        self._noted_at = -math.inf

    def __call__(self, failure: Failure) -> None:
        now = time.monotonic()
        if now > self._noted_at + NOTE_AGAIN_SECONDS:
            print_note(f"the logs broke off, trying again: {failure or type(failure).__name__}")
        self._noted_at = now
