"""`mezzo ls`, `mezzo cat` and `mezzo get`: the files of a task's sandbox, wherever it is."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from mezzo.cli import exit_codes, lists
from mezzo.cli.asking import ask
from mezzo.cli.completing import any_task_ids
from mezzo.cli.errors import ApiError, print_error, print_note
from mezzo.cli.examples import Example, examples
from mezzo.cli.lists import Listing, NoHeaders, Options, SortBy, list_all
from mezzo.cli.output import Format, Output, moment, visible
from mezzo.cli.selection import Task, one, path_of

if TYPE_CHECKING:
    from mezzo.cli.api import Api

COLUMNS = ("mode", "size", "modified", "name")
WIDE_COLUMNS = ("mode", "user", "group", "size", "modified", "name")
# It has gone meanwhile, is none that is sent, or the agent may not read it.
UNREADABLE = (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)
Entry = dict[str, Any]
"""A file as `/files/browse` tells of it; its path begins in the sandbox."""

PlaceArgument = Annotated[
    str,
    typer.Argument(
        metavar="TASK[:PATH]",
        autocompletion=any_task_ids,
        help="Id of a task, or the beginning of one, and a path in its sandbox.",
    ),
]


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a folder of one task's sandbox; the path is empty for the sandbox itself."""

    task: Task
    path: str

    async def entries(self, api: Api) -> list[Entry]:
        """What is in it, if it is a folder; else itself."""
        found: list[Entry] = await api.get(f"{path_of(self.task)}/sandbox", path=self.path)
        return found

    def content(self, api: Api, path: str) -> AsyncIterator[bytes]:
        """The file at a path of the sandbox."""
        return api.stream(f"{path_of(self.task)}/sandbox/download", path=path)


async def find(api: Api, text: str) -> Place:
    """The place that `TASK[:PATH]` means. An id may have colons: one that is there goes before the beginning of one.

    Raises:
        ApiError: there is no such task, or there are several.
    """
    tasks = await api.rows("/tasks", "tasks", limit="-1")
    known = {str(task["id"]) for task in tasks}
    whole = [text[:end] for end in (*_colons(text), len(text)) if text[:end] in known]
    name = whole[-1] if whole else text.partition(":")[0]
    return Place(one(tasks, name), text[len(name) + 1 :].strip("/"))


def _colons(text: str) -> Iterator[int]:
    return (index for index, character in enumerate(text) if character == ":")


# ----------------------------------------------------------------------------------------------------- ls and cat


@examples(
    Example("mezzo ls web", "List the sandbox of a task.", r"^-rw\S+ +\d+ .*stdout$", on=("web",)),
    Example("mezzo ls web:stdout -o json", "Tell programs of one file of it.", '"path": "stdout"', on=("web",)),
)
def ls(
    context: typer.Context,
    place: PlaceArgument,
    sort_by: SortBy = "",
    output: Output = Format.TABLE,
    no_headers: NoHeaders = False,
) -> None:
    """List a folder of a task's sandbox."""

    async def question(api: Api) -> Listing:
        entries = await (await find(api, place)).entries(api)
        rows = [lists.Entry(_row(one), one, {"size": one["size"], "modified": one["mtime"]}) for one in entries]
        return Listing(COLUMNS, WIDE_COLUMNS, rows, "name")

    list_all(context, Options(output, no_headers, sort_by=sort_by), question)


def _row(entry: Entry) -> dict[str, str]:
    folder = "/" if entry["mode"].startswith("d") else ""
    return {
        "mode": entry["mode"],
        "user": str(entry["uid"]),
        "group": str(entry["gid"]),
        "size": str(entry["size"]),
        "modified": moment(entry["mtime"]),
        "name": PurePosixPath(entry["path"]).name + folder,
    }


@examples(Example("mezzo cat web:stdout", "Print a file of a task's sandbox.", "web is up", on=("web",)))
def cat(
    context: typer.Context,
    places: Annotated[
        list[str], typer.Argument(metavar="TASK:PATH", help="Ids of tasks, or beginnings, with paths of files.")
    ],
) -> None:
    """Print files of tasks' sandboxes, one after the other."""

    async def question(api: Api) -> None:
        for text in places:
            place = await find(api, text)
            if not place.path:
                raise typer.BadParameter(f"{text!r} names no file: expected TASK:PATH", param_hint="TASK:PATH")
            async for piece in place.content(api, place.path):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()

    ask(context, question)


# ------------------------------------------------------------------------------------------------------------- get


