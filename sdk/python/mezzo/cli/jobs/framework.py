"""The framework that runs a job: it answers offers, receives updates, and asks after what it does not hear of."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Protocol

import aiohttp

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.scheduler import scheduler_pb2 as v1
from mezzo.cli.api import Api
from mezzo.cli.errors import ApiError, print_note
from mezzo.cli.jobs.job import Instance, Job, unheard
from mezzo.cli.jobs.outcome import summary
from mezzo.errors import MezzoError, Unavailable
from mezzo.scheduler import SchedulerClient
from mezzo.scheduler.tracker import Received

REFUSE_SECONDS = 1.0
# How long nothing is said of why it waits; and how often it is looked whether the reason is another one.
WAIT_SECONDS = 5.0
# How long nothing is heard of a launch before it is asked after.
ASK_AFTER_SECONDS = 3.0
MISMATCHES_SHOWN = 3
# A reason is the same reason when only its figures have changed.
_FIGURES = re.compile(r"[0-9]+(\.[0-9]+)?")


class Listener(Protocol):
    """Who is told of what happens to a job."""

    def changed(self) -> None:
        """Something of it is another; called before anybody else can know."""

    def running(self, instance: Instance) -> None:
        """The newest launch of an instance runs."""


class JobFramework:
    """Runs one job to its end."""

    def __init__(self, api: Api, scheduler: SchedulerClient, job: Job, listener: Listener) -> None:
        self._api = api
        self._scheduler = scheduler
        self._listener = listener
        self.job = job
        # Calls that launch something, and are still unanswered.
        self._launching = 0
        self._restarting: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        self._waited = True
        self._told = ""

    async def run(self) -> None:
        """Return when the job has ended, still subscribed: see `close`.

        Raises `MezzoError` where the cluster refuses it, or ends the framework.
        """
        for instance in self.job.instances:  # of a job that another process has begun
            if instance.end is not None and not instance.over:
                self._restart_later(instance)
        self._note_end()
        self._work = [
            asyncio.create_task(each)
            for each in (self._receive_events(), self._report_waiting(), self._ask_after(), self._wait_for_end())
        ]
        done, _ = await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
        if not self.job.ended:
            raise MezzoError("the cluster ended the framework")

    async def close(self) -> None:
        """End the subscription. Whoever tears the framework down does so before: without a stream it says nothing."""
        for each in (*self._work, *self._restarting):
            each.cancel()
        await asyncio.gather(*self._work, *self._restarting, return_exceptions=True)

    async def stop(self) -> None:
        """Have everything killed, and launch nothing more. The job ends when all has ended."""
        self.job.stop()
        self._listener.changed()
        self._note_end()
        with contextlib.suppress(Unavailable):  # it is asked for again
            await self._kill_unfinished()

    async def _kill_unfinished(self) -> None:
        for launch in list(self.job.unfinished()):
            await self._scheduler.kill(launch.task_id, launch.task.agent_id.value)

    async def _wait_for_end(self) -> None:
        await self._ended.wait()

    def _note_end(self) -> None:
        if self.job.ended:
            self._ended.set()

    # -------------------------------------------------------------------------------------------------------- events

    async def _receive_events(self) -> None:
        async for event in self._scheduler.events():
            await self.handle(event)

    async def handle(self, event: v1.Event) -> None:
        """React to one event. Raises `MezzoError` for an ERROR, and where a call is refused."""
        if event.type == v1.Event.ERROR:
            raise MezzoError(event.error.message)
        # What does not get through is made up for: offers are given back later, an update comes again until it is
        # acknowledged, and a launch is asked after.
        with contextlib.suppress(Unavailable):
            if event.type == v1.Event.SUBSCRIBED:
                await self._subscribed()
            elif event.type == v1.Event.OFFERS:
                await self._answer(event.offers.offers)
            elif event.type == v1.Event.UPDATE:
                await self._record_status(event.update.status)

    async def _subscribed(self) -> None:
        self._listener.changed()  # it has an id
        launched = [(each.task_id, each.task.agent_id.value) for each in self.job.unfinished()]
        if launched:
            await self._scheduler.reconcile(launched)
            if self.job.stopping:
                await self._kill_unfinished()

    async def _answer(self, offers: Iterable[mesos.Offer]) -> None:
        taken = [(offer, tasks) for offer in offers if (tasks := self.job.take(offer))]
        if taken:
            self._listener.changed()
        self._launching += len(taken)
        try:
            for offer, tasks in taken:
                await self._scheduler.launch(offer, tasks)
        finally:
            self._launching -= len(taken)
        if taken and not self.job.tracker.any_waiting:
            await self._scheduler.suppress()
        await self._decline_unanswered()

    async def _decline_unanswered(self) -> None:
        if self.job.unanswered:
            declined = list(self.job.unanswered)
            await self._scheduler.decline(declined, REFUSE_SECONDS)
            self.job.unanswered = [each for each in self.job.unanswered if each not in declined]

    async def _record_status(self, status: mesos.TaskStatus) -> None:
        received, to_restart = self.job.receive(status)
        self._listener.changed()
        if received is Received.NEW:
            self._tell(status)
        if to_restart is not None:
            self._restart_later(to_restart)
        self._note_end()
        if received is Received.LAUNCH_LOST and not self.job.stopping:
            print_note("the launch was lost; waiting for another offer")
            await self._scheduler.revive()
        if received is Received.LAUNCH_LOST:
            await self._decline_unanswered()
        await self._scheduler.acknowledge(status)

    def _tell(self, status: mesos.TaskStatus) -> None:
        if status.state == mesos.TASK_UNREACHABLE:
            print_note(f"agent {status.agent_id.value} is unreachable; waiting for it to come back")
        if status.state == mesos.TASK_RUNNING:
            for instance in self.job.instances:
                if instance.launch.task_id == status.task_id.value:
                    self._listener.running(instance)

    # ------------------------------------------------------------------------------------------------------ restarts

    def _restart_later(self, instance: Instance) -> None:
        delay = instance.delays.next(instance.ran_seconds)
        assert instance.end is not None, "only what has ended is started again"
        limit = self.job.policy.max_restarts
        count = f"restart {instance.restarts + 1}{f' of {limit}' if limit is not None else ''}"
        task_id = instance.launch.task_id
        print_note(f"task {task_id} {summary(instance.end)}; starting it again in {delay:.1f} s ({count})")
        restarting = asyncio.create_task(self._restart(instance, delay))
        self._restarting.add(restarting)
        restarting.add_done_callback(self._restarting.discard)

    async def _restart(self, instance: Instance, delay: float) -> None:
        await asyncio.sleep(delay)
        self.job.restart(instance)
        self._listener.changed()
        with contextlib.suppress(Unavailable):  # it is asked for again
            await self._scheduler.revive()

    # ------------------------------------------------------------------------------------------------ looking after it

    async def _ask_after(self) -> None:
        while True:
            await asyncio.sleep(ASK_AFTER_SECONDS)
            await self.ask_after()

    async def ask_after(self) -> None:
        """Ask for what may have been lost, with a gateway or with a registry: launches, kills, revivals."""
        with contextlib.suppress(Unavailable):
            await self._decline_unanswered()
            # Not while the call is under way, which would be overtaken.
            asked = [] if self._launching else unheard(self.job.unfinished())
            if asked:
                await self._scheduler.reconcile(asked)
            if self.job.stopping:
                await self._kill_unfinished()
            if self.job.tracker.any_waiting and self._scheduler.suppressed_roles:
                await self._scheduler.revive()

    async def _report_waiting(self) -> None:
        while True:
            await asyncio.sleep(WAIT_SECONDS)
            await self.report_waiting()

    async def report_waiting(self) -> None:
        """Say why no offer comes, where some of it waits and did the last time; again when the reason is another."""
        waiting = self.job.waiting()
        waited, self._waited = self._waited, bool(waiting)
        if not waiting or not waited:
            self._told = ""
            return
        verdict = await self._verdict()
        if self.job.mismatches:
            shown = [f"{host} {why}" for host, why in list(self.job.mismatches.items())[:MISMATCHES_SHOWN]]
            verdict += f"; offers are declined for --constraint: {', '.join(shown)}"
        # All may have been launched while the allocator was asked.
        if self.job.waiting() and (gist := _FIGURES.sub("#", verdict)) != self._told:
            self._told = gist
            all_of_them = len(self.job.instances)
            verb = "is" if len(waiting) == 1 else "are"
            count = f"{len(waiting)} of {all_of_them} tasks {verb} " if all_of_them > 1 else ""
            framework_id = self._scheduler.framework_id
            more = f" (mezzo why {framework_id} tells more)" if framework_id else ""
            print_note(f"{count}waiting for an offer: {verdict}{more}")

    async def _verdict(self) -> str:
        framework_id = self._scheduler.framework_id
        if not framework_id:
            return "no registry has taken the framework in"
        try:
            explanations = (await self._api.explain(framework=framework_id))["explanations"]
        except ApiError as error:
            return str(error)
        except (aiohttp.ClientError, TimeoutError):
            return "the gateway does not answer"
        return str(explanations[0]["verdict"]) if explanations else "the allocator does not know the framework"
