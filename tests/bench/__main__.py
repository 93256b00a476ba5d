"""`make bench`: measure, print our figures beside the published ones, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import (
    agent_bench,
    allocator_bench,
    allocator_kinds_bench,
    image_bench,
    launch_bench,
    resources_bench,
    size_bench,
    trace,
)
from tests.bench.row import Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"

MEASUREMENTS: dict[str, Callable[[], list[Row]]] = {
    "resources": resources_bench.run,
    "allocator": allocator_bench.run,
    "kinds": allocator_kinds_bench.run,
    "launch": lambda: asyncio.run(launch_bench.measure()),
    "agent": lambda: asyncio.run(agent_bench.measure()),
    "trace": lambda: asyncio.run(trace.measure()),
    "size": lambda: asyncio.run(size_bench.measure()),
    "images": image_bench.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", choices=[[], *MEASUREMENTS], help="measure these alone, and write nothing")
    only: list[str] = parser.parse_args().only
    console = Console()
    rows: list[Row] = []
    for name, measure in MEASUREMENTS.items():
        if not only or name in only:
            with console.status(f"measuring: {name}"):
                rows += measure()
    table = Table("id", "what", "published", "Mezzo")
    for row in rows:
        table.add_row(row.id, row.what, row.published, row.ours)
    console.print(table)
    if not only:
        PAGE.write_text(page(rows))
        console.print(f"written to {PAGE.name}")


def kernel() -> str:
    return f"Linux {platform.release().split('-')[0]}"


def page(rows: list[Row]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Measured by `make bench` and written by it; not edited by hand. Machines differ: the figures of others were",
        "published for theirs, and those marked “here” were measured on a machine like this one. Ours are the best of",
        "a few runs, with the median in brackets: the machine is shared, and slower by a third at times.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, {kernel()}, Python {platform.python_version()}.",
        "",
        "| id | what | published | Mezzo |",
        "|---|---|---|---|",
        *(f"| {row.id} | {row.what} | {row.published} | {row.ours} |" for row in rows),
        "",
        "B1: an allocation cycle. B9: containers launched by one agent. B10: tasks a second, agents emulated: they",
        "register over the real session, and answer each task at once. B13: one command on an idle cluster.",
        "launch: what one command costs from offer to the last acknowledgement, in all processes: `make trace`.",
        "size: memory is resident; PSS counts what processes share in parts.",
        "image: as built on Debian 12, unpacked.",
    ]
    return "\n".join(lines) + "\n"


main()
