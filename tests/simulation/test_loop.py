"""Simulated time: hours pass at once, in the same order each time."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.simulation.loop import Process, SimulatedLoop, SimulationError


def run_all(loop: SimulatedLoop, *works: Coroutine[Any, Any, None]) -> None:
    tasks = [loop.create_task(work) for work in works]
    loop.run(lambda: all(task.done() for task in tasks))
    for task in tasks:
        task.result()


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    made = SimulatedLoop()
    yield made
    made.close()


async def test_is_not_needed_by_other_tests() -> None:
    assert not isinstance(asyncio.get_running_loop(), SimulatedLoop)


def test_a_sleep_of_a_day_is_over_at_once(loop: SimulatedLoop) -> None:
    began = time.monotonic()
    run_all(loop, asyncio.sleep(86_400))
    assert loop.time() == 86_400
    assert time.monotonic() - began < 60


def test_things_happen_in_the_order_of_their_times(loop: SimulatedLoop) -> None:
    seen: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(number)
        seen.append(number)

    run_all(loop, note(3), note(1), note(2))
    assert seen == [1, 2, 3]


def test_a_timeout_ends_what_takes_longer(loop: SimulatedLoop) -> None:
    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        assert loop.time() == 5

    run_all(loop, wait())


def test_a_process_that_is_paused_goes_on_afterwards_in_the_same_order(loop: SimulatedLoop) -> None:
    seen: list[tuple[float, int]] = []

    async def note() -> None:
        for number in range(3):
            await asyncio.sleep(1)
            seen.append((loop.time(), number))

    process = Process("a")
    with loop.acting_as(process):
        work = note()
        loop.create_task(work)
    process.paused_until = 10
    run_all(loop, asyncio.sleep(20))
    assert seen == [(11, 0), (12, 1), (13, 2)]


def test_a_thread_does_one_thing_after_another_and_takes_its_time(loop: SimulatedLoop) -> None:
    loop.job_seconds = lambda _: 1.0
    done: list[tuple[float, str]] = []
    pool = ThreadPoolExecutor(1)

    async def work() -> None:
        first = loop.run_in_executor(pool, lambda: done.append((loop.time(), "first")))
        second = loop.run_in_executor(pool, lambda: done.append((loop.time(), "second")))
        await asyncio.gather(first, second)
        assert await asyncio.to_thread(lambda: 7) == 7

    run_all(loop, work())
    assert done == [(1.0, "first"), (2.0, "second")]


def test_work_of_a_thread_is_lost_with_its_process(loop: SimulatedLoop) -> None:
    loop.job_seconds = lambda _: 1.0
    process = Process("a")
    done: list[str] = []
    begun: list[Callable[[], Any]] = []

    async def work() -> None:
        await loop.run_in_executor(None, lambda: done.append("never"))

    with loop.acting_as(process):
        task = loop.create_task(work())
    loop.call_later(0.5, lambda: loop.cut_off(process, begun=begun.append))
    run_all(loop, asyncio.sleep(5))
    assert (task.cancelled(), done, len(begun)) == (True, [], 1)


def test_an_error_that_nobody_handles_ends_the_simulation(loop: SimulatedLoop) -> None:
    loop.call_later(1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_all(loop, asyncio.sleep(0.5), asyncio.sleep(2))


def test_what_runs_in_circles_is_found_out(loop: SimulatedLoop) -> None:
    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(SimulationError, match="no time passes"):
        loop.run(lambda: False)


def test_nothing_left_to_happen_is_an_error(loop: SimulatedLoop) -> None:
    with pytest.raises(SimulationError, match="nothing is left"):
        loop.run(lambda: False)


def test_sets_of_tasks_have_the_same_order_in_each_run() -> None:
    def order() -> list[str]:
        loop = SimulatedLoop()
        ended: list[str] = []
        chooser = random.Random(5)

        async def one(name: str) -> None:
            try:
                await asyncio.sleep(chooser.uniform(0, 9))
            finally:
                ended.append(name)

        async def all_of_them() -> None:
            tasks = {asyncio.create_task(one(f"{number}")) for number in range(40)}
            await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        run_all(loop, all_of_them())
        loop.close()
        return ended

    assert order() == order()
