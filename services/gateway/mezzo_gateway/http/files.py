"""The files of any task's sandbox, on whichever agent they lie."""

from __future__ import annotations

import re

import aiohttp
from aiohttp import hdrs, web

from mesos.v1.agent.agent_pb2 import Call as AgentCall
from mesos.v1.master.master_pb2 import Call, Response
from mezzo.errors import NotFound
from mezzo_chassis.http.files import empty_not_found, required_path
from mezzo_chassis.log import get_logger
from mezzo_gateway.adapters.agents import Agents
from mezzo_gateway.http.reads import Reads

# A sandbox lies below its agent's work directory: …/slaves/<agent id>/frameworks/…
AGENT_OF_PATH = re.compile(r"(?:^|/)slaves/([^/]+)(?:/|$)")

PASSED_ON = (
    hdrs.CONTENT_TYPE,
    hdrs.CONTENT_LENGTH,
    hdrs.CONTENT_ENCODING,
    hdrs.CONTENT_RANGE,
    hdrs.CONTENT_DISPOSITION,
)
ASKED_WITH = (hdrs.RANGE, hdrs.ACCEPT_ENCODING)
PIECE_BYTES = 64 * 1024

log = get_logger(__name__)


def cut_off(request: web.Request, error: Exception) -> None:
    """End a connection in the one way that says that there is no answer, or not the whole of it."""
    log.info("a connection was cut off", path=request.path, reason=str(error))
    if request.transport is not None:
        request.transport.abort()


class Files:
    """`/files/browse`, `/files/read`, `/files/download`, LIST_FILES and READ_FILE, answered by the agents."""

    def __init__(self, reads: Reads, agents: Agents) -> None:
        self._reads = reads
        self._agents = agents

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Have the agent answer a `/files/…` request, and pass its answer on as it comes."""
        try:
            address = self.address_of_path(required_path(request))
        except NotFound:
            return empty_not_found()
        endpoint = request.path.rstrip("/").rpartition("/")[2].removesuffix(".json")
        headers: dict[str, str] = {name: request.headers[name] for name in ASKED_WITH if name in request.headers}
        headers.setdefault(hdrs.ACCEPT_ENCODING, "identity")
        async with await self._agents.request(address, f"/files/{endpoint}", dict(request.query), headers) as answer:
            kept = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            try:
                if request.method != hdrs.METH_HEAD:
                    async for piece in answer.content.iter_chunked(PIECE_BYTES):
                        await response.write(piece)
                await response.write_eof()
            except aiohttp.ClientError as error:
                cut_off(request, error)
            return response

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
        _, at, address = record.message.pid.rpartition("@")
        info = record.message.agent_info
        return address if at else f"{info.hostname}:{info.port}"
