"""A whole cluster of real processes on loopback, for the tests of this folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from kazoo.client import KazooClient

from mezzo_chassis.leadership import ALLOCATORS_FOLDER, Detector, LeaderInfo, ZooKeeperUrl
from mezzo_chassis.leadership.candidate import lowest
from mezzo_chassis.testing import ServiceProcess, ZooKeeperServer, free_ports

Flags = Mapping[str, object]

# Short intervals: tests wait for what happens next, and it should happen soon.
FLAGS: dict[str, dict[str, object]] = {
    "registry": {"scheduler_heartbeat_interval": "1secs"},
    "allocator": {"allocation_interval": "200ms"},
    "gateway": {},
    "agent": {"resources": "cpus:4;mem:4096;disk:10000;ports:[31000-32000]", "registration_backoff_factor": "100ms"},
}
ZK_SESSION_TIMEOUT_SECONDS = 2
VALIDATE_EVERY_TURNS = 20
"""How often every core of a test's cluster checks its whole state."""


@dataclass(slots=True)
class Node:
    """One service, where it listens, and its process."""

    process: ServiceProcess
    http_port: int
    grpc_port: int
    metrics_port: int
    work_dir: Path

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"


@dataclass(slots=True)
class Cluster:
    """Any number of each service; with a ZooKeeper, or one of each finding the others by address."""

    folder: Path
    registries: int = 1
    allocators: int = 1
    gateways: int = 1
    agents: int = 1
    zookeeper: ZooKeeperServer | None = None
    flags: Mapping[str, Flags] = field(default_factory=dict)
    # By the name of the node: a program, and its arguments, that starts it.
    command_prefixes: Mapping[str, list[str]] = field(default_factory=dict)
    validate_every_turns: int = VALIDATE_EVERY_TURNS
    forked: bool = True
    nodes: dict[str, Node] = field(default_factory=dict)

    def __enter__(self) -> Self:
        counts = {
            "allocator": self.allocators,
            "registry": self.registries,
            "gateway": self.gateways,
            "agent": self.agents,
        }
        for service, count in counts.items():
            for number in range(count):
                self._lay_out(service, number)
        try:
            for name, node in self.nodes.items():
                node.process = self._process(name, node)
                node.process.start()
            for node in self.nodes.values():
                node.process.wait_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _lay_out(self, service: str, number: int) -> None:
        http_port, grpc_port, metrics_port = free_ports(3)
        name = f"{service}-{number}"
        unstarted = ServiceProcess(name, [], log=self.folder / f"{name}.log")
        self.nodes[name] = Node(unstarted, http_port, grpc_port, metrics_port, self.folder / name)

    def _process(self, name: str, node: Node) -> ServiceProcess:
        service = name.partition("-")[0]
        flags = {
            "ip": "127.0.0.1",
            "hostname": "127.0.0.1",
            "grpc_port": node.grpc_port,
            "metrics_port": node.metrics_port,
            **self._own_flags(service, node),
            **FLAGS[service],
            **self.flags.get(service, {}),
        }
        environment = {"MEZZO_VALIDATE_EVERY": str(self.validate_every_turns)}
        process = ServiceProcess.service(
            service,
            flags,
            folder=self.folder,
            name=name,
            grpc_port=node.grpc_port,
            forked=self.forked,
            environment=environment,
        )
        if prefix := self.command_prefixes.get(name):
            process.module, process.command = "", [*prefix, *process.command]  # executed, not forked
        return process

    def _own_flags(self, service: str, node: Node) -> dict[str, object]:
        zk = self.zookeeper.url() if self.zookeeper else None
        session = {"zk_session_timeout": f"{ZK_SESSION_TIMEOUT_SECONDS}secs"}
        master: dict[str, object] = {"master": zk, **session} if zk else {"master": self.registry().grpc}
        elected: dict[str, object] = {"zk": zk, **session} if zk else {}
        if service == "allocator":
            return elected
        if service == "registry":
            alone = {} if zk else {"allocator": self.nodes["allocator-0"].grpc}
            return {**elected, **alone, "work_dir": node.work_dir, "advertise_port": self.gateway().http_port}
        if service == "gateway":
            return {"port": node.http_port, **master}
        return {"port": node.http_port, "work_dir": node.work_dir, **master}

    def registry(self, number: int = 0) -> Node:
        return self.nodes[f"registry-{number}"]

    def allocator(self, number: int = 0) -> Node:
        return self.nodes[f"allocator-{number}"]

    def gateway(self, number: int = 0) -> Node:
        return self.nodes[f"gateway-{number}"]

    def agent(self, number: int = 0) -> Node:
        return self.nodes[f"agent-{number}"]

    def leading(self, service: str) -> Node:
        """Which registry or allocator leads, by ZooKeeper's word."""
        assert self.zookeeper is not None
        folder = "/mezzo" if service == "registry" else f"/mezzo/{ALLOCATORS_FOLDER}"
        client = KazooClient(hosts=self.zookeeper.hosts)
        client.start()
        try:
            leader = lowest(client.get_children(folder), "json.info")
            assert leader is not None
            info = LeaderInfo.parse(client.get(f"{folder}/{leader}")[0])
        finally:
            client.stop()
            client.close()
        assert info is not None
        return next(node for node in self.nodes.values() if node.grpc == info.grpc_address)

    async def another_leads(self, service: str, than: Node) -> Node:
        """Which registry or allocator leads, by ZooKeeper's word, once it is another than this one; waits for that."""
        assert self.zookeeper is not None
        url = ZooKeeperUrl.parse(self.zookeeper.url())
        where = url if service == "registry" else url.below(ALLOCATORS_FOLDER)
        detector = Detector(where, session_timeout_seconds=ZK_SESSION_TIMEOUT_SECONDS)
        await detector.start()
        try:
            async for info in detector.changes():
                if info is not None and info.grpc_address != than.grpc:
                    return next(node for node in self.nodes.values() if node.grpc == info.grpc_address)
        finally:
            await detector.close()
        raise AssertionError("a detector never ends")

    def sandbox(self, framework_id: str, executor_id: str, agent: int = 0) -> Path:
        """Where an executor, or a task without one of its own, runs or ran last."""
        run = f"slaves/*/frameworks/{framework_id}/executors/{executor_id}/runs/latest"
        (found,) = self.agent(agent).work_dir.glob(run)
        return found

    @property
    def url(self) -> str:
        return f"http://{self.gateway().http}"

    def __exit__(self, *error: object) -> None:
        for name, node in self.nodes.items():
            if not node.process.running:
                continue
            node.process.send(signal.SIGCONT)
            if name.startswith("agent"):
                # The one way to end an agent that ends its tasks with it.
                node.process.stop(signal.SIGUSR1)
            else:
                node.process.kill()
        self._end_leftovers()
        if not any(error):  # else that is what matters
            self._look_for_defects()

    def _look_for_defects(self) -> None:
        """Whatever a test does to a cluster, no core may fail at it, nor contradict itself."""
        for node in self.nodes.values():
            text = node.process.log.read_text(errors="replace") if node.process.log.exists() else ""
            assert "defect ends the incarnation" not in text, f"a defect in {node.process.name}:\n{text}"

    def _end_leftovers(self) -> None:
        """Tasks outlive agents that were killed; here nothing may outlive the test."""
        own = os.getpid()
        marker = str(self.folder)
        for process in psutil.process_iter():
            try:
                if process.pid != own and (marker in " ".join(process.cmdline()) or process.cwd().startswith(marker)):
                    process.kill()
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
                continue
