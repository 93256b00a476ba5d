"""Files that a service shows: browsing, reading and downloading, as Mesos' `/files` endpoints do."""

from __future__ import annotations

import asyncio
import codecs
from pathlib import PurePosixPath

from aiohttp import web

from mezzo.errors import InvalidRequest, NotFound
from mezzo_chassis.http.download import send_file
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.file_tree import READ_BYTES_MAX, Entry, FileTree

__all__ = [
    "READ_BYTES_MAX",
    "Entry",
    "FileTree",
    "FilesApi",
    "empty_not_found",
    "required_path",
    "text_of",
    "whole_number",
]

# Of what JSON and protobuf can hold.
NUMBER_MAX = 2**63 - 1


class FilesApi:
    """`/files/browse`, `/files/read` and `/files/download` over a tree."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    async def browse(self, request: web.Request) -> web.StreamResponse:
        path = required_path(request)
        try:
            entries = await asyncio.to_thread(self._tree.browse, path)
        except NotFound:
            return empty_not_found()
        return json_response(request, [entry.document() for entry in entries])

    async def read(self, request: web.Request) -> web.StreamResponse:
        """`offset=-1` asks for the size alone; `length=-1` for as much as there is."""
        path = required_path(request)
        offset, length = whole_number(request, "offset"), whole_number(request, "length")
        for name, number in (("offset", offset), ("length", length)):
            if number is not None and number < -1:
                raise InvalidRequest(name, f"{number} is negative")
        try:
            data, size = await asyncio.to_thread(
                self._tree.read, path, max(0, offset or 0), None if length == -1 else length
            )
        except NotFound:
            return empty_not_found()
        if offset == -1:
            return json_response(request, {"data": "", "offset": size})
        return json_response(request, {"data": text_of(data), "offset": offset or 0})

    async def download(self, request: web.Request) -> web.StreamResponse:
        path = required_path(request)
        try:
            file = await asyncio.to_thread(self._tree.open, path)
        except NotFound:
            return empty_not_found()
        with file:
            return await send_file(request, file, PurePosixPath(path).name)


def text_of(part: bytes) -> str:
    """A part of a file as text.

    A character that the end of the part cuts in two is left to the next part: whoever follows a file goes on behind
    what he got, and gets it whole. What is no text at all is replaced.
    """
    whole = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(part)
    return whole or part.decode(errors="replace")


def required_path(request: web.Request) -> str:
    path = request.query.get("path")
    if not path:
        raise InvalidRequest("path", "is required in the query")
    return path


def whole_number(request: web.Request, name: str) -> int | None:
    """A number in the query; None where it is not given."""
    text = request.query.get(name)
    if text is None or text == "":
        return None
    try:
        number = int(text)
    except ValueError:
        raise InvalidRequest(name, f"{text!r} is not a whole number") from None
    if abs(number) > NUMBER_MAX:
        raise InvalidRequest(name, "is too large")
    return number


def empty_not_found() -> web.Response:
    """What Mesos says of a file that is not there."""
    return web.Response(status=404, text="")
