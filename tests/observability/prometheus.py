"""A real Prometheus that scrapes a cluster on loopback."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from mezzo_chassis.testing import ServiceProcess, free_port
from tests.cluster import Cluster
from tests.observability.rules import RULES
from tests.polling import eventually

SCRAPE_SECONDS = 0.5
WINDOW = "10s"
"""What rates are taken over: a few scrapes."""


def prometheus_missing() -> str | None:
    """Why there is no Prometheus here, if there is none."""
    return None if shutil.which("prometheus") else "prometheus is not installed (Debian's package has that name)"


@dataclass(slots=True)
class Prometheus:
    """Started with the rules that Mezzo ships, and the job names that its scrape configurations have."""

    folder: Path
    cluster: Cluster
    port: int = field(default_factory=free_port)
    process: ServiceProcess | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir()
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(self._configuration()))
        command = [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process = ServiceProcess("prometheus", command, log=self.folder / "prometheus.log").start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()

    def _configuration(self) -> dict[str, Any]:
        jobs: dict[str, list[str]] = {}
        for name, node in self.cluster.nodes.items():
            jobs.setdefault(f"mezzo-{name.partition('-')[0]}", []).append(f"127.0.0.1:{node.metrics_port}")
        interval = f"{int(SCRAPE_SECONDS * 1000)}ms"
        return {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": [str(path) for path in sorted(RULES.glob("*.yaml"))],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
            ],
        }

    async def get(self, path: str, **parameters: str | float) -> Any:
        """What the HTTP API answers, when it is content; an expression that does not parse fails here."""
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
            async with http.get(url, params=parameters) as response:
                if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    # It is still starting.
                    response.raise_for_status()
                answer = json.loads(await response.text())
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    async def now(self, expression: str) -> list[Any]:
        """The series of an expression, now."""
        return list((await self.get("query", query=expression))["result"])

    async def ready(self) -> None:
        """Wait until every service has been scraped."""

        async def all_are_up() -> bool:
            try:
                up = await self.now("up == 1")
            except aiohttp.ClientError:
                assert self.process is not None
                assert self.process.running, self.process.tail()
                return False
            return len(up) == len(self.cluster.nodes)

        await eventually(all_are_up, "a scrape of every service")
