"""The scheduler of a detached run: a process of its own, in the background, that goes on without a terminal.

    python -m mezzo.cli.jobs.detached <folder of the run> <descriptor>

It says over the descriptor that it is subscribed, or why it cannot be, and then nothing more to whoever started it.
What happens is kept in the folder before the cluster is told of it, so that another process can go on where this one
ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

import orjson

from mezzo.cli import exit_codes
from mezzo.cli.api import connect
from mezzo.cli.errors import print_error, print_note
from mezzo.cli.fields import without_path
from mezzo.cli.jobs.attached import client, tear_down
from mezzo.cli.jobs.framework import JobFramework
from mezzo.cli.jobs.home import Run, RunFolder
from mezzo.cli.jobs.job import Instance, Job
from mezzo.cli.jobs.outcome import exit_code_of_job
from mezzo.cli.jobs.tasks import OPTIONS
from mezzo.cli.settings import Settings
from mezzo.errors import MezzoError
from mezzo.scheduler import SchedulerClient


class Stamped:
    """A log in which each line begins with the time at which it was written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._at_start = True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S ") if self._at_start else ""
            self._out.write(stamp + line)
            self._at_start = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self._out.flush()

    def isatty(self) -> bool:
        return False


class Starter:
    """Whoever started this, and waits to hear whether it went well."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def tell(self, **told: object) -> None:
        """Tell it once; later there is nobody to tell."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.write(descriptor, orjson.dumps(told))
        except BrokenPipeError:
            print_note("whoever started this run has not waited for it")
        finally:
            os.close(descriptor)


class Keeping:
    """Keeps every change on disk."""

    def __init__(self, folder: RunFolder, run: Run, job: Job, scheduler: SchedulerClient, starter: Starter) -> None:
        self._folder = folder
        self._run = run
        self._job = job
        self._scheduler = scheduler
        self._starter = starter

    def changed(self) -> None:
        self._run.job = self._job.document()
        self._run.framework_id = self._scheduler.framework_id
        self._folder.save(self._run)
        if self._run.framework_id:
            self._starter.tell(framework_id=self._run.framework_id)

    def running(self, instance: Instance) -> None:
        print_note(f"task {instance.launch.task_id} runs")


async def serve(folder: RunFolder, starter: Starter) -> None:
    """Run it to its end, and keep its exit code.

    A failure of this process, as where the disk is full, ends no task: another scheduler can take them over.
    """
    run = folder.load()
    if run.ended:
        starter.tell(error=f"run {run.id} has ended")
        return
    job = Job.of(run.job)
    settings = Settings.of(run.api)
    async with connect(settings) as api, client(settings, job) as scheduler:
        scheduler.framework_info.id.value = run.framework_id
        if not run.framework_id:
            scheduler.framework_info.ClearField("id")
        framework = JobFramework(api, scheduler, job, Keeping(folder, run, job, scheduler, starter))
        stops: asyncio.Queue[None] = asyncio.Queue()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stops.put_nowait, None)
        with folder.served():
            try:
                await _run_to_end(framework, run, starter, stops)
                await tear_down(scheduler)
            finally:
                await framework.close()
            run.job = job.document()
            folder.save(run)
        print_note(f"run {run.id} has ended with exit code {run.exit_code}")


async def _run_to_end(framework: JobFramework, run: Run, starter: Starter, stops: asyncio.Queue[None]) -> None:
    """Return when the job has ended, or the cluster does not want it, with the exit code in the run."""
    job = framework.job
    stopping = asyncio.create_task(_stop_when_told(framework, stops))
    try:
        await framework.run()
        never_launched = job.stopping and not job.launched
        run.exit_code = exit_codes.INTERRUPTED if never_launched else exit_code_of_job(job.instances)
    except MezzoError as error:
        run.error = without_path(str(error), OPTIONS)
        run.exit_code = exit_codes.NOT_RUN
        print_error(run.error)
        starter.tell(error=run.error)
    finally:
        stopping.cancel()


async def _stop_when_told(framework: JobFramework, stops: asyncio.Queue[None]) -> None:
    while True:
        await stops.get()
        print_note("stopping: the tasks are being killed")
        await framework.stop()


def main() -> None:
    """Be the scheduler of the run in a folder, unless it has one."""
    path, descriptor = sys.argv[1:]
    folder, starter = RunFolder(Path(path)), Starter(int(descriptor))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stderr = Stamped(sys.stderr)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    with folder.held() as mine:
        if not mine:
            starter.tell(error=f"run {folder.path.name} has a scheduler already")
            return
        asyncio.run(serve(folder, starter))


if __name__ == "__main__":
    main()
