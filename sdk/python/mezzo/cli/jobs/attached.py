"""A run whose scheduler is this process: it ends with it."""

from __future__ import annotations

import asyncio
import signal

from mezzo.cli import exit_codes
from mezzo.cli.api import connect, exit_on_failure
from mezzo.cli.errors import print_error, print_note
from mezzo.cli.fields import without_path
from mezzo.cli.jobs.constraints import for_cluster
from mezzo.cli.jobs.framework import JobFramework
from mezzo.cli.jobs.job import Instance, Job
from mezzo.cli.jobs.outcome import exit_code_of_job
from mezzo.cli.jobs.output import JobOutput
from mezzo.cli.jobs.tasks import OPTIONS, framework_info
from mezzo.cli.settings import Settings
from mezzo.errors import Forbidden, InvalidRequest, MezzoError, Unavailable
from mezzo.scheduler import HttpTransport, SchedulerClient

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(settings: Settings, job: Job) -> int:
    """Run it to its end; return its exit code, or `NOT_RUN` or `UNREACHABLE`."""
    with exit_on_failure(settings):
        try:
            return asyncio.run(_run(settings, job))
        except MezzoError as error:
            return told(error)


def told(error: MezzoError) -> int:
    """Say what the cluster has against a run; the exit code for it."""
    print_error(without_path(str(error), OPTIONS))
    return exit_codes.UNREACHABLE if isinstance(error, Unavailable) else exit_codes.NOT_RUN


def client(settings: Settings, job: Job) -> SchedulerClient:
    """The scheduler of a job, not subscribed yet."""
    scheduler = SchedulerClient(HttpTransport(settings.url), framework_info(job.spec))
    scheduler.offer_constraints = for_cluster(job.constraints, job.spec.role)
    return scheduler


class _Attached:
    """Follows what runs, and keeps nothing."""

    def __init__(self, scheduler: SchedulerClient, output: JobOutput) -> None:
        self._scheduler = scheduler
        self._output = output

    def changed(self) -> None:
        pass

    def running(self, instance: Instance) -> None:
        launch = instance.launch
        self._output.follow(
            self._scheduler.framework_id, launch.task_id, instance.number, lambda: launch.end is not None
        )


async def _run(settings: Settings, job: Job) -> int:
    """Run the job to its end. The first Ctrl-C kills it, and its end is still waited for; not so after the second."""
    async with connect(settings) as api, client(settings, job) as scheduler:
        # A gateway that is not there is told at once, not waited for.
        await api.rows("/state-summary", "frameworks")
        interruptions: asyncio.Queue[None] = asyncio.Queue()
        for number in ENDING:
            asyncio.get_running_loop().add_signal_handler(number, interruptions.put_nowait, None)
        output = JobOutput(api, lambda: interruptions.put_nowait(None), prefixed=job.spec.count > 1)
        framework = JobFramework(api, scheduler, job, _Attached(scheduler, output))
        work = asyncio.create_task(_work(framework, output))
        try:
            if await _interrupted(work, interruptions):
                tasks = [launch.task_id for launch in job.unfinished()]
                if tasks:
                    which = f"task {tasks[0]}" if len(tasks) == 1 else f"{len(tasks)} tasks"
                    print_note(f"killing {which}; another Ctrl-C does not wait for the end")
                elif not job.launched:
                    print_note("interrupted before an offer came; nothing was launched")
                await framework.stop()
                if await _interrupted(work, interruptions) or all(each.end is None for each in job.instances):
                    return exit_codes.INTERRUPTED
            await work
            return exit_code_of_job(job.instances)
        finally:
            # While it is subscribed still: a framework without a stream cannot say anything.
            await tear_down(scheduler)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await framework.close()
            await output.close()


async def _work(framework: JobFramework, output: JobOutput) -> None:
    """Run the job, and copy what it writes, until it has ended and everything has been copied."""
    await framework.run()
    await output.rest()


async def _interrupted(work: asyncio.Task[None], interruptions: asyncio.Queue[None]) -> bool:
    """Wait for the work to end, or for somebody who will not wait for that; whether it was the latter."""
    interruption = asyncio.create_task(interruptions.get())
    try:
        await asyncio.wait({work, interruption}, return_when=asyncio.FIRST_COMPLETED)
        return not work.done()
    finally:
        interruption.cancel()


async def tear_down(scheduler: SchedulerClient) -> None:
    """Leave nothing behind. What became of the job counts, and not whether this succeeds."""
    if not scheduler.framework_id:
        return
    try:
        await scheduler.teardown()
    except (InvalidRequest, Forbidden):
        return  # it is gone already
    except MezzoError as error:
        print_error(f"framework {scheduler.framework_id} was not torn down: {error}")
