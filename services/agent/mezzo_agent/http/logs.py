"""`/mezzo/v1/logs`: a task's output as one stream, for whoever follows it across rotations.

    GET /mezzo/v1/logs?path=<sandbox>/<stdout|stderr>&position=&length=

The answer is what stands at the position, or the oldest that is kept; `Mezzo-Log-Position` says where it begins, and
`Mezzo-Log-End` how much the task has written.
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath

from aiohttp import hdrs, web

from mezzo.errors import InvalidRequest, NotFound
from mezzo_agent.containers import log_stream
from mezzo_chassis.http.files import FileTree, empty_not_found, required_path, whole_number

PATH = "/mezzo/v1/logs"
POSITION_HEADER = "Mezzo-Log-Position"
END_HEADER = "Mezzo-Log-End"
READ_BYTES_MAX = 1024 * 1024
"""Of a log in one answer."""


class Logs:
    """Reads the logs in a tree of sandboxes."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    async def read(self, request: web.Request) -> web.StreamResponse:
        path = PurePosixPath(required_path(request))
        position, length = whole_number(request, "position") or 0, whole_number(request, "length")
        for name, number in (("position", position), ("length", length)):
            if number is not None and number < 0:
                raise InvalidRequest(name, f"must not be negative: {number}")
        wanted = READ_BYTES_MAX if length is None else min(length, READ_BYTES_MAX)
        try:
            part = await asyncio.to_thread(
                log_stream.read, lambda name: self._tree.open(str(path.parent / name)), path.name, position, wanted
            )
        except NotFound:
            return empty_not_found()
        headers = {
            POSITION_HEADER: str(part.position),
            END_HEADER: str(part.end),
            hdrs.CONTENT_TYPE: "application/octet-stream",
        }
        return web.Response(body=part.data, headers=headers)
