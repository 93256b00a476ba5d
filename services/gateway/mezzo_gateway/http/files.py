"""The files of any task's sandbox, on whichever agent they lie."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any

import aiohttp
import orjson
from aiohttp import hdrs, web

from mesos.v1.agent.agent_pb2 import Call as AgentCall
from mesos.v1.master.master_pb2 import Call, Response
from mezzo import addresses
from mezzo.errors import Forbidden, InvalidRequest, NotFound, Unavailable
from mezzo_chassis.http.download import attachment_headers, write_piece
from mezzo_chassis.http.exchange import json_bytes_response, json_response
from mezzo_chassis.http.files import empty_not_found, required_path
from mezzo_chassis.http.refusals import text_response
from mezzo_chassis.log import get_logger
from mezzo_gateway.adapters.agents import Agents, text_of
from mezzo_gateway.http.reads import Reads

# A sandbox lies below its agent's work directory: …/slaves/<agent id>/frameworks/…
AGENT_OF_PATH = re.compile(r"(?:^|/)slaves/([^/]+)(?:/|$)")

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19}-[0-9]{1,19}|\*)/([0-9]{1,19}|\*)")
REFUSAL_BYTES_MAX = 4096
PIECE_BYTES = 64 * 1024

log = get_logger(__name__)


def cut_off(request: web.Request, error: Exception) -> None:
    """End a connection in the one way that says that there is no answer, or not the whole of it."""
    log.info("connection aborted", path=request.path, error=str(error))
    if request.transport is not None:
        request.transport.abort()


class Files:
    """`/files/browse`, `/files/read`, `/files/download`, LIST_FILES and READ_FILE, answered by the agents."""

    def __init__(self, reads: Reads, agents: Agents) -> None:
        self._reads = reads
        self._agents = agents

    async def document(self, request: web.Request) -> web.Response:
        """`/files/browse` and `/files/read`: the agent's answer, always as JSON."""
        try:
            address = self.address_of_path(required_path(request))
        except NotFound:
            return empty_not_found()
        endpoint = request.path.rstrip("/").rpartition("/")[2].removesuffix(".json")
        query = {name: value for name, value in request.query.items() if name != "jsonp"}
        status, body = await self._agents.fetch(address, f"/files/{endpoint}", query)
        if status != HTTPStatus.OK:
            return _refusal(address, status, body)
        if "jsonp" not in request.query:
            return json_bytes_response(request, body)
        try:
            # It becomes a script: what is no JSON could be any.
            return json_response(request, orjson.loads(body))
        except orjson.JSONDecodeError:
            raise Unavailable(f"the agent at {address} did not answer in JSON") from None

    async def download(self, request: web.Request) -> web.StreamResponse:
        """`/files/download`: a file of an agent, as it comes, always as an attachment."""
        path = required_path(request)
        try:
            address = self.address_of_path(path)
        except NotFound:
            return empty_not_found()
        headers: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity"}
        if hdrs.RANGE in request.headers:
            headers[hdrs.RANGE] = request.headers[hdrs.RANGE]
        async with await self._agents.request(address, "/files/download", {"path": path}, headers) as answer:
            if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                refusal = _refusal(address, answer.status, await _refusal_of(address, answer))
                _keep_range(answer, refusal)
                return refusal
            return await _pass_on(request, path, answer)

    async def browse_sandbox(self, address: str, sandbox: str, path: str) -> list[dict[str, Any]]:
        """What is at a path in a sandbox, as `/files/browse` tells it, with paths that begin in the sandbox.

        Raises NotFound, InvalidRequest, Forbidden and Unavailable.
        """
        where = f"{sandbox}/{path}".rstrip("/")
        status, body = await self._agents.fetch(address, "/files/browse", {"path": where})
        _check(address, sandbox, path, status, body)
        try:
            found = orjson.loads(body)
            return [{**entry, "path": str(entry["path"]).removeprefix(sandbox).lstrip("/")} for entry in found]
        except (ValueError, TypeError, KeyError):
            raise Unavailable(f"the agent at {address} did not answer with a list of files") from None

    async def send_from_sandbox(
        self, request: web.Request, address: str, sandbox: str, path: str
    ) -> web.StreamResponse:
        """A file of a sandbox, whole. Raises NotFound, InvalidRequest, Forbidden and Unavailable."""
        query = {"path": f"{sandbox}/{path}"}
        headers: dict[str, str] = {hdrs.ACCEPT_ENCODING: "identity"}
        async with await self._agents.request(address, "/files/download", query, headers) as answer:
            if answer.status != HTTPStatus.OK:
                _check(address, sandbox, path, answer.status, await _refusal_of(address, answer))
            return await _pass_on(request, path, answer)

    async def list_files(self, call: Call) -> Response:
        """LIST_FILES. Raises NotFound."""
        path = call.list_files.path
        asked = AgentCall(type=AgentCall.LIST_FILES)
        asked.list_files.path = path
        answer = await self._agents.call(self.address_of_path(path), asked)
        response = Response(type=Response.LIST_FILES)
        response.list_files.file_infos.extend(answer.list_files.file_infos)
        return response

    async def read_file(self, call: Call) -> Response:
        """READ_FILE. Raises NotFound."""
        asked = AgentCall(type=AgentCall.READ_FILE)
        asked.read_file.MergeFromString(call.read_file.SerializeToString())
        answer = await self._agents.call(self.address_of_path(call.read_file.path), asked)
        response = Response(type=Response.READ_FILE)
        response.read_file.size, response.read_file.data = answer.read_file.size, answer.read_file.data
        return response

    def address_of_path(self, path: str) -> str:
        """The agent that has `path`, as host:port. Raises NotFound for a path of no agent that is there."""
        found = AGENT_OF_PATH.search(path)
        if found is None:
            raise NotFound("")
        return self.address_of_agent(found[1])

    def address_of_agent(self, agent_id: str) -> str:
        """Where an agent serves HTTP, as host:port. Raises NotFound for an agent that is not there."""
        record = self._reads.cluster().agents.get(agent_id)
        if record is None or record.recovered:
            raise NotFound("")
        _, at, address = record.message.pid.partition("@")
        info = record.message.agent_info
        return address if at else str(addresses.of(info.hostname, info.port) or "")


