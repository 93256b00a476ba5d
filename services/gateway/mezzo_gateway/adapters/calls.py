"""The calls of all frameworks to the registry, over one stream.

A call of its own for each costs an HTTP/2 stream and several system calls; a message on an open stream carries as many
as are waiting. The order in which calls are made here is the order in which the registry sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from mezzo.errors import Unavailable
from mezzo.scheduler.v1.scheduler_pb2 import CallRequest, CallStreamRequest, CallStreamResponse, NumberedCall
from mezzo_chassis.errors import from_status
from mezzo_chassis.log import correlation_id
from mezzo_chassis.rpc import error_of

# Calls in one message, and calls that may be under way at once.
CALLS_PER_MESSAGE_MAX = 512
CALLS_UNDER_WAY_MAX = 100_000

_CODES = {code.value[0]: code for code in grpc.StatusCode}

CallStream = grpc.aio.StreamStreamCall[CallStreamRequest, CallStreamResponse]


class CallLost(Unavailable):
    """The connection broke while a call was under way: nobody knows whether it was admitted."""


class CallPipeline:
    """Numbers calls, sends those that are waiting as one message, and hands each its result.

    The stream is opened by the first call, and again by the first call after it broke.
    """

    def __init__(self, open_stream: Callable[[], CallStream]) -> None:
        self._open_stream = open_stream
        self._number = 0
        self._waiting: list[NumberedCall] = []
        self._results: dict[int, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def call(self, request: CallRequest) -> None:
        """Make one call; returns when the registry has admitted it, and raises what it says against it.

        Raises CallLost if the stream breaks first.
        """
        if len(self._results) >= CALLS_UNDER_WAY_MAX:
            raise Unavailable("too many calls in flight")
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        self._number += 1
        number = self._number
        self._waiting.append(NumberedCall(number=number, call=request, correlation_id=correlation_id()))
        result = self._results[number] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            await result
        finally:
            self._results.pop(number, None)

    async def close(self) -> None:
        """End the stream. Calls under way fail."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            # Not `suppress(CancelledError)`: that would also take a cancellation that is meant for whoever closes.
            try:
                await asyncio.gather(task, return_exceptions=True)
            finally:
                # It may have been cancelled before it began.
                self._fail(CallLost("the stream of calls was closed"))

    async def _run(self) -> None:
        """Whatever ends it, the calls under way are told."""
        reason = CallLost("the registry ended the stream of calls")
        try:
            await self._exchange(self._open_stream())
        except grpc.aio.AioRpcError as error:
            # Also of one that leads no longer: its successor is found by following, not by what it says here.
            reason = CallLost(str(error_of(error)))
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            # The stream ended between the last result and this message, or its channel was closed before.
            reason = CallLost(str(error))
        finally:
            self._fail(reason)

    async def _exchange(self, stream: CallStream) -> None:
        reader = asyncio.create_task(self._read(stream))
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            await self._write(stream, reader)
        finally:
            stream.cancel()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _write(self, stream: CallStream, reader: asyncio.Task[None]) -> None:
        while not reader.done():
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not reader.done():
                calls = self._waiting[:CALLS_PER_MESSAGE_MAX]
                del self._waiting[:CALLS_PER_MESSAGE_MAX]
                await stream.write(CallStreamRequest(calls=calls))
        reader.result()

    async def _read(self, stream: CallStream) -> None:
        async for response in stream:
            for result in response.results:
                future = self._results.pop(result.number, None)
                if future is None or future.done():
                    continue
                if result.code:
                    future.set_exception(from_status(_CODES.get(result.code, grpc.StatusCode.UNKNOWN), result.message))
                else:
                    future.set_result(None)

    def _fail(self, reason: CallLost) -> None:
        self._waiting.clear()
        results, self._results = self._results, {}
        for future in results.values():
            if not future.done():
                future.set_exception(reason)
