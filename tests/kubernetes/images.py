"""The images that the chart runs, built here and packed for the nodes: nothing is pulled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.compose.engine import Engine
from tests.kubernetes.machine import FOLDER_PREFIX, built
from tests.kubernetes.settings import PAUSE_IMAGE

REGISTRY = "registry.example/team"
"""Where the guide pushes the images to."""
VERSION = "0.1.0"
ZOOKEEPER_IMAGE = "docker.io/library/zookeeper:3.9"
"""As nodes call the image `zookeeper:3.9`."""
SERVICES = ("registry", "allocator", "gateway", "agent")
_BASE = "mezzo-test-base"
_STAND_INS = Path(__file__).parent / "stand_ins"


@contextmanager
def image_archive() -> Iterator[Path]:
    """The images in one file, as `docker save` writes them."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}images-"))
    engine = Engine(folder)
    archive = folder.with_suffix(".tar")
    try:
        engine.start()
        engine.make_base_image(_BASE)
        build = {"BASE_IMAGE": _BASE, "BUILD_FLAGS": "--network=host"}
        engine.run("sh", "scripts/images.sh", **build, IMAGE_PREFIX=f"{REGISTRY}/mezzo-", IMAGE_TAG=VERSION)
        names = [f"{REGISTRY}/mezzo-{service}:{VERSION}" for service in SERVICES]
        names += [
            _stand_in(engine, folder, "zookeeper", ZOOKEEPER_IMAGE),
            _stand_in(engine, folder, "pause", PAUSE_IMAGE),
        ]
        engine.run("docker", "save", "-o", archive, *names)
        engine.stop()
        yield archive
    finally:
        if folder.exists():
            engine.stop()
        archive.unlink(missing_ok=True)


def _stand_in(engine: Engine, folder: Path, target: str, name: str) -> str:
    context = folder / "stand_ins"
    programs = built()
    assert programs is not None
    if not context.exists():
        shutil.copytree(_STAND_INS, context)
        shutil.copy(programs / "pause", context)
    build = ("docker", "build", "--network=host", "--build-arg", f"BASE_IMAGE={_BASE}")
    engine.run(*build, "--target", target, "-t", name, context)
    return name
