"""Detached runs, from outside: starting their schedulers, following them, and ending them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import sys
from http import HTTPStatus

import orjson

from mezzo.cli import exit_codes
from mezzo.cli.api import Api, connect
from mezzo.cli.errors import ApiError, print_error, print_note
from mezzo.cli.jobs.home import Run, RunFolder, RunHome
from mezzo.cli.jobs.job import Job
from mezzo.cli.jobs.outcome import exit_code_of_job
from mezzo.cli.jobs.output import JobOutput
from mezzo.cli.settings import Settings

LOOK_SECONDS = 0.2
"""Between looks at the state that the scheduler of a run keeps."""


async def check_gateway(settings: Settings) -> None:
    """Raise what asking a gateway raises, so that it is told now and not by a log."""
    async with connect(settings) as api:
        await api.rows("/state-summary", "frameworks")


def detach(settings: Settings, job: Job) -> RunFolder:
    """Begin a run whose scheduler is a process in the background; return when it is subscribed.

    Raises:
        ApiError: the cluster does not take it, with the reason.
        OSError: the state of the run cannot be kept.
    """
    folder = RunHome().create(job.run_id, ",".join(settings.given), job.document())
    start_scheduler(folder)
    return folder


def start_scheduler(folder: RunFolder) -> None:
    """Start the scheduler of a run; return when it is subscribed. Raises `ApiError` where it says that it cannot be."""
    ready, told = os.pipe()
    with open(folder.log, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mezzo.cli.jobs.detached", str(folder.path), str(told)],
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[told],
            start_new_session=True,
        )
    os.close(told)
    with os.fdopen(ready, "rb") as answers:
        try:
            answer = answers.read()
        except KeyboardInterrupt:
            process.terminate()
            raise
    error = orjson.loads(answer).get("error") if answer else f"the scheduler of the run has ended; see {folder.log}"
    if error:
        process.wait()  # by then it has kept what became of the run
        raise ApiError(HTTPStatus.BAD_REQUEST, error)
    process.returncode = 0  # it lives longer than this process, which nowhere waits for its end


async def attach(api: Api, folder: RunFolder) -> int:
    """Copy what the tasks of a run write, until the run has ended; return its exit code."""
    unwritable = asyncio.Event()
    output = JobOutput(api, unwritable.set, prefixed=len(folder.load().job["instances"]) > 1)
    following = asyncio.create_task(_follow(folder, output))
    leaving = asyncio.create_task(unwritable.wait())
    try:
        await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return following.result() if following.done() else exit_codes.INTERRUPTED
    finally:
        for each in (following, leaving):
            each.cancel()
        await asyncio.gather(following, leaving, return_exceptions=True)
        await output.close()


async def _follow(folder: RunFolder, output: JobOutput) -> int:
    ended: set[str] = set()
    while True:
        alive = folder.scheduler_pid() is not None
        run = folder.load()
        for number, instance in enumerate(run.job["instances"]):
            task_id, states = instance["task_id"], {status["state"] for status in instance["statuses"]}
            if instance["over"] or instance["waiting"]:
                ended.add(task_id)
            if "TASK_RUNNING" in states:
                output.follow(run.framework_id, task_id, number, functools.partial(ended.__contains__, task_id))
        if run.ended:
            await output.rest()
            return tell_end(run)
        if not alive:
            print_error(f"the scheduler of run {run.id} has ended, its tasks have not; see {folder.log}")
            return exit_codes.FAILED
        await asyncio.sleep(LOOK_SECONDS)


def tell_end(run: Run) -> int:
    """Say what there is to say of how a run ended; its exit code."""
    if run.error:
        print_error(run.error)
    elif run.exit_code != exit_codes.INTERRUPTED:
        exit_code_of_job(Job.of(run.job).instances)
    return run.exit_code or 0


async def stop(api: Api, folder: RunFolder) -> Run:
    """End a run and all its tasks; return what was kept of it then."""
    while (pid := folder.scheduler_pid()) is None:
        with folder.held() as mine:
            if mine:
                return await _stop_without_scheduler(api, folder)
        # Somebody is about to be its scheduler, or stops it, too.
    with contextlib.suppress(ProcessLookupError):  # the run has ended by itself
        os.kill(pid, signal.SIGTERM)
    await asyncio.to_thread(folder.wait_for_scheduler)
    return folder.load()


async def _stop_without_scheduler(api: Api, folder: RunFolder) -> Run:
    """End a run that is held, so that no scheduler begins while its framework is torn down."""
    run = folder.load()
    if not run.ended:
        print_note(f"run {run.id} has no scheduler; its framework is torn down, and its tasks with it")
        await _tear_down(api, run.framework_id)
        run.exit_code, run.error = exit_codes.INTERRUPTED, "stopped without a scheduler"
        folder.save(run)
    return run


async def _tear_down(api: Api, framework_id: str) -> None:
    if not framework_id:
        return
    known = {each["id"] for each in await api.rows("/state-summary", "frameworks")}
    if framework_id in known:
        await api.call({"type": "TEARDOWN", "teardown": {"framework_id": {"value": framework_id}}})
