"""A custom executor on the SDK: `python -m tests.programs.executor json|protobuf|grpc`.

Its tasks run until they are killed. What its framework tells it, it does:

    echo <words>          says the words back
    finish <task> <file>  waits for the file, hearing nothing meanwhile, and says that the task has finished
    exit <code>           is gone
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.executor import executor_pb2 as v1
from mezzo.executor import ExecutorClient
from mezzo.http import JSON, PROTOBUF

CONTENT_TYPES = {"json": JSON, "protobuf": PROTOBUF}
PAUSE_SECONDS = 0.02


async def main(transport: str) -> None:
    if transport == "grpc":
        client = ExecutorClient.from_environment(grpc=True)
    else:
        client = ExecutorClient.from_environment(CONTENT_TYPES[transport])
    running: list[str] = []
    async with client as executor:
        async for event in executor.events():
            note(v1.Event.Type.Name(event.type))
            if event.type == v1.Event.LAUNCH:
                task_id = event.launch.task.task_id.value
                running.append(task_id)
                await executor.update(task_id, mesos.TASK_RUNNING, data=event.launch.task.data)
            elif event.type == v1.Event.KILL:
                running.remove(event.kill.task_id.value)
                await executor.update(event.kill.task_id.value, mesos.TASK_KILLED, "as told")
            elif event.type == v1.Event.MESSAGE:
                await obey(executor, event.message.data.decode().split(" "))
            elif event.type == v1.Event.SHUTDOWN:
                for task_id in running:
                    await executor.update(task_id, mesos.TASK_KILLED, "shutting down")


async def obey(executor: ExecutorClient, words: list[str]) -> None:
    match words:
        case ["echo", *rest]:
            await executor.message(" ".join(rest).encode())
        case ["finish", task_id, file]:
            note("waiting")
            wait_for(Path(file))
            await executor.update(task_id, mesos.TASK_FINISHED, "after all")
        case ["exit", code]:
            sys.exit(int(code))


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(PAUSE_SECONDS)


def note(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
