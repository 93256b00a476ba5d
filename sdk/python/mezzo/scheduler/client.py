"""The client itself: one subscription that is kept up, and every call of the scheduler API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from types import AsyncGeneratorType
from typing import Self, cast

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo import jsonpb
from mezzo.backoff import Backoff
from mezzo.errors import MezzoError, Unavailable
from mezzo.scheduler.transport import Transport

Type = v1.Call.Type
_log = logging.getLogger("mezzo.scheduler")

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 5.0
# A stream that is silent for so many heartbeats is broken.
HEARTBEATS_MISSED_MAX = 5
FIRST_EVENT_SECONDS_MAX = 30.0


class SchedulerClient:
    """A framework that stays subscribed.

    When its stream breaks, or falls silent, it subscribes again under its id; each subscription begins with a
    SUBSCRIBED event, upon which a scheduler reconciles its tasks.
    """

    def __init__(self, transport: Transport, framework_info: mesos.FrameworkInfo) -> None:
        self._transport = transport
        self.framework_info = mesos.FrameworkInfo()
        self.framework_info.CopyFrom(framework_info)
        self.suppressed_roles: list[str] = []
        self.offer_constraints: v1.OfferConstraints | None = None
        """Which agents are to be offered, as the subscription says it."""
        self._silence_seconds_max = FIRST_EVENT_SECONDS_MAX
        # No more subscriptions: it is closed, or being torn down; and no more events: that is done.
        self._over = asyncio.Event()
        self._done = False
        self._events: AsyncGeneratorType[v1.Event, None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def framework_id(self) -> str:
        """Given by the cluster with the first subscription; empty before it."""
        return self.framework_info.id.value

    async def close(self) -> None:
        """Leave without ending the framework: its tasks go on for `failover_timeout`.

        May be called while somebody waits for an event: there are no more, then.
        """
        self._over.set()
        self._done = True
        if self._events is not None and not self._events.ag_running:
            await self._events.aclose()
        await self._transport.close()

    def events(self) -> AsyncIterator[v1.Event]:
        """Every event but HEARTBEAT, across subscriptions.

        Ends after a teardown, even in the middle of what had arrived, or after an ERROR event, which is yielded: the
        cluster has ended the framework, or refused it. Raises `MezzoError` only where the cluster refuses the
        subscription for what it says; while nobody answers it goes on trying, and logs each attempt.
        Whoever leaves the loop still has a framework, until `close` or `teardown`, and may go on where they were by
        asking again.
        """
        # Held here, or else leaving the loop would end the subscription. One that has ended has no frame any more.
        if self._events is None or self._events.ag_frame is None:
            self._events = cast("AsyncGeneratorType[v1.Event, None]", self._subscribed_again_and_again())
        return self._events

    async def _subscribed_again_and_again(self) -> AsyncGenerator[v1.Event]:
        backoff = Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        while not self._over.is_set():
            failure = "the stream ended"
            try:
                async with contextlib.aclosing(self._subscription()) as events:
                    async for event in events:
                        if self._done:
                            return
                        backoff.reset()
                        yield event
                        if event.type == v1.Event.ERROR:
                            return
            except Unavailable as error:
                # Nobody leads, or the stream broke: that is what the delay and the next attempt are for.
                failure = str(error)
            if self._over.is_set():
                return
            seconds = next(backoff)
            _log.warning("no subscription at %s: %s; next attempt in %.2g s", self._transport, failure, seconds)
            # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with what it waits for, and
            # a teardown that fails sets and clears that just before its caller gives up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._over.wait()

    async def _subscription(self) -> AsyncGenerator[v1.Event]:
        call = v1.Call(type=Type.SUBSCRIBE)
        call.subscribe.framework_info.CopyFrom(self.framework_info)
        call.subscribe.suppressed_roles.extend(self.suppressed_roles)
        if self.offer_constraints is not None:
            call.subscribe.offer_constraints.CopyFrom(self.offer_constraints)
        if self.framework_id:
            call.framework_id.CopyFrom(self.framework_info.id)
        jsonpb.check_initialized(call)
        self._silence_seconds_max = FIRST_EVENT_SECONDS_MAX
        async with contextlib.aclosing(self._transport.subscribe(call)) as stream:
            while True:
                try:
                    async with asyncio.timeout(self._silence_seconds_max):
                        events = await anext(stream)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise Unavailable(f"no event and no heartbeat for {self._silence_seconds_max:g} s") from None
                for event in events:
                    if event.type == v1.Event.SUBSCRIBED:
                        self._subscribed(event.subscribed)
                    if event.type != v1.Event.HEARTBEAT:
                        yield event

    def _subscribed(self, subscribed: v1.Event.Subscribed) -> None:
        self.framework_info.id.CopyFrom(subscribed.framework_id)
        if subscribed.heartbeat_interval_seconds:
            self._silence_seconds_max = HEARTBEATS_MISSED_MAX * subscribed.heartbeat_interval_seconds

    # --------------------------------------------------------------------------------------------------- calls
    # Each returns when the call is admitted, and raises `MezzoError` when it is not: `InvalidRequest` with the field's
    # path also where a field is missing, in which case nothing is sent. What a call causes arrives as events.

    def _new(self, call_type: Type.ValueType) -> v1.Call:
        return self._signed(v1.Call(type=call_type))

    def _signed(self, call: v1.Call) -> v1.Call:
        if not self.framework_id:
            raise Unavailable("not subscribed yet: the framework has no id")
        call.framework_id.CopyFrom(self.framework_info.id)
        return call

    async def _call(self, call: v1.Call) -> v1.Response | None:
        # Here, with the path of the field, or else protobuf raises an error of its own while it is sent.
        jsonpb.check_initialized(call)
        return await self._transport.call(call)

    async def send(self, call: v1.Call) -> v1.Response | None:
        """Make any call; its framework id is filled in."""
        return await self._call(self._signed(call))

    async def accept(
        self,
        offer_ids: Iterable[mesos.OfferID],
        operations: Iterable[mesos.Offer.Operation],
        refuse_seconds: float | None = None,
    ) -> None:
        """Use offers of one agent; what the operations leave over is declined for `refuse_seconds` (default: 5)."""
        call = self._new(Type.ACCEPT)
        call.accept.SetInParent()
        call.accept.offer_ids.extend(offer_ids)
        call.accept.operations.extend(operations)
        if refuse_seconds is not None:
            call.accept.filters.refuse_seconds = refuse_seconds
        await self._call(call)

    async def launch(
        self, offer: mesos.Offer, tasks: Iterable[mesos.TaskInfo], refuse_seconds: float | None = None
    ) -> None:
        """Accept one offer to launch tasks; those that name no agent are launched on the offer's."""
        operation = mesos.Offer.Operation(type=mesos.Offer.Operation.LAUNCH)
        operation.launch.task_infos.extend(tasks)
        for task in operation.launch.task_infos:
            if not task.agent_id.value:
                task.agent_id.CopyFrom(offer.agent_id)
        await self.accept([offer.id], [operation], refuse_seconds)

    async def decline(self, offer_ids: Iterable[mesos.OfferID], refuse_seconds: float | None = None) -> None:
        call = self._new(Type.DECLINE)
        call.decline.SetInParent()
        call.decline.offer_ids.extend(offer_ids)
        if refuse_seconds is not None:
            call.decline.filters.refuse_seconds = refuse_seconds
        await self._call(call)

    async def accept_inverse_offers(
        self, offer_ids: Iterable[mesos.OfferID], refuse_seconds: float | None = None
    ) -> None:
        """Promise to give back what was asked for; not asked again for `refuse_seconds` (default: 5)."""
        call = self._new(Type.ACCEPT_INVERSE_OFFERS)
        call.accept_inverse_offers.SetInParent()
        call.accept_inverse_offers.inverse_offer_ids.extend(offer_ids)
        if refuse_seconds is not None:
            call.accept_inverse_offers.filters.refuse_seconds = refuse_seconds
        await self._call(call)

    async def decline_inverse_offers(
        self, offer_ids: Iterable[mesos.OfferID], refuse_seconds: float | None = None
    ) -> None:
        """Say that it will not be given back; not asked again for `refuse_seconds` (default: 5)."""
        call = self._new(Type.DECLINE_INVERSE_OFFERS)
        call.decline_inverse_offers.SetInParent()
        call.decline_inverse_offers.inverse_offer_ids.extend(offer_ids)
        if refuse_seconds is not None:
            call.decline_inverse_offers.filters.refuse_seconds = refuse_seconds
        await self._call(call)

    async def revive(self, roles: Iterable[str] = ()) -> None:
        """Ask for offers again in the roles, or in all."""
        call = self._new(Type.REVIVE)
        call.revive.roles.extend(roles)
        await self._call(call)
        revived = set(call.revive.roles or self._roles())
        self.suppressed_roles = [role for role in self.suppressed_roles if role not in revived]

    async def suppress(self, roles: Iterable[str] = ()) -> None:
        """Ask for no more offers in the roles, or in all; later subscriptions ask for the same."""
        call = self._new(Type.SUPPRESS)
        call.suppress.roles.extend(roles)
        await self._call(call)
        added = [role for role in call.suppress.roles or self._roles() if role not in self.suppressed_roles]
        self.suppressed_roles = self.suppressed_roles + added

    def _roles(self) -> list[str]:
        info = self.framework_info
        if any(each.type == mesos.FrameworkInfo.Capability.MULTI_ROLE for each in info.capabilities):
            return list(info.roles)
        return [info.role]

    async def kill(self, task_id: str, agent_id: str | None = None, grace_period_seconds: float | None = None) -> None:
        call = self._new(Type.KILL)
        call.kill.task_id.value = task_id
        if agent_id is not None:
            call.kill.agent_id.value = agent_id
        if grace_period_seconds is not None:
            call.kill.kill_policy.grace_period.nanoseconds = round(grace_period_seconds * 1e9)
        await self._call(call)

    async def shutdown(self, executor_id: str, agent_id: str) -> None:
        """End an executor, with all its tasks."""
        call = self._new(Type.SHUTDOWN)
        call.shutdown.executor_id.value = executor_id
        call.shutdown.agent_id.value = agent_id
        await self._call(call)

    async def acknowledge(self, status: mesos.TaskStatus) -> None:
        """Say that an update was received; nothing is sent for one that wants no acknowledgement."""
        if not status.HasField("uuid"):
            return
        call = self._new(Type.ACKNOWLEDGE)
        call.acknowledge.agent_id.CopyFrom(status.agent_id)
        call.acknowledge.task_id.CopyFrom(status.task_id)
        call.acknowledge.uuid = status.uuid
        await self._call(call)

    async def acknowledge_operation(self, status: mesos.OperationStatus) -> None:
        """Say that an operation's status was received; nothing is sent for one that wants no acknowledgement."""
        if not status.HasField("uuid"):
            return
        call = self._new(Type.ACKNOWLEDGE_OPERATION_STATUS)
        acknowledge = call.acknowledge_operation_status
        acknowledge.uuid = status.uuid.value
        acknowledge.operation_id.CopyFrom(status.operation_id)
        if status.HasField("agent_id"):
            acknowledge.agent_id.CopyFrom(status.agent_id)
        if status.HasField("resource_provider_id"):
            acknowledge.resource_provider_id.CopyFrom(status.resource_provider_id)
        await self._call(call)

    async def reconcile(self, tasks: Iterable[tuple[str, str | None]] = ()) -> None:
        """Ask for the newest status of tasks, given as `(task id, agent id or None)`; of all where none is given."""
        call = self._new(Type.RECONCILE)
        call.reconcile.SetInParent()
        for task_id, agent_id in tasks:
            task = call.reconcile.tasks.add()
            task.task_id.value = task_id
            if agent_id is not None:
                task.agent_id.value = agent_id
        await self._call(call)

    async def reconcile_operations(
        self, operations: Iterable[tuple[str, str | None]] = ()
    ) -> list[mesos.OperationStatus]:
        """Ask for the newest status of operations, given as `(id, agent id or None)`; of all where none is given.

        Returns what the answer itself says; a cluster may say it by events instead.
        """
        call = self._new(Type.RECONCILE_OPERATIONS)
        call.reconcile_operations.SetInParent()
        for operation_id, agent_id in operations:
            operation = call.reconcile_operations.operations.add()
            operation.operation_id.value = operation_id
            if agent_id is not None:
                operation.agent_id.value = agent_id
        response = await self._call(call)
        return list(response.reconcile_operations.operation_statuses) if response is not None else []

    async def message(self, executor_id: str, agent_id: str, data: bytes) -> None:
        """Send bytes to an executor; they may be lost."""
        call = self._new(Type.MESSAGE)
        call.message.executor_id.value = executor_id
        call.message.agent_id.value = agent_id
        call.message.data = data
        await self._call(call)

    async def request(self, requests: Iterable[mesos.Request]) -> None:
        """Hint at what the framework would like to be offered."""
        call = self._new(Type.REQUEST)
        call.request.SetInParent()
        call.request.requests.extend(requests)
        await self._call(call)

    async def update_framework(self, framework_info: mesos.FrameworkInfo, suppressed_roles: Iterable[str] = ()) -> None:
        """Change what the framework told of itself; its id stays."""
        call = self._new(Type.UPDATE_FRAMEWORK)
        update = call.update_framework
        update.framework_info.CopyFrom(framework_info)
        update.framework_info.id.CopyFrom(self.framework_info.id)
        update.suppressed_roles.extend(suppressed_roles)
        if self.offer_constraints is not None:
            update.offer_constraints.CopyFrom(self.offer_constraints)
        await self._call(call)
        self.framework_info.CopyFrom(update.framework_info)
        self.suppressed_roles = list(update.suppressed_roles)

    async def teardown(self) -> None:
        """End the framework, and everything that it runs."""
        # Before the call: the stream may end before the call is answered.
        self._over.set()
        try:
            await self._call(self._new(Type.TEARDOWN))
        except MezzoError:
            self._over.clear()
            raise
        self._done = True
