"""The session with the leading allocator, opened again whenever it ends. Without one, only new offers wait."""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator
from logging import INFO, WARNING

import grpc

from mezzo.allocator.v1 import allocator_pb2 as allocator
from mezzo.allocator.v1 import allocator_pb2_grpc
from mezzo.backoff import Backoff
from mezzo.errors import MezzoError, NotLeading, Unavailable
from mezzo_chassis.leadership import LeaderDetector
from mezzo_chassis.log import accepted_cause, get_logger
from mezzo_chassis.rpc import EPOCH_KEY, REGISTRY_KEY, error_of, open_channel
from mezzo_registry.core import events
from mezzo_registry.metrics import RegistryMetrics
from mezzo_registry.shell.streams import ALLOCATOR_MESSAGES_MAX, Overflow, Stream
from mezzo_registry.shell.term import Term

RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 1.0
SESSION_SETTLED_SECONDS = 5.0
"""A session that lasted as long was sound: the next is begun at once."""
EXPLAIN_SECONDS_MAX = 20.0
"""An allocator that has not answered by then will not: it answers from memory, and yields between frameworks."""

SILENCE_SECONDS_MAX = 60.0
"""An allocator that has sent nothing for so long is given up: six of its heartbeats, and longer than any cycle takes.
One whose process has stopped is given up sooner, by gRPC's keepalive."""

log = get_logger(__name__)

AllocatorStream = Stream[allocator.RegistryMessage]


class AllocatorSession:
    """Keeps a session with whoever the detector says leads the allocators."""

    def __init__(
        self, term: Term, detector: LeaderDetector, metrics: RegistryMetrics, epoch: int = 0, address: str = ""
    ) -> None:
        """`epoch` is the number of the term: allocators refuse a registry whose term another's has followed.

        `address` is the registry's "host:port": of two registries of one epoch, the second is refused by its name.
        """
        self._term = term
        self._metadata = ((EPOCH_KEY, str(epoch)), (REGISTRY_KEY, address))
        self._detector = detector
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled: follow the leading allocator, and come back to it when the session ends."""
        session: asyncio.Task[None] | None = None
        try:
            async for leader in self._detector.changes():
                if session is not None:
                    session.cancel()
                    await asyncio.gather(session, return_exceptions=True)
                session = asyncio.create_task(self._keep(leader.grpc_address)) if leader else None
        finally:
            if session is not None:
                session.cancel()
                await asyncio.gather(session, return_exceptions=True)

    async def _keep(self, address: str) -> None:
        backoff, logged = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX), ""
        async with open_channel(address) as channel:
            while True:
                began, sound, refused = time.monotonic(), True, False
                try:
                    await self._session(channel, address)
                    reason = "the allocator ended the session"
                except grpc.aio.AioRpcError as error:
                    refused = error.code() is grpc.StatusCode.ALREADY_EXISTS
                    reason = error.details() or "" if refused else f"{error.code().name}: {error.details()}"
                except (Overflow, TimeoutError, MezzoError) as error:
                    reason = str(error)
                except Exception as error:
                    # A mistake of ours must not leave the term without a session: another one begins with a snapshot.
                    sound, reason = False, repr(error)
                    log.exception("allocator session failed", address=address)
                if sound and time.monotonic() - began > SESSION_SETTLED_SECONDS:
                    # Of one that ended sooner the snapshot may be the cause: it is not sent again and again in a row.
                    backoff.reset()
                    logged = ""
                if reason != logged:
                    # A second registry is a mistake of whoever configured it, and does not mend itself.
                    log.log(
                        WARNING if refused else INFO, "no allocator session; retrying", address=address, reason=reason
                    )
                    logged = reason
                self._term.allocator_refusal = f"the allocator at {address} refuses: {reason}" if refused else ""
                await asyncio.sleep(next(backoff))

    async def _session(self, channel: grpc.aio.Channel, address: str) -> None:
        stream = AllocatorStream("allocator", ALLOCATOR_MESSAGES_MAX)
        stub = allocator_pb2_grpc.AllocatorStub(channel)
        call = stub.Session(_requests(stream), metadata=self._metadata)
        try:
            await call.wait_for_connection()
            log.info("allocator session opened", address=address)
            self._term.open_allocator(stream, functools.partial(_explain, stub))
            await self._receive(call)
            stream.check()
            if stream.outbox.closed:
                raise Overflow(f"more than {ALLOCATOR_MESSAGES_MAX} messages waited for the allocator")
        finally:
            call.cancel()
            self._term.close_allocator()
            stream.close()

    async def _receive(
        self, call: grpc.aio.StreamStreamCall[allocator.SessionRequest, allocator.SessionResponse]
    ) -> None:
        """Take what the allocator sends until it ends the session.

        Raises:
            TimeoutError: it has sent nothing for too long.
        """
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(SILENCE_SECONDS_MAX) as silence:
                async for response in call:
                    silence.reschedule(now() + SILENCE_SECONDS_MAX)
                    self._take(response)
        except TimeoutError:
            raise TimeoutError(f"the allocator has sent nothing for {SILENCE_SECONDS_MAX:g} seconds") from None

    def _take(self, response: allocator.SessionResponse) -> None:
        """Take in what the allocator advises; the core checks each allocation, and drops those that make no sense."""
        for message in response.messages:
            which, cause = message.WhichOneof("message"), accepted_cause(message.cause)
            if which == "allocations":
                self._term.post(events.AllocationsMade(message.allocations), cause)
                if message.allocations.HasField("cycle"):
                    self._metrics.cycle(message.allocations.cycle)
            elif which == "ready":
                log.info("allocator ready", version=message.ready.version)
                self._term.allocator_refusal = ""
                self._term.post(events.AllocatorReady(dict(message.ready.flags)), cause)


async def _explain(
    stub: "allocator_pb2_grpc.AllocatorAsyncStub", request: allocator.ExplainRequest
) -> allocator.ExplainResponse:
    """Ask the allocator for its reasons.

    Raises:
        Unavailable: it does not lead any longer, cannot be reached, or takes too long.
        MezzoError: it refused, with what it said.
    """
    try:
        return await stub.Explain(request, timeout=EXPLAIN_SECONDS_MAX)
    except grpc.aio.AioRpcError as failure:
        if failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise Unavailable(f"the allocator did not answer within {EXPLAIN_SECONDS_MAX:g} seconds") from failure
        error = error_of(failure)
        if isinstance(error, NotLeading):
            # Of the allocators, that is: the caller must not take it for a word on who leads the registries.
            raise Unavailable("the allocator of this registry is no longer the leader; try again") from failure
        raise error from failure
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled this task: the session's channel was closed under the call.
        raise Unavailable("the allocator session ended; try again") from None


async def _requests(stream: AllocatorStream) -> AsyncIterator[allocator.SessionRequest]:
    with contextlib.suppress(Overflow):  # the session ends with the requests; `_session` tells why
        async for batch in stream.outbox:
            yield allocator.SessionRequest(messages=batch)
