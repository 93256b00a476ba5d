"""Files that a service shows: browsing, reading and downloading, as Mesos' `/files` endpoints do."""

from __future__ import annotations

import asyncio
import codecs
import re
from pathlib import PurePosixPath

from aiohttp import web

from mezzo.errors import InvalidRequest, NotFound
from mezzo_chassis.http.download import send_file
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.file_tree import READ_BYTES_MAX, Entry, FileTree, without_scheme

__all__ = [
    "READ_BYTES_MAX",
    "Entry",
    "FileTree",
    "FilesApi",
    "empty_not_found",
    "required_path",
    "text_of",
    "whole_number",
    "without_scheme",
]

# Of what JSON and protobuf can hold.
NUMBER_MAX = 2**63 - 1
TEXT_SHOWN_MAX = 100
"""Characters of a client's own input that an error repeats."""
# Python's own reading of numbers is wider: it takes spaces, underscores and the digits of every script.
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")


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
        """A part of a file; without `offset`, or with -1, its size as `offset` and no data.

        `length` -1 means as much as one answer may hold, as it does where it is not given.
        """
        path = required_path(request)
        offset, length = _position(request, "offset"), _position(request, "length")
        try:
            data, size = await asyncio.to_thread(self._tree.read, path, offset or 0, 0 if offset is None else length)
        except NotFound:
            return empty_not_found()
        return json_response(request, {"data": text_of(data), "offset": size if offset is None else offset})

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
    """The `path` in the query. Raises `InvalidRequest`."""
    path = without_scheme(request.query.get("path", ""))
    if not path:
        raise InvalidRequest("", "Expecting 'path=value' in query.")  # Mesos' words
    return path


def whole_number(request: web.Request, name: str) -> int | None:
    """A number in the query; None where it is not given. Raises `InvalidRequest` for what is none, and for nothing."""
    text = request.query.get(name)
    if text is None:
        return None
    if not _WHOLE_NUMBER.fullmatch(text):
        raise InvalidRequest(name, f"{text[:TEXT_SHOWN_MAX]!r} must be an integer")
    number = int(text)
    if abs(number) > NUMBER_MAX:
        raise InvalidRequest(name, "is too large")
    return number


def _position(request: web.Request, name: str) -> int | None:
    """A number in the query that is not negative; -1 stands for none, as it does in Mesos."""
    number = whole_number(request, name)
    if number is not None and number < -1:
        raise InvalidRequest(name, f"{number} is negative")
    return None if number == -1 else number


def empty_not_found() -> web.Response:
    """What Mesos says of a file that is not there."""
    return web.Response(status=404, text="")
