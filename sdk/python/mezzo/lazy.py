"""Packages whose names are imported when they are first asked for.

Messages live below the packages of the clients (`mezzo.scheduler.v1` below `mezzo.scheduler`), and whoever imports
messages alone must not pay for aiohttp and gRPC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__` (PEP 562).

    `modules`: for each public name the submodule that defines it, or a module elsewhere by its whole name.
    """

    def get(name: str) -> object:
        where = modules.get(name)
        if where is not None:
            return getattr(import_module(where if "." in where else f"{package}.{where}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
