"""Mezzo's own endpoints for one task: what it is at, its logs and its sandbox, wherever it runs,
and killing it.

    GET  /mezzo/v1/tasks/<framework id>/<task id>
    GET  /mezzo/v1/tasks/<framework id>/<task id>/files/<stdout|stderr>?offset=&length=&follow=
    GET  /mezzo/v1/tasks/<framework id>/<task id>/sandbox?path=
    GET  /mezzo/v1/tasks/<framework id>/<task id>/sandbox/download?path=
    POST /mezzo/v1/tasks/<framework id>/<task id>/kill?grace_period=

Errors are JSON, as everywhere below /mezzo/v1: see `mezzo_chassis.http.refusals`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import hdrs, web

from mesos.v1.mesos_pb2 import Task
from mezzo import durations
from mezzo.errors import InvalidRequest, MezzoError, NotFound
from mezzo.operator.v1.operator_pb2 import TASK_LIST_COMPLETED
from mezzo.task_states import TERMINAL
from mezzo_chassis.config import boolean
from mezzo_chassis.http.download import write_piece
from mezzo_chassis.http.exchange import json_response
from mezzo_chassis.http.files import whole_number
from mezzo_gateway.adapters.agents import Agents
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.explanations.tasks import AgentState, TaskFacts, document
from mezzo_gateway.http.files import Files, cut_off
from mezzo_gateway.http.reads import Reads
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.records import TaskRecord

# Ids may contain anything: they are quoted one by one.
TASK_PATH = "/mezzo/v1/tasks/{framework_id:[^/]+}/{task_id:[^/]+}"

# How much is asked of the agent at once, and how long it is left alone when there was nothing new.
PIECE_BYTES = 256 * 1024
FOLLOW_PAUSE_SECONDS = 0.25

# How many bytes the task had written when the answer began.
SIZE_HEADER = "Mezzo-File-Size"


class Tasks:
    """Answers what is asked about one task."""

    def __init__(self, registry: Registry, reads: Reads, files: Files, agents: Agents) -> None:
        self._registry = registry
        self._reads = reads
        self._files = files
        self._agents = agents

    # ----------------------------------------------------------------------------------------- what it is at

    async def explain(self, request: web.Request) -> web.Response:
        """What the task is at, and why."""
        cluster, record = self._reads.cluster(), self._task(request)
        framework_id = request.match_info["framework_id"]
        framework, agent_id = cluster.framework(framework_id), record.task.agent_id.value
        name = framework.message.framework_info.name if framework is not None and framework.message else ""
        agent = cluster.agents.get(agent_id)
        host = agent.message.agent_info.hostname if agent is not None else agent_id
        completed = record.list == TASK_LIST_COMPLETED
        facts = TaskFacts(record.task, name, host, _agent_state(cluster, agent_id), completed)
        response = json_response(request, document(facts, time.time()))
        response.headers.update(self._reads.headers())
        return response

    # ---------------------------------------------------------------------------------------------------- logs

    async def kill(self, request: web.Request) -> web.Response:
        """Have the task killed, whichever framework it is of."""
        grace = request.query.get("grace_period")
        seconds = None if grace is None else _grace_period(grace)
        await self._registry.kill_task(request.match_info["framework_id"], request.match_info["task_id"], seconds)
        return web.Response(status=202)

    async def browse(self, request: web.Request) -> web.Response:
        """What is in a folder of the task's sandbox, or a file of it: a list in the form of `/files/browse`."""
        record = self._task(request)
        address = self._address(record.task)
        path = request.query.get("path", "").strip("/")
        return json_response(request, await self._files.browse_sandbox(address, _sandbox(record.task), path))

    async def download(self, request: web.Request) -> web.StreamResponse:
        """A file of the task's sandbox."""
        record, path = self._task(request), request.query.get("path", "").strip("/")
        if not path:
            raise InvalidRequest("path", "is required")
        address = self._address(record.task)
        return await self._files.send_from_sandbox(request, address, _sandbox(record.task), path)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """The task's stdout or stderr, up to its end or as it grows."""
        offset, length = whole_number(request, "offset") or 0, whole_number(request, "length")
        if length is not None and length < 0:
            raise InvalidRequest("length", f"{length} is negative")
        try:
            follow = boolean(request.query.get("follow", "false"))
        except ValueError as error:
            raise InvalidRequest("follow", str(error)) from None
        record = self._task(request)
        address = self._address(record.task)
        path = f"{_sandbox(record.task)}/{request.match_info['file']}"
        size = (await self._agents.read_log(address, path, 0, 0)).end
        start = max(size + offset, 0) if offset < 0 else offset
        response = web.StreamResponse(headers={SIZE_HEADER: str(size), hdrs.CONTENT_TYPE: "application/octet-stream"})
        await response.prepare(request)

        async def ended() -> bool:
            return not follow or self._has_ended(record.task)

        try:
            async for piece in self._pieces(address, path, start, length, ended):
                await write_piece(request, response, piece)
            await response.write_eof()
        except MezzoError as error:
            cut_off(request, error)
        return response

    async def _pieces(
        self, address: str, path: str, offset: int, length: int | None, ended: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """A log from `offset`, up to `length` bytes of it, until nothing is left to come.

        Offsets count from the first byte that the task wrote; what rotation has thrown away is left out.
        """
        end = None if length is None else offset + length
        written = 0
        while end is None or offset < end:
            # Asked before reading: what was written before the task ended is read after it.
            last = await ended()
            wanted = PIECE_BYTES if end is None else min(PIECE_BYTES, end - offset)
            part = await self._agents.read_log(address, path, offset, wanted)
            if end is not None and part.position >= end:
                return  # rotation has thrown away all that was asked for
            if part.data:
                offset = part.position + len(part.data)
                yield part.data if end is None else part.data[: end - part.position]
            elif part.end < written:
                # The count was lost with the file: whoever follows goes on with what comes now.
                offset = part.end
            elif last:
                return
            else:
                await asyncio.sleep(FOLLOW_PAUSE_SECONDS)
            written = part.end

    def _task(self, request: web.Request) -> TaskRecord:
        """The task that a request is about. Raises NotFound."""
        cluster = self._reads.cluster()
        framework_id, task_id = request.match_info["framework_id"], request.match_info["task_id"]
        if cluster.framework(framework_id) is None:
            raise NotFound(f"framework {framework_id} not found")
        record = cluster.task(framework_id, task_id)
        if record is None:
            raise NotFound(f"framework {framework_id} has no task {task_id}")
        return record

    def _address(self, task: Task) -> str:
        """Where the agent of a task serves HTTP. Raises NotFound."""
        try:
            return self._files.address_of_agent(task.agent_id.value)
        except NotFound:
            agent_id = task.agent_id.value
            raise NotFound(f"agent {agent_id}, which has the sandbox of the task, is not connected") from None

    def _has_ended(self, task: Task) -> bool:
        cluster = self._reads.cluster()
        record = cluster.task(task.framework_id.value, task.task_id.value)
        if record is not None:
            return record.task.state in TERMINAL
        # A new leader knows no task of an agent that has not come back to it yet.
        return _agent_state(cluster, task.agent_id.value) is not AgentState.RECOVERED


def _agent_state(cluster: Cluster, agent_id: str) -> AgentState:
    agent = cluster.agents.get(agent_id)
    if agent is None:
        return AgentState.UNREACHABLE if agent_id in cluster.unreachable_agents else AgentState.REMOVED
    if agent.recovered:
        return AgentState.RECOVERED
    return AgentState.CONNECTED if agent.connected else AgentState.DISCONNECTED


def _grace_period(text: str) -> float:
    """Seconds. Raises InvalidRequest."""
    try:
        return durations.parse(text)
    except ValueError as error:
        raise InvalidRequest("grace_period", str(error)) from None


def _sandbox(task: Task) -> str:
    """The folder that a task runs in, under the name that every agent knows it by, wherever its work directory is."""
    # A command has no executor of a name of its own.
    executor_id = task.executor_id.value or task.task_id.value
    container_ids = [status.container_status.container_id for status in task.statuses]
    runs = f"/frameworks/{task.framework_id.value}/executors/{executor_id}/runs"
    container = next((container_id for container_id in reversed(container_ids) if container_id.value), None)
    if container is None:
        return f"{runs}/latest"
    if container.parent.value:  # the task of a pod, inside the pod's own
        return f"{runs}/{container.parent.value}/containers/{container.value}"
    return f"{runs}/{container.value}"
