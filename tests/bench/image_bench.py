"""How large the images are, built in an engine of the tests' own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.row import Row
from tests.compose.engine import Engine, engine_missing

GOALS_MB = {"registry": 250, "gateway": 250, "agent": 250, "allocator": 450}
BASE = "mezzo-bench-base"


def run() -> list[Row]:
    """The rows of `image`: sizes in MB of 10^6 bytes; where no engine can be started, they say why."""
    if missing := engine_missing():
        return [Row("image", "images of the services", "–", f"not built: {missing}")]
    engine = Engine(Path(tempfile.mkdtemp()))
    try:
        engine.start()
        engine.make_base_image(BASE)
        engine.make_images(BASE)
        return [
            Row("image", f"image of the {service}", f"goal: {goal} MB", f"{megabytes(engine, service)} MB")
            for service, goal in GOALS_MB.items()
        ]
    finally:
        engine.stop()


def megabytes(engine: Engine, service: str) -> int:
    return round(engine.size_bytes(f"mezzo-{service}") / 1e6)
