"""The streams on which executors listen, whatever their protocol."""

from __future__ import annotations

import itertools

from mesos.v1.executor import executor_pb2 as executor
from mezzo_chassis.outbox import Outbox

EVENTS_PER_EXECUTOR_MAX = 10_000
"""How many events wait for an executor that does not read; with one more it is disconnected, and subscribes again."""


class ExecutorStreams:
    """Names a stream when an executor subscribes, and finds it again when there is something to say."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[str, Outbox[executor.Event]] = {}

    def open(self) -> tuple[str, Outbox[executor.Event]]:
        name = f"executor-stream-{next(self._numbers)}"
        outbox = self._open[name] = Outbox(EVENTS_PER_EXECUTOR_MAX, peer="executor")
        return name, outbox

    def send(self, name: str, event: executor.Event) -> None:
        """Lost where the stream is gone: the executor will subscribe again, and is told again."""
        outbox = self._open.get(name)
        if outbox is not None:
            outbox.put(event)

    def close(self, name: str) -> None:
        """End it when everything has been said."""
        outbox = self._open.pop(name, None)
        if outbox is not None:
            outbox.close()

    def close_all(self) -> None:
        for name in list(self._open):
            self.close(name)
