"""What is changed: the cores, which decide, and the algebra of resources, which everything counts with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The folders that packages are imported from, and what of them is changed.
CHANGED = {
    "services/registry": "mezzo_registry/core",
    "services/allocator": "mezzo_allocator/core",
    "services/agent": "mezzo_agent/core",
    "sdk/python": "mezzo/resources",
}
_TALKS_TO_THEM = re.compile(r"mezzo\.resources|_(registry|allocator|agent)\.(core|testing)|agent: Conversation")
# Random lives of whole clusters: as long as all others together.
_LONG = {"test_soundness.py", "test_properties.py", "test_fairness.py", "test_any_order.py", "test_memory.py"}
_BESIDE_A_SHELL = re.compile(r"async def test_|subprocess|processes")


def sources() -> Iterator[Path]:
    """The files that are changed."""
    for folder, package in CHANGED.items():
        yield from sorted((ROOT / folder / package).rglob("*.py"))


def tests() -> Iterator[Path]:
    """The files of tests that talk to them with nothing in between. They need no network and no clock, so what they say
    does not depend on how busy the machine is.
    """
    for folder in CHANGED:
        for file in sorted((ROOT / folder / "tests").rglob("test_*.py")):
            text = file.read_text()
            if file.name not in _LONG and _TALKS_TO_THEM.search(text) and not _BESIDE_A_SHELL.search(text):
                yield file


def module_of(path: str) -> str:
    """The name by which a file of `sources` is imported; `path` is below `ROOT`."""
    folder = next(folder for folder in CHANGED if path.startswith(f"{folder}/"))
    parts = Path(path).relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
