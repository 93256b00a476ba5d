"""Packages whose names are imported when they are first asked for.

Messages live below the packages of the clients (`mezzo.scheduler.v1` below `mezzo.scheduler`), and whoever imports
messages alone must not pay for aiohttp and gRPC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__` (PEP 562). `modules`: for each public name the submodule that defines it."""

    def get(name: str) -> object:
        if name in modules:
            return getattr(import_module(f"{package}.{modules[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