async def _refusal_of(address: str, answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of what an agent says instead of a file. Raises Unavailable."""
    try:
        return await answer.content.read(REFUSAL_BYTES_MAX)
    except aiohttp.ClientError as error:
        raise Unavailable(f"the agent at {address} closed the connection: {error}") from None


async def _pass_on(request: web.Request, path: str, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """A file as an agent sends it, as an attachment."""
    response = web.StreamResponse(status=answer.status, headers=attachment_headers(PurePosixPath(path).name))
    response.content_length = answer.content_length
    _keep_range(answer, response)
    await response.prepare(request)
    try:
        if request.method != hdrs.METH_HEAD:
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                await write_piece(request, response, piece)
        await response.write_eof()
    except aiohttp.ClientError as error:
        cut_off(request, error)
    return response


def _check(address: str, sandbox: str, path: str, status: int, body: bytes) -> None:
    """Raise NotFound, InvalidRequest, Forbidden or Unavailable for an agent's answer that is a refusal."""
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.NOT_FOUND:
        raise NotFound(f"file {path or '/'} not found in the sandbox")
    if status == HTTPStatus.FORBIDDEN:
        raise Forbidden(f"the agent may not read {path or '/'}")
    if status == HTTPStatus.BAD_REQUEST:
        # By the path that was asked for, and not by the agent's.
        said = text_of(body).removeprefix("path: ").replace(f"{sandbox}/", "")
        raise InvalidRequest("path", said)
    raise Unavailable(f"the agent at {address} answered {status}: {text_of(body)}")


def _refusal(address: str, status: int, body: bytes) -> web.Response:
    """What an agent has against a request, in our own form: nothing of its head is passed on."""
    if status == HTTPStatus.NOT_FOUND:
        return empty_not_found()
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return text_response(status, text_of(body))
    raise Unavailable(f"the agent at {address} answered {status}: {text_of(body)}")


def _keep_range(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    content_range = answer.headers.get(hdrs.CONTENT_RANGE, "")
    if CONTENT_RANGE.fullmatch(content_range):
        response.headers[hdrs.CONTENT_RANGE] = content_range