@examples(
    Example(
        "mezzo get web:stdout web.log", "Copy a file of a task's sandbox.", r"^1 file, \d+ bytes: web.log$", on=("web",)
    ),
    Example(
        "mezzo get web sandbox", "Copy the whole sandbox into a folder.", r"files, \d+ bytes: sandbox$", on=("web",)
    ),
)
def get(
    context: typer.Context,
    place: PlaceArgument,
    local: Annotated[
        Path | None,
        typer.Argument(help="File or folder to write, or a folder to write into; by default the current one."),
    ] = None,
) -> None:
    """Copy a file or a folder of a task's sandbox to this machine."""

    async def question(api: Api) -> Copied:
        found = await find(api, place)
        return await _copy(api, found, _target(found, local or Path()))

    try:
        copied = ask(context, question)
    except OSError as error:
        print_error(f"{error.filename or local}: {error.strerror}")
        raise typer.Exit(exit_codes.FAILED) from None
    files = "file" if copied.files == 1 else "files"
    typer.echo(f"{copied.files} {files}, {copied.size} bytes: {visible(str(copied.target))}")
    raise typer.Exit(exit_codes.FAILED if copied.left_out else 0)


@dataclass(slots=True)
class Copied:
    """What has been copied so far."""

    target: Path
    files: int = 0
    size: int = 0
    """In bytes."""
    left_out: int = 0


def _target(place: Place, local: Path) -> Path:
    """Where it goes, as with `cp`: into a folder that is there, or under a name of its own."""
    name = PurePosixPath(place.path).name
    return local / (str(place.task["id"]) if name in ("", "..") else name) if local.is_dir() else local


async def _copy(api: Api, place: Place, target: Path) -> Copied:
    copied = Copied(target)
    entries = await place.entries(api)
    if len(entries) == 1 and place.path and entries[0]["path"] == place.path and not _is_folder(entries[0]):
        await _copy_file(api, place, entries[0], target, copied)
        return copied
    await _copy_folder(api, place, entries, target, copied)
    return copied


async def _copy_folder(api: Api, place: Place, entries: Sequence[Entry], target: Path, copied: Copied) -> None:
    """Copy a folder with all that is below it. Nothing is written through a link that is in the way."""
    _make_folder(target)
    for entry in entries:
        local = target / _name(entry, place.path)
        if _is_folder(entry):
            await _copy_folder_if_readable(api, Place(place.task, entry["path"]), entry, local, copied)
        elif entry["mode"][0] in "-l":
            await _copy_if_readable(api, place, entry, local, copied)
        else:
            _leave_out(entry, "it is no regular file", copied)


async def _copy_folder_if_readable(api: Api, below: Place, entry: Entry, local: Path, copied: Copied) -> None:
    try:
        entries = await below.entries(api)
    except ApiError as error:
        if error.status not in UNREADABLE:
            raise
        _leave_out(entry, str(error), copied)
    else:
        await _copy_folder(api, below, entries, local, copied)


def _make_folder(target: Path) -> None:
    if target.is_symlink():
        raise ApiError(HTTPStatus.CONFLICT, f"{target} is a link; it is not written through")
    target.mkdir(exist_ok=True)


async def _copy_if_readable(api: Api, place: Place, entry: Entry, local: Path, copied: Copied) -> None:
    try:
        await _copy_file(api, place, entry, local, copied)
    except ApiError as error:
        if error.status not in UNREADABLE:
            raise
        link = entry["mode"].startswith("l")
        _leave_out(entry, "it links to a folder, or out of the sandbox" if link else str(error), copied)


def _leave_out(entry: Entry, why: str, copied: Copied) -> None:
    print_note(f"{entry['path']} is left out: {why}")
    copied.left_out += 1


async def _copy_file(api: Api, place: Place, entry: Entry, local: Path, copied: Copied) -> None:
    with _replacing(local, executable="x" in str(entry["mode"])) as file:
        async for piece in place.content(api, entry["path"]):
            file.write(piece)
            copied.size += len(piece)
    copied.files += 1


def _is_folder(entry: Entry) -> bool:
    return bool(entry["mode"].startswith("d"))


def _name(entry: Entry, folder: str) -> str:
    """The name of a file in a folder. Raises `ApiError` for one that would lead elsewhere: the agent may be anybody."""
    path = str(entry["path"])
    name = path.removeprefix(f"{folder}/") if folder else path
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ApiError(HTTPStatus.BAD_GATEWAY, f"the agent lists {path!r} as a file of {folder or 'the sandbox'!r}")
    return name


@contextmanager
def _replacing(target: Path, *, executable: bool) -> Iterator[BinaryIO]:
    """A file that takes the target's place once it is whole; nothing is left of it otherwise."""
    if target.is_dir() and not target.is_symlink():
        raise ApiError(HTTPStatus.CONFLICT, f"{target} is a folder; it is not replaced by a file")
    try:
        descriptor, name = tempfile.mkstemp(prefix=".mezzo-get.", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod((0o777 if executable else 0o666) & ~umask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
