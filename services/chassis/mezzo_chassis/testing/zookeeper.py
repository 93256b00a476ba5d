"""A real ZooKeeper, from Debian's packages, with a folder and a port of its own."""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from pathlib import Path
from typing import Self

from kazoo.client import KazooClient

from mezzo_chassis.testing.ports import free_port
from mezzo_chassis.testing.processes import START_SECONDS_MAX, ServiceProcess

JAR = Path("/usr/share/java/zookeeper.jar")
CONFIGURED = Path("/etc/zookeeper/conf")
# Sessions may be as short as two ticks.
TICK_MS = 200
SESSION_MS_MIN = 2 * TICK_MS
SESSION_MS_MAX = 60_000
HEAP = "128m"


def zookeeper_missing() -> str | None:
    """Why no ZooKeeper can be started here; None where one can."""
    if shutil.which("java") is None:
        return "there is no Java here"
    if not JAR.exists():
        return "Debian's package zookeeper is not installed"
    return None


class ZooKeeperServer:
    """One server. Its state survives `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.chroot = ""
        self.disturbed = False
        """Whether it was ever killed or paused."""
        self._folder = folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        configuration = folder / "zoo.cfg"
        configuration.write_text(
            f"tickTime={TICK_MS}\n"
            f"minSessionTimeout={SESSION_MS_MIN}\n"
            f"maxSessionTimeout={SESSION_MS_MAX}\n"
            f"dataDir={folder / 'data'}\n"
            "clientPortAddress=127.0.0.1\n"
            f"clientPort={self.port}\n"
            "admin.enableServer=false\n"
            "maxClientCnxns=0\n"
            "forceSync=no\n"
            "4lw.commands.whitelist=ruok\n"
        )
        command = ["java", f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        # The jar names those it needs.
        command += ["-cp", f"{CONFIGURED}:{JAR}"]
        command += ["org.apache.zookeeper.server.ZooKeeperServerMain", str(configuration)]
        self.process = ServiceProcess("zookeeper", command, log=folder / "zookeeper.log")

    @property
    def hosts(self) -> str:
        """Where kazoo finds it, with the chroot if there is one."""
        return f"127.0.0.1:{self.port}{self.chroot}"

    def url(self, path: str = "/mezzo") -> str:
        return f"zk://{self.hosts}{path}"

    def change_root(self, chroot: str) -> None:
        """From now on everything is below this node, which is made."""
        self.chroot = ""
        client = KazooClient(hosts=self.hosts)
        client.start(START_SECONDS_MAX)
        try:
            client.ensure_path(chroot)
        finally:
            client.stop()
            client.close()
        self.chroot = chroot

    def start(self) -> Self:
        self.process.start()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if not self.process.running or time.monotonic() > deadline:
                raise RuntimeError(f"ZooKeeper does not start:\n{self.process.tail()}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"ruok")
            return connection.recv(4) == b"imok"
        return False

    def kill(self) -> None:
        self.disturbed = True
        self.process.kill()

    def pause(self) -> None:
        """Leave every session suspended."""
        self.disturbed = True
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.__exit__()
