"""An agent's process as far as containers go: launches what it reads from its input, one JSON object a line.

`{"id": …, "shell": …}` is answered by `<id> <pid>` once the container runs. It never ends by itself.
"""

import asyncio
import json
import sys
from pathlib import Path

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import parse
from mezzo_agent.containers.containerizer import PosixContainerizer
from mezzo_agent.containers.factory import ContainerizerConfig, create
from mezzo_agent.ports import ContainerConfig


async def launch(containers: PosixContainerizer, work_dir: Path, container_id: str, shell: str) -> None:
    sandbox = work_dir / "runs" / container_id
    launched = await containers.launch(
        ContainerConfig(
            container_id=container_id,
            framework_id="framework-0000",
            executor_id="executor",
            task_id="executor",
            command=mesos.CommandInfo(value=shell),
            environment={"PATH": "/usr/bin:/bin", "MESOS_SANDBOX": str(sandbox)},
            sandbox=sandbox,
            user=None,
            resources=parse("cpus:0.1;mem:32"),
        )
    )
    print(container_id, launched.pid, flush=True)


async def main(work_dir: Path, runtime_dir: Path) -> None:
    containers = create(ContainerizerConfig(work_dir=work_dir, runtime_dir=runtime_dir))
    await containers.recover(())
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    launching = set()
    while line := await orders.readline():
        order = json.loads(line)
        launching.add(asyncio.create_task(launch(containers, work_dir, order["id"], order["shell"])))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
